//! Pythons with the packages of `tests/conformance/python/requirements.txt`, for other people's clients, and
//! of `aws/requirements.txt` beside it, whose packages want other versions of the same things.
//!
//! They live in `target/venv` and `target/venv-aws`, are made when first asked for, and made anew when the
//! list changes.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::workspace;

pub fn python() -> PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| find_or_make("venv", "conformance/python/requirements.txt")).clone()
}

/// The interpreter with AWS's clients.
pub fn aws_python() -> PathBuf {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON
        .get_or_init(|| find_or_make("venv-aws", "conformance/python/aws/requirements.txt"))
        .clone()
}

/// With the packages that a list below `tests` names.
pub(crate) fn find_or_make(venv: &str, requirements: &str) -> PathBuf {
    let requirements = workspace::root().join("tests").join(requirements);
    make(&workspace::target_dir().join(venv), &requirements)
}

/// The stamp is written last, so an environment that was cut short is never taken for a whole one.
fn make(venv: &Path, requirements: &Path) -> PathBuf {
    let wanted = fs::read_to_string(requirements)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", requirements.display()));
    let python = venv.join("bin/python");
    let stamp = venv.join("stamp");
    let lock = File::create(venv.with_extension("lock")).expect("the target folder is writable");
    lock.lock().expect("files in the target folder can be locked");
    if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == wanted) {
        return python;
    }
    if venv.exists() {
        fs::remove_dir_all(venv).expect("the target folder is writable");
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(venv), "apt-get install python3-venv");
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    run(install.arg(requirements), "check the network: pip honours HTTPS_PROXY and PIP_INDEX_URL");
    fs::write(&stamp, wanted).expect("the target folder is writable");
    python
}

pub(crate) fn run(command: &mut Command, hint: &str) {
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "{command:?} ended with {}\n{}{}hint: {hint}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => panic!("cannot start {command:?}: {error}\nhint: {hint}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_made_once_and_anew_when_the_list_changes() {
        let dir = tempfile::tempdir().unwrap();
        let requirements = dir.path().join("requirements.txt");
        let venv = dir.path().join("venv");
        fs::write(&requirements, "# nothing yet\n").unwrap();

        let python = make(&venv, &requirements);
        assert!(Command::new(&python).args(["-c", "import pip"]).status().unwrap().success());

        let mark = venv.join("mark");
        fs::write(&mark, "").unwrap();
        make(&venv, &requirements);
        assert!(mark.exists());

        fs::write(&requirements, "# still nothing\n").unwrap();
        make(&venv, &requirements);
        assert!(!mark.exists());
    }
}
