//! What fetching does when pip misbehaves: each test brings its own `python`.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::failure::describe;

const RIGHT: &str = "the wheel";

/// A wheel whose content is [`RIGHT`].
fn wheel() -> Wheel {
    let sum: &'static str = Box::leak(hex::encode(Sha256::digest(RIGHT)).into_boxed_str());
    Wheel {
        requirement: "torch==2.11.0",
        file: "torch.whl",
        sha256: sum,
        folders: &[],
        platform: "any",
    }
}

/// A folder with a `python` that runs `pip_download` when it is asked to download; `$dest` is where
/// to, and every call leaves a line in `calls`.
fn with_pip(pip_download: &str) -> (tempfile::TempDir, OsString) {
    let dir = tempfile::tempdir().unwrap();
    let python = dir.path().join("python");
    let calls = dir.path().join("calls");
    let script = format!(
        "#!/bin/sh\n[ \"$3\" = --version ] && exit 0\necho \"$@\" >> '{}'\nwhile [ \"$1\" != --dest ]; do shift; done\ndest=$2\n{pip_download}\n",
        calls.display()
    );
    fs::write(&python, script).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    (dir, python.into_os_string())
}

fn fetch(dir: &tempfile::TempDir, python: OsString) -> Result<PathBuf> {
    let console = Console::new();
    Fetch { dir: dir.path(), console, pythons: vec![python] }.one(&wheel())
}

fn calls(dir: &tempfile::TempDir) -> Vec<String> {
    fs::read_to_string(dir.path().join("calls"))
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_verified_wheel_is_kept_and_not_fetched_again() {
    let (dir, python) = with_pip("printf 'the wheel' > \"$dest/torch.whl\"");
    let kept = fetch(&dir, python.clone()).unwrap();
    assert_eq!(fs::read_to_string(&kept).unwrap(), RIGHT);
    assert_eq!(fetch(&dir, python).unwrap(), kept);
    assert_eq!(calls(&dir).len(), 1);
    assert!(!dir.path().join(UNFINISHED).exists());
}

#[test]
fn a_wrong_wheel_is_refetched_once_without_the_cache_and_then_refused() {
    let (dir, python) = with_pip("printf 'something else' > \"$dest/torch.whl\"");
    let text = describe(&fetch(&dir, python).unwrap_err());
    assert!(
        text.contains("wrong checksum twice")
            && text.contains(wheel().sha256)
            && text.contains("hint:"),
        "{text}"
    );
    let calls = calls(&dir);
    assert_eq!(calls.len(), 2);
    assert!(
        !calls[0].contains("--no-cache-dir") && calls[1].contains("--no-cache-dir"),
        "{calls:?}"
    );
    assert!(
        !dir.path().join("wheels/torch.whl").exists()
            && !dir.path().join(UNFINISHED).join("torch.whl").exists()
    );
}

#[test]
fn a_wheel_that_is_right_at_the_second_attempt_is_taken() {
    let (dir, python) = with_pip(
        "if [ -e \"$dest/../second\" ]; then printf 'the wheel' > \"$dest/torch.whl\"; else touch \"$dest/../second\"; printf 'torn' > \"$dest/torch.whl\"; fi",
    );
    assert_eq!(fs::read_to_string(fetch(&dir, python).unwrap()).unwrap(), RIGHT);
}

#[test]
fn a_kept_wheel_that_has_rotted_is_fetched_again() {
    let (dir, python) = with_pip("printf 'the wheel' > \"$dest/torch.whl\"");
    fs::create_dir(dir.path().join("wheels")).unwrap();
    fs::write(dir.path().join("wheels/torch.whl"), "the whe").unwrap();
    assert_eq!(fs::read_to_string(fetch(&dir, python).unwrap()).unwrap(), RIGHT);
    assert_eq!(calls(&dir).len(), 1);
}

#[test]
fn without_a_network_the_reason_and_a_way_out_are_named() {
    let (dir, python) = with_pip(
        "echo \"WARNING: Retrying after connection broken by NewConnectionError: Failed to establish a new connection: Name or service not known\" >&2\n\
         echo 'ERROR: No matching distribution found for torch==2.11.0' >&2\nexit 1",
    );
    let text = describe(&fetch(&dir, python).unwrap_err());
    assert!(text.contains("error: cannot fetch torch==2.11.0"), "{text}");
    assert!(
        text.contains("Name or service not known") && text.contains("hint: check the network"),
        "{text}"
    );
}

#[test]
fn a_full_disk_is_told_from_a_broken_network() {
    let (dir, python) = with_pip(
        "echo 'ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device' >&2\nexit 1",
    );
    let text = describe(&fetch(&dir, python).unwrap_err());
    assert!(text.contains("hint: free about 3 GiB"), "{text}");
}

#[test]
fn pip_that_delivers_another_file_is_an_error() {
    let (dir, python) = with_pip("printf 'the wheel' > \"$dest/other.whl\"");
    let text = describe(&fetch(&dir, python).unwrap_err());
    assert!(text.contains("pip ended well but without torch.whl"), "{text}");
}

#[test]
fn a_machine_without_python_or_pip_is_told_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        describe(&fetch(&dir, dir.path().join("no-such-python").into_os_string()).unwrap_err());
    assert!(
        text.contains("found no Python") && text.contains("hint: install Python 3 with pip"),
        "{text}"
    );

    let python = dir.path().join("python");
    fs::write(&python, "#!/bin/sh\n[ \"$1\" = --version ]\n").unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let text = describe(&fetch(&dir, python.into_os_string()).unwrap_err());
    assert!(text.contains("has no pip") && text.contains("hint: install it"), "{text}");
}
