//! A model host without a model, for tests of the agent: speaks the host's contract and misbehaves as
//! the file says that it is given for a model.
//!
//! The file has lines of a word and what it says: `host BEHAVIOUR`
//! and `compare ANSWER`. Any other line means nothing.
//!
//! One thread per connection, keep-alive. Behaviours:
//! `serve` (the default), `serve:MICROSECONDS` (one call at a time takes so long), `raise-from:N`, `raise-every:N`,
//! `crash-from:N`, `hang-from:N`, `eat-from:N` (allocates without end), `reject` (400 to every body),
//! `nan`, `silent` (never ready), `bad-model`, `exit-early`, `segfault-early`.
//!
//! Given a gzipped archive, it unpacks the one file in it first, as the host does with a `model.tar.gz`, and
//! locks the folder: a model can take the right to write from a folder of its own.
//!
//! Given `--batch-log`, it tells every answered call as a batch of its own.
//!
//! Started with `compare`, it says what the file says to that: `MAX,MEAN` (an error if there is none), `hang`,
//! `segfault`, or the code of an error such as `engine`.

use std::{
    env,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::fs::{FileExt, PermissionsExt},
    },
    path::Path,
    process::ExitCode,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use assay_measure::{
    batch_log::{Record, SLOTS, offset},
    host_status::HostStatus,
};
use rustix::time::{ClockId, clock_gettime};

struct Host {
    word: String,
    number: u64,
    calls: AtomicU64,
    errors: AtomicU64,
    /// When the one worker is free again.
    free_at: Mutex<Instant>,
    batch_log: Option<File>,
    /// The number of the last batch told.
    told: Mutex<u64>,
}

fn main() -> ExitCode {
    let model = env::args().nth(2).and_then(|path| model(Path::new(&path)).ok());
    let model = model.unwrap_or_default();
    let told = |word: &str| {
        model.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).map(str::to_owned)
    };
    let behaviour = told("host").unwrap_or_else(|| "serve".to_owned());
    let (word, number) = match behaviour.split_once(':') {
        Some((word, number)) => (word.to_owned(), number.parse().unwrap_or(0)),
        None => (behaviour.clone(), 0),
    };
    eprintln!("fake host: {behaviour} {:?}", env::args().skip(1).collect::<Vec<_>>());
    if env::args().nth(1).as_deref() == Some("compare") {
        return compare(&told("compare").unwrap_or_default());
    }
    match word.as_str() {
        "bad-model" => {
            tell(&HostStatus::Failed {
                code: "engine".to_owned(),
                message: "cannot load the model".to_owned(),
                causes: vec!["it is a state dict, not TorchScript".to_owned()],
            });
            return ExitCode::from(1);
        }
        "exit-early" => return ExitCode::from(127),
        "segfault-early" => segfault(),
        "silent" => thread::sleep(Duration::from_secs(600)),
        _ => {}
    }
    tell(&HostStatus::Loaded);
    let listener = match listener() {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("error: cannot listen\n  cause: {error}");
            return ExitCode::from(1);
        }
    };
    let host = Arc::new(Host {
        word,
        number,
        calls: AtomicU64::new(0),
        errors: AtomicU64::new(0),
        free_at: Mutex::new(Instant::now()),
        batch_log: batch_log(),
        told: Mutex::new(0),
    });
    for stream in listener.incoming().flatten() {
        let host = Arc::clone(&host);
        thread::spawn(move || host.converse(stream));
    }
    ExitCode::SUCCESS
}

/// What the model's file says.
fn model(path: &Path) -> io::Result<String> {
    const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
    let bytes = fs::read(path)?;
    if !bytes.starts_with(&GZIP_MAGIC) {
        return String::from_utf8(bytes).map_err(io::Error::other);
    }
    let folder = env::temp_dir().join(format!("assay-model-{}", std::process::id()));
    fs::create_dir(&folder)?;
    tar::Archive::new(flate2::read::GzDecoder::new(&*bytes)).unpack(&folder)?;
    fs::set_permissions(&folder, Permissions::from_mode(0o500))?;
    fs::read_to_string(folder.join("model.pt"))
}

/// What follows a flag on the command line.
fn given(flag: &str) -> Option<String> {
    env::args().skip_while(|argument| argument != flag).nth(1)
}

/// The log that it is to tell its batches in.
fn batch_log() -> Option<File> {
    OpenOptions::new().write(true).open(given("--batch-log")?).ok()
}

