//! boto3, as published, against a coordinator that wants signatures.

use std::{fs, path::Path, process::Command, time::Duration};

use assay_tests::{binaries, child::Child, python::aws_python};

const LIMIT: Duration = Duration::from_secs(120);
const KEY: &str = "AKIAEXAMPLE000000001";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

#[test]
fn boto3_is_answered_with_the_right_secret_and_told_why_not_with_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys.toml");
    let pair = format!("[ci]\naccess_key_id = \"{KEY}\"\nsecret_access_key = \"{SECRET}\"\n");
    fs::write(&keys, pair).unwrap();
    let mut server = Child::start(
        "assay serve",
        Command::new(binaries::assay())
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path().join("data"))
            .arg("--aws-keys")
            .arg(&keys),
    );
    let url = server.listening(LIMIT);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/python/aws/signatures.py");
    let mut client = Child::start(
        "signatures.py",
        Command::new(aws_python())
            .arg(script)
            .args([&url, KEY, SECRET])
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    );
    let code = client.exit_code(LIMIT);
    assert_eq!(code, 0, "{}\n{}", client.stdout(), client.stderr());
}
