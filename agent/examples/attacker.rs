//! A model host that is nothing but hostile: native code that tries to get at what is not its own, for
//! tests of the confinement.
//!
//! Started as `attacker serve FILE …`; the file has lines `secret PATH` (to read), `outside FOLDER` (to write to)
//! and `port PORT` (on 127.0.0.1, to connect to). For everything tried it prints a line, `NAME: refused`
//! or `NAME: DONE`, and ends.
#![expect(
    unsafe_code,
    reason = "an attacker calls the system as it likes, without the checks of a library"
)]

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

fn main() {
    let file = env::args().nth(2).unwrap_or_default();
    let told = fs::read_to_string(&file).unwrap_or_default();
    let all = |word: &str| -> Vec<String> {
        let lines = told.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        lines.map(str::to_owned).collect()
    };
    eprintln!("the model can be read: {}", !told.is_empty());
    for secret in all("secret") {
        tell(&format!("read {secret}"), read(Path::new(&secret)));
    }
    let parent = rustix::process::getppid().map_or(1, |pid| pid.as_raw_nonzero().get());
    for name in ["environ", "mem", "maps", "root", "cwd", "fd/0"] {
        tell(
            &format!("read the agent's {name}"),
            read(Path::new(&format!("/proc/{parent}/{name}"))),
        );
    }
    for outside in all("outside") {
        tell(
            &format!("write to {outside}"),
            fs::write(Path::new(&outside).join("mine"), "x").is_ok(),
        );
        let sees = |name| {
            fs::read_dir(&outside).is_ok_and(|all| all.flatten().any(|at| at.file_name() == name))
        };
        tell(&format!("see what is in {outside}"), sees("other-model.pt"));
    }
    tell("change the model", OpenOptions::new().write(true).open(&file).is_ok());
    tell("shared memory", fs::write("/dev/shm/assay-attack", "x").is_ok());
    tell("own program", own_program());
    for port in all("port") {
        tell("connect", TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
    }
    tell("datagram", std::net::UdpSocket::bind("127.0.0.1:0").is_ok());
    processes(parent);
    tell("file without end", endless_file());
    eprintln!("its own folder can be written: {:?}", fs::write("mine", "x"));
    environment();
    std::thread::sleep(Duration::from_millis(if told.contains("linger") { 600_000 } else { 0 }));
}

/// Prints what came of an attempt.
fn tell(what: &str, done: bool) {
    eprintln!("{what}: {}", if done { "DONE" } else { "refused" });
}

fn read(path: &Path) -> bool {
    let mut byte = [0];
    if path.ends_with("mem") {
        // The first page of a process is never mapped: any other error but this is a refusal to look.
        return File::open(path).is_ok();
    }
    fs::read_link(path).is_ok()
        || File::open(path).is_ok_and(|mut file| file.read(&mut byte).is_ok())
}

/// Puts a program where it may write, and runs it in its own place: it would print `DONE`.
fn own_program() -> bool {
    let program = Path::new("program.sh");
    fs::write(program, "#!/bin/sh\necho own program: DONE\n").ok();
    let _ = rustix::fs::chmod(program, rustix::fs::Mode::from_raw_mode(0o755));
    let arguments = [c"program.sh".as_ptr(), std::ptr::null()];
    // SAFETY: a null-terminated list of null-terminated texts.
    unsafe { libc::execv(arguments[0], arguments.as_ptr()) };
    false
}

fn processes(parent: i32) {
    let attempt = |what: &str, answer: i64| tell(what, answer >= 0);
    // SAFETY: the child does nothing but sleep in a session of its own.
    let child = unsafe { libc::fork() };
    if child == 0 {
        rustix::process::setsid().ok();
        std::thread::sleep(Duration::from_mins(10));
    }
    attempt("fork", i64::from(child));
    // SAFETY: plain integers, and pointers to nothing of length nothing, in all of these.
    unsafe {
        attempt("clone3", libc::syscall(libc::SYS_clone3, 0_usize, 0_usize));
        attempt("ptrace", libc::ptrace(libc::PTRACE_ATTACH, parent, 0_usize, 0_usize));
        attempt("signal the agent", i64::from(libc::kill(parent, libc::SIGWINCH)));
        attempt("outlive the agent", i64::from(libc::prctl(libc::PR_SET_PDEATHSIG, 0)));
        attempt("unshare", i64::from(libc::unshare(libc::CLONE_NEWUSER)));
        attempt("io_uring", libc::syscall(libc::SYS_io_uring_setup, 1, 0_usize));
        attempt(
            "become root",
            if libc::setuid(0) == 0 && libc::getuid() == 0 && can_override() { 0 } else { -1 },
        );
    }
}

/// Whether this process may read what belongs to others.
fn can_override() -> bool {
    File::open("/etc/shadow").is_ok()
}

fn endless_file() -> bool {
    let written = File::create("large").and_then(|mut file| {
        file.seek(SeekFrom::Start(64 << 30))?;
        file.write_all(b"x")
    });
    fs::remove_file("large").ok();
    written.is_ok()
}

fn environment() {
    let mut names: Vec<String> =
        env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    names.sort();
    eprintln!("environment: {}", names.join(" "));
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    eprintln!("descriptors: {open}");
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines().filter(|line| {
        ["CapEff", "CapBnd", "NoNewPrivs", "Seccomp:", "Uid"]
            .iter()
            .any(|word| line.starts_with(word))
    }) {
        eprintln!("{}", line.replace('\t', " "));
    }
}
