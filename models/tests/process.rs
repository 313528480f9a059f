//! `assay-host` as a process: what it prints, how it ends, and what is left of it when the model crashes it.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests end the test when something is not as it should be"
)]

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use assay_host::torch::Module;
use tempfile::TempDir;

/// The binary, with no environment variable set and far from the checkout.
fn assay_host(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay-host"));
    command.env_clear().current_dir("/").args(arguments);
    command
}

fn output_of(arguments: &[&str]) -> Output {
    assay_host(arguments).output().unwrap()
}

fn reference(folder: &TempDir, name: &str) -> PathBuf {
    let path = folder.path().join(format!("{}.pt", name.replace('@', "-")));
    let output = output_of(&["reference", name, "--out", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

/// A model from source, saved.
fn defined(folder: &TempDir, source: &str) -> PathBuf {
    let path = folder.path().join("defined.pt");
    Module::define("Net", source, &[]).unwrap().save(&path).unwrap();
    path
}

struct Host {
    child: Child,
    stdout: BufReader<ChildStdout>,
    url: String,
}

impl Host {
    fn serving(model: &Path, more: &[&str]) -> Self {
        let arguments =
            [&["serve", model.to_str().unwrap(), "--listen", "127.0.0.1:0"], more].concat();
        let mut child =
            assay_host(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let url = line
            .strip_prefix("listening ")
            .expect("the line that says where")
            .trim_end()
            .to_owned();
        Self { child, stdout, url }
    }

    /// The status of the answer, or `None` when the connection broke.
    fn ask(&self) -> Option<u16> {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let asked =
            agent.post(format!("{}/invocations", self.url)).content_type("application/json");
        asked.send("{\"inputs\": [[1, 2, 3, 4]]}").ok().map(|response| response.status().as_u16())
    }

    fn terminate(&self) {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Ended already in every test that passes.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn serve_prints_one_line_and_ends_cleanly_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::serving(&reference(&folder, "tuple"), &["--input", "float32[1,4]"]);
    assert_eq!(host.ask(), Some(200));
    host.terminate();
    let mut rest = String::new();
    host.stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert_eq!(host.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_model_without_forward_is_told_with_its_methods_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let model = defined(&folder, "def predict(self, x: Tensor) -> Tensor:\n  return x\n");
    let model = model.to_str().unwrap();
    for command in [
        &["inspect", model][..],
        &["inspect", model, "--run"],
        &["inspect", model, "--run", "--input", "float32[1,4]"],
        &["bench-loop", model, "--input", "float32[1,4]"],
        &["serve", model, "--listen", "127.0.0.1:0"],
    ] {
        let output = output_of(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(
            said.contains("it has no forward(); its one method is predict\n"),
            "{command:?}: {said}"
        );
        assert!(said.contains("hint: only forward() is served"), "{command:?}: {said}");
    }
}

#[test]
fn what_a_model_prints_is_never_among_the_results() {
    let folder = tempfile::tempdir().unwrap();
    let source =
        "def forward(self, x: Tensor) -> Tensor:\n  print('listening http://x', x)\n  return x\n";
    let model = defined(&folder, source);
    let path = model.to_str().unwrap();
    let payload = folder.path().join("body.json");
    std::fs::write(&payload, "{\"inputs\": [[1, 2, 3, 4]]}").unwrap();
    let of_json = ["--payload", payload.to_str().unwrap(), "--content-type", "application/json"];
    let input = ["--input", "float32[1,4]", "-o", "json"];
    for command in [
        [&["inspect", path, "--run"], &input[..]].concat(),
        [&["bench-loop", path, "--duration", "20ms"], &input[..]].concat(),
        [&["compare", path, "--graph", "optimized"], &of_json[..], &input[..]].concat(),
    ] {
        let output = output_of(&command);
        let printed = String::from_utf8_lossy(&output.stderr);
        let result = serde_json::from_slice::<serde_json::Value>(&output.stdout);
        assert!(result.is_ok(), "{command:?}: {output:?}");
        assert!(printed.contains("listening http://x"), "{command:?}: {printed}");
    }
    let mut host = Host::serving(&model, &["--input", "float32[1,4]"]);
    assert!(host.url.starts_with("http://127.0.0.1:"), "{}", host.url);
    assert_eq!(host.ask(), Some(200));
    host.terminate();
    let mut rest = String::new();
    host.stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn the_hint_says_what_would_help() {
    let folder = tempfile::tempdir().unwrap();
    for (returned, said, hint) in [
        (
            "torch.complex(x, x)",
            "has the element type complex64, which cannot be sent",
            "real numbers",
        ),
        ("str(1)", "returns a String, which is not a tensor", "real numbers"),
        (
            "x + torch.ones([1], device='cuda:0')",
            "asks for a CUDA device by name",
            "only where there is a GPU",
        ),
        ("x.view([3])", "shape '[3]' is invalid", "--input"),
    ] {
        let source = format!("def forward(self, x: Tensor):\n  return {returned}\n");
        let model = defined(&folder, &source);
        let model = model.to_str().unwrap();
        let output = output_of(&["inspect", model, "--run", "--input", "float32[1,4]"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(said), "{text}");
        let told = text.lines().find(|line| line.starts_with("hint: ")).unwrap();
        assert!(told.contains(hint), "{told}");
    }
}

#[test]
fn a_model_that_raises_on_the_third_call_leaves_the_host_serving() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::serving(&reference(&folder, "faulty-raise"), &[]);
    let answers: Vec<_> = (0..4).map(|_| host.ask()).collect();
    assert_eq!(answers, [Some(200), Some(200), Some(500), Some(500)]);
}

#[test]
fn a_model_that_segfaults_ends_the_process_with_that_signal() {
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::serving(&reference(&folder, "faulty-segfault@2"), &[]);
    assert_eq!(host.ask(), Some(200));
    assert_eq!(host.ask(), None);
    let status = host.child.wait().unwrap();
    assert_eq!(status.signal(), Some(11), "{status}");
}

#[test]
fn a_model_that_hangs_does_not_keep_the_host_from_answering_pings() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::serving(&reference(&folder, "faulty-hang@1"), &[]);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(std::time::Duration::from_millis(300)))
        .build()
        .into();
    let asked = agent.post(format!("{}/invocations", host.url)).content_type("application/json");
    assert!(asked.send("{\"inputs\": [[1, 2, 3, 4]]}").is_err());
    assert_eq!(ureq::get(format!("{}/ping", host.url)).call().unwrap().status().as_u16(), 200);
}

#[test]
fn a_model_that_allocates_without_end_meets_the_memory_limit_and_not_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let model = reference(&folder, "faulty-oom@1");
    let script = format!(
        "ulimit -d 1000000; exec {} inspect {} --input 'float32[1,4]' --run",
        env!("CARGO_BIN_EXE_assay-host"),
        model.display()
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("allocate memory") || said.contains("bad_alloc"), "{said}");
}

#[test]
fn errors_are_json_for_programs_and_lines_for_people() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pt");
    std::fs::write(&path, "import torch\n").unwrap();
    let path = path.to_str().unwrap();
    let output = output_of(&["serve", path, "--listen", "127.0.0.1:0", "-o", "json"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "artifact");
    assert!(error["error"]["hint"].as_str().unwrap().contains("torch.jit"));

    let output = output_of(&["serve", path, "--listen", "127.0.0.1:0"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: ") && text.contains("\nhint: "), "{text}");

    let output = output_of(&["serve", path, "--no-such-flag", "-o", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "usage");
}

#[test]
fn a_truncated_model_inside_a_valid_zip_is_libtorchs_to_refuse_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hollow.pt");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    for name in ["m/data.pkl", "m/constants.pkl", "m/code/x.py", "m/version"] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    }
    zip.finish().unwrap();
    let output = output_of(&["inspect", path.to_str().unwrap()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.starts_with("error: libtorch cannot load "), "{text}");
}

#[test]
fn what_inspect_prints_keeps_its_lines_whatever_a_model_calls_its_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let source = "def forward(self):\n  return {'a\\nb\x1b[31m': torch.ones([2])}\n";
    let model = defined(&folder, source);
    let tensors = folder.path().join("not/there/yet");
    let arguments = ["inspect", model.to_str().unwrap(), "--run", "--save-tensors"];
    let output = output_of(&[&arguments[..], &[tensors.to_str().unwrap()]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("Suggested    nothing: forward() takes no inputs\n"), "{text}");
    assert!(text.contains("Tried with   no inputs: a b=float32[2] in "), "{text}");
    assert!(tensors.join("output_0.npy").exists());
}
