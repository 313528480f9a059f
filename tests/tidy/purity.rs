//! The pure packages: no clock, no file, no socket, no environment, no thread, no process, and no
//! randomness that was not passed in. Their tests are held to the same.

use crate::{
    assert_none,
    repository::{self, TextFile},
    rust_source::{code_only, paths},
};

const PURE_FOLDERS: &[&str] = &[
    "measure/src/",
    "coordinator/pages/src/",
    "coordinator/planning/src/",
    "coordinator/sagemaker/src/",
];

/// Paths that begin like this.
const FORBIDDEN_ROOTS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io::stdin",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "async_std",
    "mio",
    "libc",
    "rustix",
];

/// Names that mean a clock or a source of chance wherever they stand in a path.
const FORBIDDEN_NAMES: &[&str] = &[
    "Instant",
    "SystemTime",
    "OsRng",
    "SysRng",
    "ThreadRng",
    "thread_rng",
    "from_os_rng",
    "try_from_os_rng",
    "from_entropy",
    "getrandom",
];

/// Paths that end like this: `Timestamp::now()`, `rand::rng()`.
const FORBIDDEN_ENDS: &[&str] = &["::now", "rand::rng", "rand::random", "TimeZone::system"];

fn complaints(files: &[TextFile]) -> Vec<String> {
    let pure = |file: &&TextFile| {
        file.is_rust() && PURE_FOLDERS.iter().any(|folder| file.path.starts_with(folder))
    };
    let mut complaints = Vec::new();
    for file in files.iter().filter(pure) {
        for (line, path) in paths(&code_only(&file.text)) {
            if is_forbidden(&path) {
                complaints.push(format!(
                    "{}:{line}: {path} is not pure; take it as an argument",
                    file.path
                ));
            }
        }
    }
    complaints
}

fn is_forbidden(path: &str) -> bool {
    let under = |root: &str| {
        path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let is_path = path.contains("::");
    (is_path && FORBIDDEN_ROOTS.iter().any(|root| under(root)))
        || path.split("::").any(|name| FORBIDDEN_NAMES.contains(&name))
        || FORBIDDEN_ENDS.iter().any(|end| path.ends_with(end))
}

#[test]
fn the_pure_packages_do_no_io_and_read_no_clock() {
    assert_none(&complaints(&repository::text_files()));
}

fn of(text: &str) -> Vec<String> {
    complaints(&[TextFile::new("measure/src/search.rs", text)])
}

#[test]
fn a_clock_in_the_core_is_noticed_with_its_line() {
    let found = of("//! Doc.\nfn f() { let t = std::time::Instant::now(); }\n");
    assert_eq!(
        found,
        ["measure/src/search.rs:2: std::time::Instant::now is not pure; take it as an argument"]
    );
    assert_eq!(of("let t = jiff::Timestamp::now();").len(), 1);
}

#[test]
fn files_sockets_threads_and_chance_are_noticed() {
    for text in [
        "use std::{collections::BTreeMap, fs};",
        "use std::net::TcpStream;",
        "std::thread::sleep(d);",
        "let v = std::env::var(NAME);",
        "let mut rng = rand::rng();",
        "let rng = ChaCha8Rng::from_os_rng();",
        "tokio::time::sleep(d).await;",
    ] {
        assert_eq!(of(text).len(), 1, "{text}");
    }
}

#[test]
fn durations_comments_and_other_packages_are_left_alone() {
    assert_none(&of(
        "//! Never calls Instant::now.\nuse std::time::Duration; // std::fs\nlet s = \"std::fs::read\";",
    ));
    assert_none(&complaints(&[TextFile::new("agent/src/clock.rs", "std::time::Instant::now()")]));
}
