//! Debian's Chromium, and a Python that drives it: made and installed when first asked for.

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{python, workspace};

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// An interpreter with the packages of `tests/browser/requirements.txt`.
pub fn browser_python() -> PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| python::find_or_make("venv-browser", "browser/requirements.txt")).clone()
}

/// The browser; where there is none, Debian's package is installed.
pub fn chromium() -> PathBuf {
    static CHROMIUM: OnceLock<PathBuf> = OnceLock::new();
    CHROMIUM.get_or_init(|| on_path().unwrap_or_else(install)).clone()
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let found = env::split_paths(&path).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    found.into_iter().find(|program| program.is_file())
}

/// One test at a time: apt does not wait for itself.
fn install() -> PathBuf {
    let lock = File::create(workspace::target_dir().join("chromium.lock"));
    let lock = lock.expect("the target folder is writable");
    lock.lock().expect("files in the target folder can be locked");
    if let Some(installed) = on_path() {
        return installed;
    }
    let hint = "as root: apt-get install chromium";
    apt(&["update"], hint);
    apt(&["install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"], hint);
    on_path().unwrap_or_else(|| panic!("the package chromium has no program of that name"))
}

fn apt(arguments: &[&str], hint: &str) {
    let mut command = Command::new(Path::new("apt-get"));
    python::run(
        command.arg("--quiet").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"),
        hint,
    );
}
