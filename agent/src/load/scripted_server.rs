//! An HTTP server of scripted answers: one thread for each connection, on a port of its own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::target::Target;

/// A request as the server read it.
pub(crate) struct Request {
    pub(crate) body: String,
}

/// What the server does with a request.
pub(crate) struct Answer {
    bytes: Vec<u8>,
    after: Duration,
    stall: Duration,
    workers: u32,
    close: bool,
    in_pieces: bool,
}

impl Answer {
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            after: Duration::ZERO,
            stall: Duration::ZERO,
            workers: u32::MAX,
            close: false,
            in_pieces: false,
        }
    }

    pub(crate) fn status(status: u16, body: &str) -> Self {
        Self::raw(
            format!("HTTP/1.1 {status} Word\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .as_bytes(),
        )
    }

    pub(crate) fn ok(body: &str) -> Self {
        Self::status(200, body)
    }

    /// This connection answers so long after the request; a deadline, so timer errors do not add up.
    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    /// The whole server answers nothing for so long.
    pub(crate) fn stalling(self, stall: Duration) -> Self {
        Self { stall, ..self }
    }

    /// Only so many requests are worked on at the same time; the others queue.
    pub(crate) fn workers(self, workers: u32) -> Self {
        Self { workers, ..self }
    }

    pub(crate) fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    pub(crate) fn byte_by_byte(self) -> Self {
        Self { in_pieces: true, ..self }
    }
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

struct Shared {
    script: Box<Script>,
    stopped: AtomicBool,
    at_once: AtomicU32,
    most_at_once: AtomicU32,
    /// Held while the server stalls.
    stall: Mutex<()>,
    /// When each worker is free.
    free_at: Mutex<Vec<Instant>>,
    hang_up: Mutex<Vec<Arc<dyn Fn() + Send + Sync>>>,
}

impl Shared {
    /// When the answer is due: work begins when a worker is free. Deadlines follow from deadlines, so
    /// timer errors do not add up.
    fn deadline(&self, arrived: Instant, answer: &Answer) -> Instant {
        let mut free_at = self.free_at.lock().unwrap();
        if (free_at.len() as u64) < u64::from(answer.workers) {
            free_at.push(arrived + answer.after);
            if answer.workers == u32::MAX {
                free_at.clear();
            }
            return arrived + answer.after;
        }
        let first = free_at.iter_mut().min().unwrap();
        *first = (*first).max(arrived) + answer.after;
        *first
    }
}

pub(crate) struct Server {
    shared: Arc<Shared>,
    target: Target,
    acceptor: Option<JoinHandle<()>>,
    _folder: Option<tempfile::TempDir>,
}

impl Server {
    pub(crate) fn http(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        Self::start(script, target, None, move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let hang_up = stream.try_clone().unwrap();
            let reader = stream.try_clone().unwrap();
            (
                Box::new(reader),
                Box::new(stream),
                Box::new(move || drop(hang_up.shutdown(Shutdown::Both))),
            )
        })
    }

    pub(crate) fn unix(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        Self::start(script, Target::Unix { socket: path }, Some(folder), move || {
            let (stream, _) = listener.accept().unwrap();
            let hang_up = stream.try_clone().unwrap();
            let reader = stream.try_clone().unwrap();
            (
                Box::new(reader),
                Box::new(stream),
                Box::new(move || drop(hang_up.shutdown(Shutdown::Both))),
            )
        })
    }

    fn start(
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
        target: Target,
        folder: Option<tempfile::TempDir>,
        accept: impl Fn() -> (Box<dyn Read + Send>, Box<dyn Write + Send>, Box<dyn Fn() + Send + Sync>)
        + Send
        + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            script: Box::new(script),
            stopped: AtomicBool::new(false),
            at_once: AtomicU32::new(0),
            most_at_once: AtomicU32::new(0),
            stall: Mutex::new(()),
            free_at: Mutex::new(Vec::new()),
            hang_up: Mutex::new(Vec::new()),
        });
        let for_acceptor = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            loop {
                let (reader, writer, hang_up) = accept();
                if for_acceptor.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let hang_up: Arc<dyn Fn() + Send + Sync> = Arc::from(hang_up);
                for_acceptor.hang_up.lock().unwrap().push(Arc::clone(&hang_up));
                let shared = Arc::clone(&for_acceptor);
                thread::spawn(move || {
                    serve(&shared, reader, writer);
                    // The clone kept for hanging up would hold the connection open.
                    hang_up();
                });
            }
        });
        Self { shared, target, acceptor: Some(acceptor), _folder: folder }
    }

    pub(crate) fn target(&self) -> Target {
        self.target.clone()
    }

    /// The most requests that were being served at the same time.
    pub(crate) fn most_at_once(&self) -> u32 {
        self.shared.most_at_once.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then closes the listener.
        match &self.target {
            Target::Http { host, port, .. } => drop(TcpStream::connect((host.as_str(), *port))),
            Target::Unix { socket } => drop(UnixStream::connect(socket)),
            Target::Grpc { .. } => {}
        }
        self.acceptor.take().unwrap().join().unwrap();
        self.shared.hang_up.lock().unwrap().iter().for_each(|hang_up| hang_up());
    }
}

fn serve(shared: &Shared, reader: Box<dyn Read + Send>, mut writer: Box<dyn Write + Send>) {
    let mut reader = BufReader::new(reader);
    while let Some(request) = read_request(&mut reader) {
        let arrived = Instant::now();
        let at_once = shared.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        let answer = {
            let stall = shared.stall.lock().unwrap();
            let answer = (shared.script)(&request);
            thread::sleep(answer.stall);
            drop(stall);
            answer
        };
        let deadline = shared.deadline(arrived, &answer);
        thread::sleep(deadline.saturating_duration_since(Instant::now()));
        shared.at_once.fetch_sub(1, Ordering::SeqCst);
        let pieces = if answer.in_pieces { 1 } else { answer.bytes.len().max(1) };
        if answer.bytes.chunks(pieces).any(|piece| writer.write_all(piece).is_err()) || answer.close
        {
            break;
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { body: String::from_utf8(body).unwrap() })
}
