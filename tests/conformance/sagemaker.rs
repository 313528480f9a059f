//! AWS's own clients, as published, against `assay serve`, an agent and a model that really is measured.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use assay_tests::{binaries, child::Child, known_agent::KnownAgent, python::aws_python, wait};
use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(240);
const MLP_INPUT: &str = "float32[1,64]";

/// A coordinator, its agent, and the two files that a job needs, both on disk and in an S3 of moto's.
struct Bench {
    dir: TempDir,
    url: String,
    _running: Vec<Child>,
    _known: Option<KnownAgent>,
    _alone: MutexGuard<'static, ()>,
}

/// Who runs the trials.
enum Agent {
    /// Measures a model host, and offers another as the endpoint `running`.
    Real,
    /// Reports what is known in advance.
    Known,
}

impl Bench {
    fn new(agent: Agent) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        // What runs here measures, and would disturb its neighbours.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let model = make_model(dir.path());
        make_payload(dir.path());
        let mut s3 = Child::start(
            "moto_s3.py",
            script("moto_s3.py").arg(&model).arg(dir.path().join("payload.tar.gz")),
        );
        let s3_url = s3.listening(LIMIT);
        let mut server = Child::start(
            "assay serve",
            Command::new(binaries::assay())
                .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
                .arg(dir.path().join("data"))
                .arg("--allow-file-urls")
                .arg(dir.path())
                .env("AWS_ENDPOINT_URL_S3", &s3_url)
                .env("AWS_ACCESS_KEY_ID", "test")
                .env("AWS_SECRET_ACCESS_KEY", "test")
                .env("NO_PROXY", "127.0.0.1"),
        );
        let url = server.listening(LIMIT);
        let mut running = vec![s3, server];
        let known = match agent {
            Agent::Known => Some(KnownAgent::attach(&url)),
            Agent::Real => {
                running.extend(real_agent(dir.path(), &url));
                None
            }
        };
        let bench = Self { dir, url, _running: running, _known: known, _alone: alone };
        wait::until("the agent to attach", LIMIT, || {
            bench
                .assay(&["agents", "list", "-o", "json"])
                .contains("\"connected\": true")
                .then_some(())
        });
        bench
    }

    fn assay(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(binaries::assay());
        finish(
            "assay",
            command.current_dir(self.dir.path()).args(["--server", &self.url]).args(arguments),
        )
    }

    fn file_url(&self, name: &str) -> String {
        format!("file://{}", self.dir.path().join(name).display())
    }

    fn run(&self, name: &str, arguments: &[&str]) -> String {
        finish(name, script(name).arg(&self.url).args(arguments))
    }
}

/// A host that runs already, and the agent that offers it as `running`.
fn real_agent(dir: &Path, url: &str) -> [Child; 2] {
    let mut host = Command::new(binaries::assay_host());
    host.arg("serve").arg(dir.join("mlp.pt"));
    host.args(["--listen", "127.0.0.1:0", "--input", MLP_INPUT]);
    let mut endpoint = Child::start("assay-host serve", &mut host);
    let running = format!("running={}/invocations", endpoint.listening(LIMIT));
    let mut agent = Command::new(binaries::assay_agent());
    agent.args(["run", "--server", url, "--name", "only", "--emulate", "--endpoint", &running]);
    agent.arg("--cache-dir").arg(dir.join("cache"));
    [endpoint, Child::start("assay-agent run", &mut agent)]
}

fn script(name: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/python/aws");
    let mut command = Command::new(aws_python());
    command.arg(folder.join(name)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn finish(name: &str, command: &mut Command) -> String {
    let mut child = Child::start(name, command);
    assert_eq!(child.exit_code(LIMIT), 0, "{name}\n{}\n{}", child.stdout(), child.stderr());
    child.stdout()
}

fn make_model(dir: &Path) -> PathBuf {
    let file = dir.join("mlp.pt");
    let mut reference = Command::new(binaries::assay_host());
    finish("assay-host reference", reference.args(["reference", "mlp", "--out"]).arg(&file));
    // SageMaker's layout: the model beside the code that a container would run.
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    archive.append_path_with_name(&file, "model.pt").unwrap();
    append(&mut archive, "code/inference.py", b"pass\n");
    let path = dir.join("model.tar.gz");
    fs::write(&path, archive.into_inner().unwrap().finish().unwrap()).unwrap();
    path
}

/// Two bodies of the shape that the model takes.
fn make_payload(dir: &Path) {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, value) in [("a.npy", 0.25f32), ("b.npy", -1.5)] {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 64), }";
        let mut body = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        body.extend(format!("{header:<117}\n").as_bytes());
        body.extend([value; 64].iter().flat_map(|one| one.to_le_bytes()));
        append(&mut archive, name, &body);
    }
    fs::write(dir.join("payload.tar.gz"), archive.into_inner().unwrap().finish().unwrap()).unwrap();
}

fn append<W: std::io::Write>(archive: &mut tar::Builder<W>, name: &str, body: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, body).unwrap();
}

const S3_FILES: [&str; 2] = ["s3://assay/model.tar.gz", "s3://assay/payload.tar.gz"];

#[test]
fn boto3_goes_through_the_whole_page_and_shares_its_jobs_with_assay() {
    let bench = Bench::new(Agent::Real);
    bench.assay(&[
        "recommend",
        "mlp.pt",
        "--input",
        MLP_INPUT,
        "--instance-types",
        "ml.c5.large",
        "--name",
        "from-assay",
        "--detach",
    ]);
    let (model, payload) = (bench.file_url("mlp.pt"), bench.file_url("payload.tar.gz"));
    let [s3_model, s3_payload] = S3_FILES;
    let assay = binaries::assay();
    let arguments = [s3_model, s3_payload, &model, &payload, assay.to_str().unwrap(), "real"];
    let said = bench.run("boto3_flow.py", &arguments);
    for operation in
        ["CreateInferenceRecommendationsJob", "DescribeInferenceRecommendationsJob", "GetLogEvents"]
    {
        assert!(said.contains(operation), "{said}");
    }
}

#[test]
fn the_aws_command_line_creates_describes_lists_and_stops_jobs() {
    let bench = Bench::new(Agent::Real);
    bench.run("cli_flow.py", &[&bench.file_url("model.tar.gz"), &bench.file_url("payload.tar.gz")]);
}

#[test]
fn right_size_of_the_python_sdk_returns_what_was_measured() {
    let bench = Bench::new(Agent::Real);
    let (model, payload) = (bench.file_url("mlp.pt"), bench.file_url("payload.tar.gz"));
    bench.run("sdk_flow.py", &[&model, &payload, "real"]);
}

/// Where nothing is measured, nothing may excuse a missing recommendation or another digit.
#[test]
fn boto3_and_the_python_sdk_are_told_known_figures_to_the_digit() {
    let bench = Bench::new(Agent::Known);
    let (model, payload) = (bench.file_url("mlp.pt"), bench.file_url("payload.tar.gz"));
    let [s3_model, s3_payload] = S3_FILES;
    let assay = binaries::assay();
    let arguments = [s3_model, s3_payload, &model, &payload, assay.to_str().unwrap(), "known"];
    bench.run("boto3_flow.py", &arguments);
    bench.run("sdk_flow.py", &[&model, &payload, "known"]);
}
