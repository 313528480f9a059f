//! A coordinator to look at, and the scripts that do.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    time::Duration,
};

use assay_tests::{
    binaries,
    browser::{browser_python, chromium},
    child::Child,
    known_agent::KnownAgent,
    wait,
};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(240);
const INPUT: &str = "float32[1,64]";

pub(crate) struct Studio {
    dir: TempDir,
    url: String,
    _server: Child,
    _agent: Option<KnownAgent>,
}

impl Studio {
    /// With an agent that takes so long for each of its three steps.
    pub(crate) fn with_agent(pace: Duration) -> Self {
        let mut studio = Self::started(&[]);
        studio._agent = Some(KnownAgent::attach_paced(&studio.url, pace));
        wait::until("the agent to attach", LIMIT, || {
            let agents = studio.json(&["agents", "list", "-o", "json"]);
            (agents[0]["connected"] == true).then_some(())
        });
        studio
    }

    pub(crate) fn without_agent() -> Self {
        Self::started(&[])
    }

    /// One that wants access tokens.
    pub(crate) fn guarded() -> Self {
        Self::started(&["--token-file", "tokens"])
    }

    fn started(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::write(root.join("tokens"), "a token that nobody shows\n").unwrap();
        make_model(root);
        make_payload(root);
        let mut command = Command::new(binaries::assay());
        command.current_dir(root).args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
        command.arg("--allow-file-urls").arg(root).args(arguments);
        let mut server = Child::start("assay serve", &mut command);
        let url = server.listening(LIMIT);
        Self { dir, url, _server: server, _agent: None }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Runs `assay` to its end; what it printed.
    pub(crate) fn assay(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(binaries::assay());
        command.current_dir(self.path()).args(["--server", &self.url]).args(arguments);
        let mut child = Child::start("assay", &mut command);
        let code = child.exit_code(LIMIT);
        // That nothing can be recommended is what some jobs are made for.
        assert!([0, 1, 6].contains(&code), "{arguments:?} ended with {code}: {}", child.stderr());
        child.stdout()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let stdout = self.assay(arguments);
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}:\n{stdout}"))
    }

    /// A job of the reference model, one configuration for each type.
    pub(crate) fn recommend(&self, name: &str, arguments: &[&str]) {
        let model = ["recommend", "model.pt", "--input", INPUT, "--quick", "--name", name];
        let settings = ["workers=1", "intra-op=1", "graph=plain"];
        let sweep = settings.iter().flat_map(|setting| ["--sweep", setting]);
        let all: Vec<&str> =
            model.into_iter().chain(sweep).chain(arguments.iter().copied()).collect();
        self.assay(&all);
    }

    /// Waits until something of a job has been measured.
    pub(crate) fn wait_for_step(&self, job: &str) {
        wait::until("a step", LIMIT, || {
            self.assay(&["jobs", "logs", job, "-o", "jsonl"]).contains("step").then_some(())
        });
    }

    /// A price that was true years ago.
    pub(crate) fn old_price(&self, instance_type: &str) {
        let prices = format!(
            "instance_type,region,usd_per_hour,source,as_of\n{instance_type},us-east-1,0.10,a list,2020-01-01\n"
        );
        fs::write(self.path().join("prices.csv"), prices).unwrap();
        self.assay(&["prices", "import", "prices.csv"]);
    }

    /// The first version of the group `vision`.
    pub(crate) fn register_model(&self) {
        let folder = self.path().display();
        let group =
            json!({ "ModelPackageGroupName": "vision", "ModelPackageGroupDescription": "sees" });
        let package = json!({
            "ModelPackageGroupName": "vision",
            "ModelPackageDescription": "the first",
            "InferenceSpecification": {
                "Containers": [{ "Image": "any", "ModelDataUrl": format!("file://{folder}/model.pt") }],
                "SupportedContentTypes": ["application/x-npy"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            "SamplePayloadUrl": format!("file://{folder}/payload.tar.gz"),
        });
        for (operation, document) in
            [("CreateModelPackageGroup", group), ("CreateModelPackage", package)]
        {
            let code = "import sys, os\nfrom studio import sagemaker\nimport json\n\
                        sagemaker(os.environ['OPERATION'], json.loads(os.environ['DOCUMENT']))";
            let mut command = Command::new(browser_python());
            command.args(["-c", code, &self.url, "-"]).arg(self.path());
            command.current_dir(scripts()).env("OPERATION", operation);
            command.env("DOCUMENT", document.to_string());
            let mut child = Child::start(operation, &mut command);
            assert_eq!(child.exit_code(LIMIT), 0, "{}", child.stderr());
        }
    }

    /// Runs one of the scripts beside this file, which has to end well.
    pub(crate) fn script(&self, name: &str, arguments: &[&str]) {
        let mut command = Command::new(browser_python());
        command.arg(scripts().join(name)).arg(&self.url).arg(chromium()).arg(self.path());
        let mut child = Child::start(name, command.args(arguments));
        assert_eq!(child.exit_code(LIMIT), 0, "{name}\n{}{}", child.stdout(), child.stderr());
    }
}

fn scripts() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/browser"))
}

fn make_model(root: &Path) {
    let mut host = Command::new(binaries::assay_host());
    host.args(["reference", "mlp", "--out"]).arg(root.join("model.pt"));
    let mut child = Child::start("assay-host reference", &mut host);
    assert_eq!(child.exit_code(LIMIT), 0, "{}", child.stderr());
}

/// An archive of one body; nobody decodes it here.
fn make_payload(root: &Path) {
    let file = File::create(root.join("payload.tar.gz")).unwrap();
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let body = b"a body";
    let mut header = tar::Header::new_gnu();
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "input.npy", &body[..]).unwrap();
    archive.into_inner().unwrap().finish().unwrap();
}
