//! `assay-host`: serves one TorchScript model with libtorch. See [`assay_host::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    let code = assay_host::cli::run(std::env::args_os().collect());
    assay_host::process::leave(code)
}
