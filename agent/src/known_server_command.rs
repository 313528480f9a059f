//! `assay-agent known-server`: the server of known capacity alone, for benchmarks and tests.

use std::time::Duration;

use assay_agent::known_server::{Change, KnownServer, Service};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    calibrate_command::known_queue,
    cli::KnownServerArguments,
    failure::{ExitCode, Failure},
    load_command::{print, signals},
};

/// Serves until a signal or the end of its time.
pub(crate) fn run(arguments: &KnownServerArguments) -> Result<ExitCode, Failure> {
    let queue = known_queue(arguments.workers, arguments.service_time)?;
    let change = arguments
        .then
        .zip(arguments.after)
        .map(|(service_time, after)| Change { after, service_time });
    let server = KnownServer::start(Service { queue, change })
        .map_err(|error| Failure::new(ExitCode::Failed, "cannot start the server").cause(error))?;
    print(&format!("listening http://{}", server.address()))?;
    wait(arguments.duration).map_err(signals)?;
    Ok(ExitCode::Done)
}

fn wait(at_most: Duration) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupts, mut terminations) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            _ = interrupts.recv() => {}
            _ = terminations.recv() => {}
            () = tokio::time::sleep(at_most) => {}
        }
        Ok(())
    })
}
