//! The programs under test, as users run them.
//!
//! `ASSAY_TEST_BINARIES` names a folder that has them; without it they are built once per test
//! process, in the profile of the test.

use std::{env, path::PathBuf, sync::OnceLock};

use crate::workspace;

/// The coordinator, server and client.
pub fn assay() -> PathBuf {
    binary("assay")
}

/// The daemon on a candidate machine.
pub fn assay_agent() -> PathBuf {
    binary("assay-agent")
}

pub fn assay_host() -> PathBuf {
    binary("assay-host")
}

/// The folder with all three, side by side.
pub fn directory() -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(find_or_build).clone()
}

fn binary(name: &str) -> PathBuf {
    let path = directory().join(name);
    assert!(path.is_file(), "{} does not exist", path.display());
    path
}

fn find_or_build() -> PathBuf {
    if let Some(given) = env::var_os("ASSAY_TEST_BINARIES") {
        return PathBuf::from(given);
    }
    let profile_dir = workspace::profile_dir();
    let mut build = workspace::cargo();
    build.args(["build", "--workspace", "--bins", "--quiet"]);
    build.arg("--target-dir").arg(workspace::target_dir());
    match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => {}
        Some(profile) => {
            build.args(["--profile", profile]);
        }
    }
    let status = build.status().expect("cargo runs this test, so it can be started");
    assert!(status.success(), "cannot build the binaries: cargo ended with {status}");
    profile_dir
}
