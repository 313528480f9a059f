//! placeholder
use crate::{checkout::Checkout, console::Console};
use anyhow::Result;
use clap::Args;
#[derive(Debug, Args)]
pub(crate) struct Arguments {}
pub(crate) fn run(_: &Checkout, _: Console, _: &Arguments) -> Result<std::process::ExitCode> {
    Ok(std::process::ExitCode::SUCCESS)
}
