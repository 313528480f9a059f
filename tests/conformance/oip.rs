//! Other people's clients infer through `assay-host`, and get what libtorch itself computes.

use std::{process::Command, time::Duration};

use assay_tests::{binaries, child::Child, python::python};

const LIMIT: Duration = Duration::from_secs(240);

fn finish(name: &str, command: &mut Command) -> String {
    let mut child = Child::start(name, command);
    assert_eq!(child.exit_code(LIMIT), 0, "{name}\n{}\n{}", child.stdout(), child.stderr());
    child.stdout()
}

/// `oip_client.py URL GRPC_ADDRESS MODEL INPUT.npy OUTPUT.npy` compares within 1e-5.
#[test]
fn tritonclient_infers_over_http_and_grpc_with_libtorchs_own_outputs() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for (model, input) in [("mlp", "float32[1,64]"), ("resnet18", "float32[1,3,224,224]")] {
        let file = path(&format!("{model}.pt"));
        finish(
            "reference",
            Command::new(binaries::assay_host()).args(["reference", model, "--out"]).arg(&file),
        );
        // The bare module, run once without any server, writes what it was given and what came out.
        finish(
            "inspect",
            Command::new(binaries::assay_host())
                .arg("inspect")
                .arg(&file)
                .args(["--input", input, "--run", "--save-tensors"])
                .arg(dir.path()),
        );
        let mut host = Child::start(
            "assay-host serve",
            Command::new(binaries::assay_host()).arg("serve").arg(&file).args([
                "--listen",
                "127.0.0.1:0",
                "--input",
                input,
                "--model-name",
                model,
            ]),
        );
        let url = host.listening(LIMIT);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance/python/oip_client.py");
        finish(
            "oip_client.py",
            Command::new(python())
                .arg(script)
                .args([&url, model])
                .args([path("input_0.npy"), path("output_0.npy")]),
        );
    }
}
