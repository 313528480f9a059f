//! `assay serve`: the coordinator, until a signal ends it.

use std::{path::Path, time::Duration};

use assay_server::{
    server::{Server, ServerFailed},
    settings::{Listen, ServerSettings, TlsFiles},
    start_error::StartError,
};

use crate::{
    cli::ServeArgs,
    config::Settings,
    failure::{ExitCode, Failure, OrFail},
    follow, output,
};

const ENDS_WITHIN: Duration = Duration::from_secs(10);
const DEFAULT_DATA_DIR: &str = "assay-data";

/// Serves until SIGINT, SIGTERM or SIGHUP (see [`follow::interrupted`]). A second signal ends it at once.
pub(crate) async fn run(args: &ServeArgs, settings: &Settings) -> Result<ExitCode, Failure> {
    let data_dir = args.data_dir.clone().unwrap_or_else(|| DEFAULT_DATA_DIR.into());
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert: cert.clone(), key: key.clone() }),
        (_, _) => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut server = Server::start(ServerSettings {
        tls,
        token_file: settings.token_file.clone(),
        price_file: args.prices.clone(),
        public_urls: args.public_urls.clone(),
        aws: args.aws.settings(),
        ..ServerSettings::new(Listen::At(args.listen), data_dir.clone())
    })
    .await
    .map_err(start_failure)?;
    output::write(&format!("listening {scheme}://{}", server.address()))?;
    tokio::select! {
        signal = follow::interrupted() => signal?,
        ended = server.wait() => return Err(ended_by_itself(ended, &data_dir)),
    }
    tokio::select! {
        ended = server.shut_down(ENDS_WITHIN) => ended.or_failed("the coordinator did not end in order")?,
        signal = follow::interrupted() => signal?,
    }
    Ok(ExitCode::Done)
}

/// A coordinator that ended although nobody asked it to.
pub(crate) fn ended_by_itself(ended: Result<(), ServerFailed>, data_dir: &Path) -> Failure {
    let Err(error) = ended else { return Failure::failed("the coordinator ended by itself") };
    let mut failure = Failure::failed(&error);
    if let Some(source) = std::error::Error::source(&error) {
        failure = failure.because(source);
    }
    match error {
        ServerFailed::Store(_) => failure.hint(format!(
            "look for room and permissions on the disk of {}, and start again: what was acknowledged is there, \
             and agents go on with their trials meanwhile",
            data_dir.display()
        )),
        ServerFailed::Panicked(_) | ServerFailed::Late(_) => failure,
    }
}

/// A coordinator that cannot start, in the words for people.
pub(crate) fn start_failure(error: StartError) -> Failure {
    let code = match &error {
        StartError::Unprotected(_)
        | StartError::Tls(_)
        | StartError::Tokens(_)
        | StartError::AwsUnprotected(_)
        | StartError::AwsKeys(_)
        | StartError::AwsAccount(_)
        | StartError::FileUrlDir { .. }
        | StartError::PricesUnreadable { .. }
        | StartError::PricesMalformed { .. } => ExitCode::Usage,
        StartError::Listen { .. }
        | StartError::Socket(_)
        | StartError::DataDir(_)
        | StartError::Store(_)
        | StartError::Artifacts { .. } => ExitCode::Failed,
    };
    let mut failure = Failure::new(code, &error);
    if let Some(source) = std::error::Error::source(&error) {
        failure = failure.because(source);
    }
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
