//! Other load generators: where they are, and how they get here.
//!
//! `wrk`, `hey`, `h2load` and a library of `perf_analyzer`'s are Debian packages; `perf_analyzer` itself
//! comes inside a wheel of NVIDIA's; `oha` is built, which takes minutes the first time.
//! A peer that cannot be had is left out and named, and its goals stay open.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    checkout::Checkout,
    console::Console,
    process::{answers, capture, run},
};

const TRITON_CLIENT: &str = "tritonclient[grpc,http]==2.51.0";
const CUDA_RUNTIME: &str = "nvidia-cuda-runtime-cu12==12.*";
const OHA: &str = "oha@1.16.0";

#[derive(Debug)]
pub(crate) struct Peers {
    /// HTTP/1.1, C, one event loop.
    pub(crate) wrk: Option<PathBuf>,
    /// HTTP/1.1, Go.
    pub(crate) hey: Option<PathBuf>,
    /// HTTP/1.1 and HTTP/2, C.
    pub(crate) h2load: Option<PathBuf>,
    /// HTTP/1.1, Rust, tokio.
    pub(crate) oha: Option<PathBuf>,
    /// The Open Inference Protocol, C++.
    pub(crate) perf_analyzer: Option<PerfAnalyzer>,
}

/// NVIDIA's generator and the library that it does not find by itself.
#[derive(Debug)]
pub(crate) struct PerfAnalyzer {
    pub(crate) program: PathBuf,
    /// The folder with `libcudart.so.12`.
    pub(crate) libraries: PathBuf,
}

impl Peers {
    /// Finds peers, and installs those that are missing as far as this user may.
    pub(crate) fn ensure(checkout: &Checkout, console: Console) -> Self {
        Self {
            wrk: packaged(console, "wrk", "wrk"),
            hey: packaged(console, "hey", "hey"),
            h2load: packaged(console, "h2load", "nghttp2-client"),
            oha: on_path("oha").or_else(|| built_oha(checkout, console)),
            ..Self::perf_analyzer_alone(checkout, console)
        }
    }

    /// The others are left alone: they say nothing about a server.
    pub(crate) fn perf_analyzer_alone(checkout: &Checkout, console: Console) -> Self {
        let venv = checkout.target_dir().join("peers/venv");
        let perf_analyzer = perf_analyzer(&venv, console);
        Self { wrk: None, hey: None, h2load: None, oha: None, perf_analyzer }
    }

    /// One line that names every peer with its version, and those that are missing.
    pub(crate) fn versions(&self) -> String {
        let version = |program: &Path, argument: &str| {
            let output = Command::new(program).arg(argument).output().ok();
            let text = output.map(|output| [output.stdout, output.stderr].concat());
            let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
            let number = |word: &str| {
                let word = word.rsplit('/').next().unwrap_or(word);
                word.contains('.').then(|| word.to_owned())
            };
            let starts = |version: &String| version.starts_with(|c: char| c.is_ascii_digit());
            let found = text.split_whitespace().filter_map(number).find(starts);
            found.unwrap_or_else(|| "of unknown version".to_owned())
        };
        let hey = || {
            let asked = Command::new("dpkg-query").args(["-W", "-f=${Version}", "hey"]).output();
            asked.map_or_else(
                |_| "of unknown version".to_owned(),
                |output| String::from_utf8_lossy(&output.stdout).into_owned(),
            )
        };
        let shown = |name: &str, version: Option<String>| match version {
            Some(version) => format!("{name} {version}"),
            None => format!("{name} missing, left out"),
        };
        [
            shown("wrk", self.wrk.as_deref().map(|program| version(program, "-v"))),
            shown("oha", self.oha.as_deref().map(|program| version(program, "--version"))),
            shown("hey", self.hey.as_ref().map(|_| hey())),
            shown("h2load", self.h2load.as_deref().map(|program| version(program, "--version"))),
            shown(
                "perf_analyzer",
                self.perf_analyzer
                    .as_ref()
                    .map(|_| TRITON_CLIENT.rsplit('=').next().unwrap_or_default().to_owned()),
            ),
        ]
        .join(", ")
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// A program of a Debian package. Only root can install one; anybody else is told how.
fn packaged(console: Console, name: &str, package: &str) -> Option<PathBuf> {
    if on_path(name).is_none() {
        install_package(console, package);
    }
    on_path(name)
}

fn built_oha(checkout: &Checkout, console: Console) -> Option<PathBuf> {
    let folder = checkout.target_dir().join("peers");
    let program = folder.join("bin/oha");
    if !program.exists() {
        console.say("building oha, which takes some minutes");
        let mut install = checkout.cargo();
        install.args(["install", OHA, "--locked", "--root"]).arg(&folder);
        said(console, "oha", run(&mut install));
    }
    program.exists().then_some(program)
}

fn install_package(console: Console, package: &str) {
    if rustix::process::geteuid().is_root() {
        let mut install = Command::new("apt-get");
        install.args(["install", "-y", "-q", package]).env("DEBIAN_FRONTEND", "noninteractive");
        said(console, package, capture(&mut install).map(|_| ()));
    } else {
        console.say(&format!("{package} is missing: sudo apt-get install {package}"));
    }
}

fn said(console: Console, what: &str, result: Result<()>) {
    if let Err(error) = result {
        console.say(&format!("cannot install {what}, it is left out: {error:#}"));
    }
}

/// A Python environment with these packages, made anew.
pub(crate) fn python_with(venv: &Path, packages: &[&str]) -> Result<()> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args("-m pip install -q --disable-pip-version-check".split(' '));
    run(pip.args(packages))
}

fn perf_analyzer(venv: &Path, console: Console) -> Option<PerfAnalyzer> {
    let program = venv.join("bin/perf_analyzer");
    if !program.exists() {
        console.say("installing perf_analyzer");
        said(console, "perf_analyzer", python_with(venv, &[TRITON_CLIENT, CUDA_RUNTIME]));
    }
    let libraries = fs::read_dir(venv.join("lib")).ok()?.flatten().find_map(|python| {
        let folder = python.path().join("site-packages/nvidia/cuda_runtime/lib");
        folder.join("libcudart.so.12").exists().then_some(folder)
    })?;
    let starts = || {
        let mut asked = Command::new(&program);
        answers(asked.arg("--version").env("LD_LIBRARY_PATH", &libraries))
    };
    if !starts() {
        install_package(console, "libb64-0d");
    }
    if !starts() {
        console.say("perf_analyzer does not start, it is left out");
        return None;
    }
    Some(PerfAnalyzer { program, libraries })
}
