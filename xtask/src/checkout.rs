//! Where things are in this checkout, and how cargo is called in it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::process;

/// What would make a program of ours find other files, servers or formats than it would by itself.
const LEADS_ELSEWHERE: [&str; 6] =
    ["LD_LIBRARY_PATH", "LIBTORCH", "ASSAY_SERVER", "ASSAY_OUTPUT", "ASSAY_AGENT", "ASSAY_HOST"];

/// The root of the repository.
#[derive(Debug, Clone)]
pub(crate) struct Checkout {
    root: PathBuf,
    lints: bool,
}

impl Checkout {
    /// The checkout this program was built from.
    pub(crate) fn find() -> Result<Self> {
        // Cargo sets the variable when it runs us; a moved checkout is then still found.
        let manifest_dir = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root =
            manifest_dir.parent().context("xtask does not lie inside a checkout")?.to_owned();
        Ok(Self { root, lints: false })
    }

    /// The same checkout, compiling its own packages with Clippy, for which every lint is an error: what is linted is
    /// what is tested, compiled once. `cargo clippy` would check all dependencies beside building them.
    pub(crate) fn linted(&self) -> Self {
        Self { lints: true, ..self.clone() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where `cargo xtask libtorch` keeps libtorch and its wheels.
    pub(crate) fn libtorch_dir(&self) -> PathBuf {
        self.root.join(".libtorch")
    }

    pub(crate) fn target_dir(&self) -> PathBuf {
        env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.root.join("target"), |dir| self.root.join(dir))
    }

    /// The built binary of that name, in release mode.
    pub(crate) fn release_binary(&self, name: &str) -> PathBuf {
        self.target_dir().join("release").join(name)
    }

    pub(crate) fn program(&self, name: &str) -> Command {
        Self::command(self.release_binary(name))
    }

    /// The binary that the tests use as well, as a command.
    pub(crate) fn dev_program(&self, name: &str) -> Command {
        Self::command(self.target_dir().join("debug").join(name))
    }

    /// In an environment that says nothing about where things are: a program must find libtorch and its
    /// companions by itself.
    fn command(program: PathBuf) -> Command {
        let mut command = Command::new(program);
        for variable in LEADS_ELSEWHERE {
            command.env_remove(variable);
        }
        command
    }

    /// The same cargo that runs us, in the root folder.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        // `.cargo/config.toml` sets LIBTORCH for us as for every build. Handing it on as a real
        // variable would look like a change to torch-sys and cost minutes of compiling.
        if self.given_libtorch().is_none() {
            command.env_remove("LIBTORCH");
        }
        forget_this_package(&mut command);
        if self.lints {
            // As `cargo clippy -- -D warnings` sets them.
            command.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
            command.env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__");
        }
        command
    }

    /// Runs cargo with these words and wants success.
    pub(crate) fn run_cargo(&self, words: &str) -> Result<()> {
        process::run(self.cargo().args(words.split(' ')))
    }

    /// A libtorch that the user named, as opposed to the default one in the checkout.
    pub(crate) fn given_libtorch(&self) -> Option<PathBuf> {
        let given = PathBuf::from(env::var_os("LIBTORCH").filter(|value| !value.is_empty())?);
        (given != self.libtorch_dir().join("torch")).then_some(given)
    }
}

/// What `cargo run` told about this package would make build scripts of others run again.
pub(crate) fn forget_this_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if is_about_this_package(&name) {
            command.env_remove(name);
        }
    }
}

fn is_about_this_package(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || name == "CARGO_BIN_NAME"
        || name == "CARGO_CRATE_NAME"
}
