//! Where the other programs are: named by a flag or the environment, otherwise beside this one.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, OrFail};

/// Finds `assay-agent` or `assay-host`.
pub(crate) fn find(
    name: &str,
    given: Option<&Path>,
    flag: &str,
    variable: &str,
) -> Result<PathBuf, Failure> {
    if let Some(path) = given {
        return if path.is_file() {
            std::path::absolute(path).or_usage(format_args!("cannot use {}", path.display()))
        } else {
            Err(Failure::usage(format!("{} is not a program", path.display()))
                .hint(format!("{flag} or {variable} names the {name} program")))
        };
    }
    let own = std::env::current_exe().or_failed("cannot tell where this program is")?;
    let beside = own.with_file_name(name);
    if beside.is_file() {
        return Ok(beside);
    }
    Err(Failure::failed(format!("{name} is not beside {}", own.display())).hint(format!(
        "build it with `cargo build --release`, or name it with {flag} or {variable}"
    )))
}
