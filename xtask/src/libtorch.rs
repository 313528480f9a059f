//! `cargo xtask libtorch`: makes sure that libtorch 2.11.0 is there, as the official wheels have it.
//!
//! A libtorch named by `LIBTORCH` is checked and used as it is. Otherwise the wheels are fetched with
//! pip, verified against the sums pinned in [`wheels`], kept, and unpacked next to each other so that
//! the RPATH inside them resolves; `libtorch.so` is made to load without CUDA ([`umbrella`]). A stamp written last tells a whole set-up from a broken one.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{checkout::Checkout, console::Console, failure::Hinted, files};

mod fetch;
mod stamp;
mod umbrella;
mod unpack;
mod wheels;

/// The only version that the tch crate in use works with.
const VERSION: &str = "2.11.0";

/// Options of `cargo xtask libtorch`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Set up here instead of in the checkout.
    #[arg(long, hide = true)]
    dir: Option<PathBuf>,
}

/// The task by itself.
pub(crate) fn run(
    checkout: &Checkout,
    console: Console,
    arguments: &Arguments,
) -> Result<ExitCode> {
    let torch = match &arguments.dir {
        Some(dir) => ensure_in(dir, console)?,
        None => ensure(checkout, console)?,
    };
    console.say(&format!("libtorch {VERSION} is ready in {}", torch.display()));
    Ok(ExitCode::SUCCESS)
}

/// Whether [`ensure`] has nothing to fetch.
pub(crate) fn is_there(checkout: &Checkout) -> Result<bool> {
    let wheels = wheels::for_architecture(std::env::consts::ARCH)?;
    Ok(checkout.given_libtorch().is_some() || stamp::is_whole(&checkout.libtorch_dir(), wheels))
}

/// The folder with libtorch's `lib` and `include`; fetched when there is none yet.
pub(crate) fn ensure(checkout: &Checkout, console: Console) -> Result<PathBuf> {
    match checkout.given_libtorch() {
        Some(given) => {
            check_given(&given)?;
            Ok(given)
        }
        None => ensure_in(&checkout.libtorch_dir(), console),
    }
}

fn check_given(dir: &Path) -> Result<()> {
    let header = dir.join("include/torch/headeronly/version.h");
    let found = files::read(&header)
        .and_then(|text| {
            version_of_header(&text)
                .with_context(|| format!("{} names no version", header.display()))
        })
        .context(Hinted::new(
            format!("LIBTORCH={} is no libtorch {VERSION}", dir.display()),
            "unset LIBTORCH to have the right one fetched",
        ))?;
    if found != VERSION {
        bail!(Hinted::new(
            format!("LIBTORCH={} is libtorch {found}, but {VERSION} is needed", dir.display()),
            "unset LIBTORCH to have the right one fetched",
        ));
    }
    let library = dir.join("lib/libtorch_cpu.so");
    if !library.exists() {
        bail!(Hinted::new(
            format!("{} is missing", library.display()),
            "unset LIBTORCH to have libtorch fetched"
        ));
    }
    Ok(())
}

/// Puts `#define TORCH_VERSION_MAJOR 2` and its two companions together.
fn version_of_header(text: &str) -> Option<String> {
    let part = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("#define TORCH_VERSION_")?.strip_prefix(name))?;
        line.trim().parse::<u32>().ok()
    };
    Some(format!("{}.{}.{}", part("MAJOR ")?, part("MINOR ")?, part("PATCH ")?))
}

fn ensure_in(dir: &Path, console: Console) -> Result<PathBuf> {
    let wheels = wheels::for_architecture(std::env::consts::ARCH)?;
    if stamp::is_whole(dir, wheels) {
        return Ok(dir.join("torch"));
    }
    files::create_dir(dir)?;
    let _lock = lock(dir, console)?;
    // Somebody else may have finished while we waited for the lock.
    if !stamp::is_whole(dir, wheels) {
        // What an interrupted run left: only under the lock, so nobody is using it.
        for leftover in [fetch::UNFINISHED, unpack::UNFINISHED] {
            files::remove_dir(&dir.join(leftover))?;
        }
        let kept = fetch::Fetch::new(dir, console).all(wheels)?;
        unpack::replace(dir, wheels, &kept, console)?;
    }
    Ok(dir.join("torch"))
}

/// One set-up at a time; released when the file is closed, even by a kill.
fn lock(dir: &Path, console: Console) -> Result<File> {
    let path = dir.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        console.say("another `cargo xtask` is setting up libtorch, waiting for it");
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_version_is_read_from_the_header() {
        let header = "/// MAJOR\n#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 11\n#define TORCH_VERSION_PATCH 0\n";
        assert_eq!(version_of_header(header).as_deref(), Some(VERSION));
        assert_eq!(version_of_header("#define TORCH_VERSION_MAJOR 2\n"), None);
    }

    #[test]
    fn a_given_libtorch_of_another_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let headers = dir.path().join("include/torch/headeronly");
        fs::create_dir_all(&headers).unwrap();
        fs::write(
            headers.join("version.h"),
            "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 3\n#define TORCH_VERSION_PATCH 1\n",
        )
        .unwrap();
        let message = check_given(dir.path()).unwrap_err().to_string();
        assert!(message.contains("is libtorch 2.3.1, but 2.11.0 is needed"), "{message}");
    }

    #[test]
    fn a_given_folder_without_libtorch_is_refused_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let text = crate::failure::describe(&check_given(dir.path()).unwrap_err());
        assert!(
            text.contains("is no libtorch 2.11.0") && text.contains("hint: unset LIBTORCH"),
            "{text}"
        );
    }
}
