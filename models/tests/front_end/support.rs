//! A host on a free port of this machine, a stand-in model, and a plain HTTP client.

use std::{
    io::{Read, Write},
    net::TcpStream,
    num::{NonZeroU32, NonZeroUsize},
    path::Path,
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use assay_host::{
    artifact::{Artifact, DEFAULT_UNPACKED_LIMIT},
    engine::{
        Engine, EngineSettings, Infer, InferError, Inferred, InputFacts, LONGEST_CALLER_PASS,
        ModelFacts, Reply, Telling,
    },
    reference,
    server::{self, Bound, ListenAddress, ServerSettings, Stop},
    tensor::WireTensor,
};
use assay_measure::{
    configuration::{Allocator, Device, Graph, Precision},
    input_spec::InputSpec,
};
use serde_json::Value;

/// No wait in these tests is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A host in this process; it stops when dropped.
pub(crate) struct Host {
    pub(crate) url: String,
    pub(crate) stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Serves a built-in model with the real engine.
    pub(crate) fn of_reference(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let declared = reference::find(name).unwrap().inputs;
        let declared: Vec<InputSpec> =
            declared.iter().map(|input| input.parse().unwrap()).collect();
        let file = folder.path().join("model.pt");
        reference::write(name, &file).unwrap();
        Self::of(Arc::new(engine(&file, name, &declared)))
    }

    pub(crate) fn of(engine: Arc<dyn Infer>) -> Self {
        Self::with_limit(engine, ServerSettings::default().max_payload_bytes)
    }

    pub(crate) fn with_limit(engine: Arc<dyn Infer>, max_payload_bytes: usize) -> Self {
        Self::listening(&"127.0.0.1:0".parse().unwrap(), engine, max_payload_bytes)
    }

    pub(crate) fn listening(
        address: &ListenAddress,
        engine: Arc<dyn Infer>,
        max_payload_bytes: usize,
    ) -> Self {
        let bound = vec![Bound::bind(address).unwrap()];
        let stop = Stop::default();
        let (sender, receiver) = mpsc::channel();
        let shared = stop.clone();
        let thread = std::thread::spawn(move || {
            let settings = ServerSettings { max_payload_bytes, ..ServerSettings::default() };
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let ready = move |url: &str| sender.send(url.to_owned()).unwrap();
            runtime.block_on(server::serve_until(bound, engine, &settings, ready, shared)).unwrap();
        });
        Self { url: receiver.recv_timeout(PATIENCE).unwrap(), stop, thread: Some(thread) }
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        self.send("POST", path, &[("Content-Type", content_type)], body)
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut stream = self.connect();
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A host that refuses early may stop reading: its answer counts.
        drop(stream.write_all(body));
        Answer::read(&mut stream)
    }

    /// The added object of the model's statistics.
    pub(crate) fn counted(&self, model: &str) -> Value {
        self.get(&format!("/v2/models/{model}/stats")).json()["assay"].clone()
    }

    pub(crate) fn wait(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.gently.cancel();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads until the host closes the connection.
    pub(crate) fn read(stream: &mut impl Read) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {bytes:?}"));
        let headers = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, headers: headers.to_ascii_lowercase(), body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

pub(crate) fn engine(file: &Path, name: &str, declared: &[InputSpec]) -> Engine {
    let artifact = Artifact::open(file, DEFAULT_UNPACKED_LIMIT).unwrap();
    Engine::start(&artifact, declared, &settings(name), Telling::default()).unwrap()
}

pub(crate) fn settings(name: &str) -> EngineSettings {
    EngineSettings {
        name: name.to_owned(),
        workers: NonZeroU32::MIN,
        intra_op_threads: NonZeroU32::MIN,
        max_batch: NonZeroU32::MIN,
        max_batch_delay: Duration::ZERO,
        device: Device::Cpu,
        dtype: Precision::Float32,
        graph: Graph::Plain,
        allocator: Allocator::Default,
        queue_limit: 64,
        processors: NonZeroUsize::MIN,
        longest_caller_pass: LONGEST_CALLER_PASS,
    }
}

/// What a stand-in does with a request.
pub(crate) enum Behaviour {
    Echo,
    Fail(InferError),
    /// Keeps the request until the test answers it.
    Keep(Mutex<mpsc::Sender<(Vec<WireTensor>, Reply)>>),
    /// Loses the request, as a worker that dies would.
    Lose,
}

/// A model without libtorch, for what a real one does not do on demand.
pub(crate) struct StandIn {
    facts: ModelFacts,
    settings: EngineSettings,
    behaviour: Behaviour,
}

impl StandIn {
    pub(crate) fn new(inputs: &[&str], behaviour: Behaviour) -> Arc<Self> {
        let declared: Vec<InputSpec> = inputs.iter().map(|input| input.parse().unwrap()).collect();
        let inputs = declared.iter().enumerate().map(|(index, input)| InputFacts {
            name: input.name().map_or_else(|| format!("x{index}"), str::to_owned),
            dtype: Some(input.dtype()),
            shape: Some(input.shape().iter().map(|&dim| i64::try_from(dim).unwrap()).collect()),
            optional: false,
        });
        let facts = ModelFacts {
            name: "stand-in".to_owned(),
            sha256: "0".repeat(64),
            size_bytes: 0,
            inputs: inputs.collect(),
            outputs: Vec::new(),
            batch_limit: NonZeroU32::MIN,
            parameters: 0,
            signature: String::new(),
            declared: declared.clone(),
            allocator: Allocator::Default,
        };
        Arc::new(Self { facts, settings: settings("stand-in"), behaviour })
    }

    /// One that was allowed batches of up to `asked` and makes them of up to `limit`.
    pub(crate) fn batching(asked: u32, limit: u32) -> Arc<Self> {
        let plain = Self::new(&["float32[1,4]"], Behaviour::Echo);
        let mut batching = Arc::into_inner(plain).expect("nobody else has it");
        batching.settings.max_batch = NonZeroU32::new(asked).unwrap();
        batching.facts.batch_limit = NonZeroU32::new(limit).unwrap();
        Arc::new(batching)
    }
}

/// The answer that has these outputs.
pub(crate) fn answer(outputs: Vec<WireTensor>) -> Inferred {
    Inferred { outputs, batch_size: 1, queue_us: 1, compute_us: 2, nan_outputs: 0 }
}

impl Infer for StandIn {
    fn facts(&self) -> &ModelFacts {
        &self.facts
    }
    fn settings(&self) -> &EngineSettings {
        &self.settings
    }
    fn submit(&self, inputs: Vec<WireTensor>, reply: Reply) {
        match &self.behaviour {
            Behaviour::Echo => reply(Ok(answer(inputs))),
            Behaviour::Fail(error) => reply(Err(error.clone())),
            Behaviour::Keep(sender) => sender.lock().unwrap().send((inputs, reply)).unwrap(),
            Behaviour::Lose => drop(reply),
        }
    }
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it never came to pass that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An array as NumPy saves it.
pub(crate) fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}