/// The socket that it inherits, or one of its own whose address it prints.
fn listener() -> io::Result<TcpListener> {
    if let Some(inherited) =
        given("--listen").and_then(|listen| inherited(listen.strip_prefix("fd:")?))
    {
        return Ok(TcpListener::from(inherited));
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening http://{}", listener.local_addr()?)?;
    stdout.flush()?;
    Ok(listener)
}

#[expect(unsafe_code, reason = "a number on the command line becomes a descriptor")]
fn inherited(number: &str) -> Option<OwnedFd> {
    let number = number.parse().ok()?;
    // SAFETY: whoever starts a host gives it the descriptor for good, and it is taken once.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Tells its parent, if that wants to know.
fn tell(status: &HostStatus) {
    static PIPE: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    let open = || Some(Mutex::new(File::from(inherited(&given("--status-fd")?)?)));
    if let Some(pipe) = PIPE.get_or_init(open) {
        let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.write_all(status.line().as_bytes()).ok();
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or(0)
}

/// Plays `assay-host compare`.
fn compare(behaviour: &str) -> ExitCode {
    if let Some((max, mean)) = behaviour.split_once(',') {
        if let (Ok(max), Ok(mean)) = (max.parse(), mean.parse()) {
            tell(&HostStatus::Compared { max, mean });
        }
        return ExitCode::SUCCESS;
    }
    match behaviour {
        "hang" => thread::sleep(Duration::from_secs(600)),
        "segfault" => segfault(),
        code => tell(&HostStatus::Failed {
            code: code.to_owned(),
            message: "it does not work".to_owned(),
            causes: vec!["told so".to_owned()],
        }),
    }
    ExitCode::from(1)
}

/// Ends this process as a memory fault does.
fn segfault() {
    // Rust's own handler takes the first signal, finds no stack overflow, and steps back for the next.
    for _ in 0..10 {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::SEGV)
            .ok();
        thread::sleep(Duration::from_millis(50));
    }
}

impl Host {
    fn converse(&self, stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut writer = stream.try_clone().ok()?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if reader.read_until(b'\n', &mut head).ok()? == 0 {
                    return None;
                }
            }
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut request = httparse::Request::new(&mut headers);
            request.parse(&head).ok()?;
            let path = request.path?.to_owned();
            let length = request
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case("content-length"));
            let length = length
                .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok())
                .unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let (status, answer) = self.answer(&path);
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            writer.write_all(format!("{head}{answer}").as_bytes()).ok()?;
        }
    }

    fn answer(&self, path: &str) -> (u16, String) {
        match path {
            "/ping" => (200, String::new()),
            "/invocations" => self.invoke(),
            _ if path.ends_with("/stats") => {
                let (calls, errors) =
                    (self.calls.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed));
                let nan = if self.word == "nan" { calls } else { 0 };
                let stats = format!(
                    r#"{{"assay":{{"nan_outputs":{nan},"requests":{calls},"errors":{errors},"batches":{calls},"allocator":"default"}}}}"#
                );
                (200, stats)
            }
            _ => (404, r#"{"error":"no such path"}"#.to_owned()),
        }
    }

    fn invoke(&self) -> (u16, String) {
        let started_ns = monotonic_ns();
        let answer = self.call_model();
        if let Some(log) = &self.batch_log {
            let service_ns = monotonic_ns() - started_ns;
            let record = Record { started_ns, service_ns, requests: 1, waited_us: 0 };
            let mut last = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            *last += 1;
            log.write_all_at(&record.encode(*last), offset(*last, SLOTS)).ok();
        }
        answer
    }

    fn call_model(&self) -> (u16, String) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let from = call >= self.number;
        let every = call.is_multiple_of(self.number.max(1));
        let raises = (self.word == "raise-from" && from) || (self.word == "raise-every" && every);
        match self.word.as_str() {
            _ if raises => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                return (
                    500,
                    r#"{"error":"the model raised","cause":"RuntimeError: boom in forward()"}"#
                        .to_owned(),
                );
            }
            "reject" => {
                return (
                    400,
                    r#"{"error":"wrong shape","cause":"expected 3 channels, got 4"}"#.to_owned(),
                );
            }
            "crash-from" if from => segfault(),
            "hang-from" if from => thread::sleep(Duration::from_secs(600)),
            "eat-from" if from => eat(),
            "serve" if self.number > 0 => self.take_turn(Duration::from_micros(self.number)),
            _ => {}
        }
        (200, r#"{"outputs":[0.5]}"#.to_owned())
    }

    /// One worker: calls wait for each other. Ends are planned, so timer errors do not add up.
    fn take_turn(&self, service: Duration) {
        let done = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = (*free_at).max(Instant::now()) + service;
            *free_at
        };
        thread::sleep(done.saturating_duration_since(Instant::now()));
    }
}

/// Takes memory until somebody stops it; at most 4 GiB, should nobody do so.
fn eat() {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    for round in 0..1024u32 {
        // Written to, so that it is resident.
        eaten.push(vec![u8::try_from(round % 251).unwrap_or(1) + 1; 4 << 20]);
        thread::sleep(Duration::from_millis(2));
    }
    eprintln!("ate {} blocks", eaten.len());
    thread::sleep(Duration::from_secs(600));
}
