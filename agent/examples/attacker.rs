//! A model host that is nothing but hostile: native code that tries to get at what is not its own, for
//! tests of the confinement.
//!
//! Started as `attacker serve FILE …`; the file has lines `secret PATH` (to read), `outside FOLDER` (to write to)
//! and `port PORT` (on 127.0.0.1, to connect to); on the socket that it inherits it waits for one connection
//! and turns that against the port. For everything tried it prints a line, `NAME: refused`
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
        if let (Some(listener), Ok(port)) = (inherited_listener(), port.parse()) {
            turn_around(listener, port);
        }
    }
    tell("datagram", std::net::UdpSocket::bind("127.0.0.1:0").is_ok());
    processes(parent);
    others(parent);
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

/// The number in `--listen fd:N`.
fn inherited_listener() -> Option<i32> {
    let arguments: Vec<String> = env::args().collect();
    let place = arguments.iter().position(|argument| argument == "--listen")?;
    arguments.get(place + 1)?.strip_prefix("fd:")?.parse().ok()
}

/// Makes a client of a socket that was accepted.
fn turn_around(listener: i32, port: u16) {
    let mut waiting = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure of this kind.
    let called = unsafe { libc::poll(&raw mut waiting, 1, 10_000) } > 0;
    eprintln!("the agent called: {called}");
    if !called {
        return;
    }
    // SAFETY: without an address to be told.
    let socket = unsafe { libc::accept(listener, std::ptr::null_mut(), std::ptr::null_mut()) };
    let nobody =
        libc::sockaddr { sa_family: u16::try_from(libc::AF_UNSPEC).unwrap_or(0), sa_data: [0; 14] };
    let address = libc::sockaddr_in {
        sin_family: u16::try_from(libc::AF_INET).unwrap_or(0),
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(std::net::Ipv4Addr::LOCALHOST).to_be() },
        sin_zero: [0; 8],
    };
    let attempt = |what: &str, answer: i64| tell(what, answer >= 0);
    let length = u32::try_from(size_of_val(&address)).unwrap_or(0);
    // SAFETY: each pointer is to a structure of the length that goes with it.
    unsafe {
        let free = libc::connect(socket, &raw const nobody, 16);
        attempt("free an accepted socket", i64::from(free));
        let (data, to) = (c"GET / HTTP/1.0\r\n\r\n", (&raw const address).cast());
        let fast = libc::sendto(socket, data.as_ptr().cast(), 18, libc::MSG_FASTOPEN, to, length);
        attempt("send without a connection", i64::try_from(fast).unwrap_or(0));
        let on = 1_i32;
        let set = libc::setsockopt(
            socket,
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN_CONNECT,
            (&raw const on).cast(),
            4,
        );
        attempt("put off a connection", i64::from(set));
        attempt("connect an accepted socket", i64::from(libc::connect(socket, to, length)));
        attempt("bind an accepted socket", i64::from(libc::bind(socket, to, length)));
        attempt("listen anew", i64::from(libc::listen(listener, 5)));
        let mut pair = [0_i32; 2];
        let made = libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM, 0, pair.as_mut_ptr());
        attempt("pair of datagram sockets", i64::from(made));
        let made = libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr());
        eprintln!("a runtime can wake itself up: {}", made == 0);
        for descriptor in [socket, pair[0], pair[1]] {
            libc::close(descriptor);
        }
    }
}

/// What the kernel lets a process ask for others of its user.
fn others(parent: i32) {
    let attempt = |what: &str, answer: i64| tell(what, answer >= 0);
    let limit = libc::rlimit { rlim_cur: 3600, rlim_max: 3600 };
    let mut one = rustix::thread::CpuSet::new();
    one.set(0);
    let agent = rustix::process::Pid::from_raw(parent);
    let id = parent.cast_unsigned();
    // SAFETY: pointers to structures of the kernel's layout, or plain integers.
    unsafe {
        let limited =
            libc::prlimit(parent, libc::RLIMIT_CPU, &raw const limit, std::ptr::null_mut());
        attempt("limit the agent", i64::from(limited));
        attempt("slow the agent down", i64::from(libc::setpriority(libc::PRIO_PROCESS, id, 19)));
        attempt("slow its user down", i64::from(libc::setpriority(libc::PRIO_USER, 0, 19)));
        let parameters = libc::sched_param { sched_priority: 0 };
        let batch = libc::sched_setscheduler(parent, libc::SCHED_IDLE, &raw const parameters);
        attempt("make the agent wait", i64::from(batch));
        attempt(
            "make the agent's files wait",
            libc::syscall(libc::SYS_ioprio_set, 1, parent, 3 << 13),
        );
        attempt(
            "signal a thread of the agent",
            libc::syscall(libc::SYS_tkill, parent, libc::SIGWINCH),
        );
    }
    tell("move the agent", rustix::thread::sched_setaffinity(agent, &one).is_ok());
    let own = std::process::id().to_string();
    let sees = |at: fs::DirEntry| {
        let is_other = at
            .file_name()
            .to_str()
            .is_some_and(|name| name != own && name.bytes().all(|byte| byte.is_ascii_digit()));
        is_other && read(&at.path().join("cmdline"))
    };
    let others = fs::read_dir("/proc").is_ok_and(|all| all.flatten().any(sees));
    tell("see other processes", others);
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
