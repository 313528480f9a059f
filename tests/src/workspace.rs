//! Where the checkout and its build output are, seen from a running test.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

pub(crate) fn root() -> PathBuf {
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest_dir.parent().expect("the tests crate lies in a folder of the workspace").to_owned()
}

/// The folder of the profile this test was built with, such as `target/debug`.
pub(crate) fn profile_dir() -> PathBuf {
    let test = env::current_exe().expect("a running program has a path");
    let deps = test.parent().expect("a test binary lies in `deps`");
    deps.parent().expect("`deps` lies in the profile's folder").to_owned()
}

/// The folder that holds the folders of all profiles.
pub(crate) fn target_dir() -> PathBuf {
    profile_dir().parent().expect("the profile's folder lies in the target folder").to_owned()
}

/// Cargo in the root folder, as if called from a shell.
pub(crate) fn cargo() -> Command {
    let root = root();
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&root);
    for (name, value) in env::vars_os() {
        let text = name.to_string_lossy();
        // Cargo sets these for a running test; handed on, they would look like changed inputs to
        // build scripts, torch-sys's among them.
        let from_cargo = text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_");
        let default_libtorch =
            text == "LIBTORCH" && Path::new(&value) == root.join(".libtorch/torch");
        if from_cargo || default_libtorch {
            command.env_remove(&name);
        }
    }
    command
}
