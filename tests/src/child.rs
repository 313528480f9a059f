//! A started program: its output is collected, and it ends when the test does, however that ends.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    process::{self, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// How long a program may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A running program. Dropping it asks it to end, then kills it.
#[derive(Debug)]
pub struct Child {
    name: String,
    child: process::Child,
    stdout: Output,
    stderr: Output,
    status: Option<ExitStatus>,
}

/// What a program has printed so far, read by a thread so that it never blocks on a full pipe.
#[derive(Debug)]
struct Output {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Child {
    /// Starts the program; `name` stands in the messages of failed tests.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = Output::of(child.stdout.take().expect("stdout was piped"));
        let stderr = Output::of(child.stderr.take().expect("stderr was piped"));
        Self { name: name.to_owned(), child, stdout, stderr, status: None }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything on stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// Everything on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    /// The address in the line `listening URL` that servers print when they are ready.
    pub fn listening(&mut self, limit: Duration) -> String {
        let what = format!("{} to listen", self.name);
        wait::until(&what, limit, || {
            if let Some(status) = self.ended() {
                panic!("{} ended with {status} before it listened:\n{}", self.name, self.stderr());
            }
            let stdout = self.stdout();
            let address = stdout.lines().find_map(|line| line.strip_prefix("listening "));
            address.map(|address| address.trim().to_owned())
        })
    }

    /// Sends a signal, unless the program has ended already.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_some() {
            return;
        }
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("process ids are positive"), signal)
            .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// How the program ended, or nothing while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("a child of this process can be waited for");
        }
        self.status
    }

    /// Waits for the end and for the last of the output.
    pub fn end(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} to end; stderr so far:\n{}", self.name, self.stderr());
        let status = wait::until(&what, limit, || self.ended());
        self.stdout.finish();
        self.stderr.finish();
        status
    }

    /// Waits for the end and wants the exit code; a signal is a failure.
    pub fn exit_code(&mut self, limit: Duration) -> i32 {
        let status = self.end(limit);
        status.code().unwrap_or_else(|| {
            panic!("{} was ended by signal {:?}:\n{}", self.name, status.signal(), self.stderr())
        })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        self.signal(Signal::TERM);
        let mut waited = Duration::ZERO;
        while self.ended().is_none() && waited < GRACE {
            thread::sleep(Duration::from_millis(10));
            waited += Duration::from_millis(10);
        }
        if self.ended().is_none() {
            // Both fail only when the program has just ended by itself.
            _ = self.child.kill();
            _ = self.child.wait();
        }
    }
}

impl Output {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(pipe.read_until(b'\n', &mut line), Ok(1..)) {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                sink.push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader of a pipe does not panic");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn exists(pid: u32) -> bool {
        std::path::Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn output_and_exit_code_are_collected() {
        let mut child = Child::start("sh", &mut shell("echo out; echo err >&2; exit 7"));
        assert_eq!(child.exit_code(LIMIT), 7);
        assert_eq!((child.stdout().as_str(), child.stderr().as_str()), ("out\n", "err\n"));
    }

    #[test]
    fn the_listening_line_is_found_among_others() {
        let script = "echo hello; echo listening http://127.0.0.1:7; exec sleep 60";
        let mut child = Child::start("sh", &mut shell(script));
        assert_eq!(child.listening(LIMIT), "http://127.0.0.1:7");
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let child = Child::start("sleep", Command::new("sleep").arg("600"));
        let pid = child.pid();
        assert!(exists(pid));
        drop(child);
        assert!(!exists(pid));
    }
}
