//! What a host finds around itself: its program, its limits, and an environment of its own.

use std::{
    env,
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use crate::{confinement::means::Means, sandbox::Sandbox};

/// Variables of the agent's that a host gets, if they are set: where its operator keeps libraries, which
/// GPUs its operator allows, and the time zone. Everything else of the agent's environment, keys of a cloud
/// included, stays with the agent.
const PASSED_ON: [&str; 6] = [
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "TZ",
];

/// Where and within which limits hosts are started.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    pub program: &'a Path,
    pub sandbox: &'a Sandbox,
    pub means: Means,
    /// Libraries of custom operators, which whoever runs this agent named: absolute paths. No job names any.
    pub operator_libraries: &'a [PathBuf],
}

impl Surroundings<'_> {
    pub(super) fn arguments(&self) -> impl Iterator<Item = OsString> {
        self.operator_libraries
            .iter()
            .flat_map(|library| [OsString::from("--op-library"), library.into()])
    }
}

/// The agent's variables that a host gets.
pub(super) fn passed_on() -> impl Iterator<Item = (&'static str, OsString)> {
    PASSED_ON.into_iter().filter_map(|name| Some((name, env::var_os(name)?)))
}

/// A path as an argument that cannot be taken for a flag.
pub(super) fn argument(path: &Path) -> OsString {
    let text = path.as_os_str().to_owned();
    if text.as_encoded_bytes().starts_with(b"-") {
        let mut bytes = b"./".to_vec();
        bytes.extend(text.into_vec());
        return OsString::from_vec(bytes);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_flag() {
        assert_eq!(argument(Path::new("-rf.pt")), "./-rf.pt");
        assert_eq!(argument(Path::new("/a/-b.pt")), "/a/-b.pt");
    }
}
