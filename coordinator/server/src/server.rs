//! Starts the coordinator, and stops it.
//!
//! Everything that can be wrong is found before anything is written: address and protection first, then
//! the files given, then the data directory, last the store inside it.

use std::{
    fs,
    net::{SocketAddr, TcpListener as StdListener},
    path::Path,
    sync::Arc,
    time::Duration,
};

use assay_measure::ids::LeaseToken;
use assay_planning::price_file::{PriceFileFormat, PriceTable};
use axum::middleware;
use thiserror::Error;
use tokio::{
    net::TcpListener,
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub use crate::start_error::StartError;
use crate::{
    artifacts::Artifacts,
    clock::Clock,
    connections,
    data_dir::DataDir,
    dispatch::{Dispatch, State, Terms},
    grpc::{self, Shared},
    random,
    sagemaker::{
        Api, background::Background, fetch::Sources, front, jobs, offer::Offer, signature::Gate,
    },
    settings::{Listen, ServerSettings},
    store::{Store, StoreError},
    tls,
    tokens::Tokens,
    web::{self, Hosts, Web},
};

/// A coordinator to be started.
#[derive(Debug)]
pub struct Server;

/// A coordinator that runs. Dropped, it ends at once, as after a crash: nothing acknowledged is lost.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    secure: bool,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), ServerFailed>>,
}

/// A coordinator ended by itself.
#[derive(Debug, Error)]
pub enum ServerFailed {
    #[error("the store failed, so the coordinator cannot go on")]
    Store(#[from] StoreError),
    #[error("the coordinator ended abnormally")]
    Panicked(#[from] JoinError),
    /// Connections were still open at the deadline; they were cut.
    #[error("connections were still open after {0:?} and were cut")]
    Late(Duration),
}

impl Server {
    /// Starts a coordinator.
    ///
    /// # Errors
    /// [`StartError`] says what is in the way; nothing was left half-done.
    pub async fn start(settings: ServerSettings) -> Result<RunningServer, StartError> {
        let parts = Parts::gather(settings).await?;
        let stop = CancellationToken::new();
        let (address, secure) = (parts.address, parts.tls.is_some());
        let mut tasks = JoinSet::new();
        tasks.spawn(parts.run(stop.clone()));
        Ok(RunningServer { address, secure, stop, tasks })
    }
}

impl RunningServer {
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL that agents and clients use on this machine.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Waits until it ends by itself, which it does only when something is broken.
    ///
    /// # Errors
    /// [`ServerFailed`] says what broke.
    pub async fn wait(&mut self) -> Result<(), ServerFailed> {
        match self.tasks.join_next().await {
            Some(ended) => ended?,
            None => Ok(()),
        }
    }

    /// Ends it at once, and waits until nothing of it is left.
    #[cfg(test)]
    pub(crate) async fn crash(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Takes no more work, ends streams, lets requests under way finish, and closes the store. Agents go
    /// on with what they run, and report it to the next coordinator on this data directory.
    ///
    /// # Errors
    /// [`ServerFailed::Late`] when connections had to be cut at the deadline.
    pub async fn shut_down(mut self, deadline: Duration) -> Result<(), ServerFailed> {
        self.stop.cancel();
        match timeout(deadline, self.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.tasks.shutdown().await;
                Err(ServerFailed::Late(deadline))
            }
        }
    }
}

/// What a coordinator is made of, each part ready.
struct Parts {
    address: SocketAddr,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    hosts: Hosts,
    tokens: Option<Tokens>,
    offer: Offer,
    gate: Gate,
    artifacts: Artifacts,
    clock: Clock,
    store: Arc<Store>,
    state: State,
    /// Held until everything else is gone.
    data_dir: DataDir,
}

impl Parts {
    async fn gather(settings: ServerSettings) -> Result<Self, StartError> {
        let tls = settings.tls.as_ref().map(tls::acceptor).transpose()?;
        let (tls, certified) = tls.unzip();
        let tokens = settings.token_file.as_deref().map(Tokens::read).transpose()?;
        let file_prices = settings.price_file.as_deref().map(read_prices).transpose()?;
        let mut offer = Offer::check(settings.aws)?;
        let protected = tls.is_some() && tokens.is_some();
        let (listener, address) = bind(settings.listen, |address| {
            refuse_unprotected(address, protected)?;
            offer.refuse_unprotected(address)
        })?;
        let hosts = Hosts::new(address, certified, settings.public_urls);
        let gate = offer.gate(address.ip().is_loopback() && tokens.is_none());
        let data_dir = DataDir::hold(&settings.data_dir)?;
        let store = Arc::new(Store::open(&data_dir.database()).await?);
        let clock = Clock::start();
        let terms = Terms {
            heartbeat_interval: settings.heartbeat_interval,
            lease_term: settings.lease_term,
        };
        let state = State::recovered(
            store.recover().await?,
            file_prices.unwrap_or_default(),
            terms,
            Box::new(new_token),
            clock.now(),
        );
        let path = data_dir.artifacts();
        let artifacts = Artifacts::open(&path, settings.artifact_limit)
            .map_err(|source| StartError::Artifacts { path, source })?;
        Ok(Self {
            address,
            listener,
            tls,
            hosts,
            tokens,
            offer,
            gate,
            artifacts,
            clock,
            store,
            state,
            data_dir,
        })
    }

    async fn run(self, stop: CancellationToken) -> Result<(), ServerFailed> {
        let (dispatch, link) = Dispatch::new(self.state, Arc::clone(&self.store), self.clock);
        let (background, worker) = Background::new();
        let api = Arc::new(Api {
            dispatch: link.clone(),
            store: Arc::clone(&self.store),
            artifacts: self.artifacts.clone(),
            clock: self.clock,
            sources: Sources::below(self.offer.settings.file_url_dirs.clone()),
            settings: self.offer.settings,
            account: self.offer.account,
            background,
        });
        api.background.run(jobs::resume(Arc::clone(&api)));
        let shared = Shared {
            dispatch: link,
            store: Arc::clone(&self.store),
            artifacts: self.artifacts,
            clock: self.clock,
            aws: Arc::clone(&api),
            stopping: stop.clone(),
        };
        let reached_at = (self.address, self.tls.is_some());
        let hosts = Arc::new(self.hosts);
        let web = Web::new(shared.clone(), self.tokens.clone(), reached_at, Arc::clone(&hosts));
        let is_open = self.tokens.is_none();
        let (router, health) = grpc::router(shared, self.tokens).await;
        // Beyond the tokens' reach: its clients sign instead of presenting one, and people sign in.
        let router = router.merge(front::routes(api, self.gate));
        // The pages see to it themselves.
        let router = if is_open {
            router.layer(middleware::from_fn_with_state(hosts, web::own_names_only))
        } else {
            router
        };
        let router = router.merge(web::routes(web));
        let connections = connections::serve(self.listener, self.tls, router, stop.clone());
        // A write that failed anywhere ends the loop as one of its own does.
        let dispatch = async {
            let ended = tokio::select! {
                biased;
                error = self.store.lost() => Err(error),
                ended = dispatch.run(stop.clone()) => match ended {
                    Err(StoreError::Lost) => Err(self.store.lost().await),
                    other => other,
                },
            };
            stop.cancel();
            ended
        };
        let unready = async {
            stop.cancelled().await;
            health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        };
        let work = worker.run(stop.clone());
        let beside = async {
            tokio::join!(connections, unready, work);
            Ok(())
        };
        // What broke is told at once: connections are cut, for nothing on them can be answered any more, and
        // nobody waits for a store that may hang.
        let ((), ()) = tokio::try_join!(dispatch, beside)?;
        self.store.close().await;
        drop(self.data_dir);
        Ok(())
    }
}

fn bind(
    listen: Listen,
    refuse: impl Fn(SocketAddr) -> Result<(), StartError>,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let listener = match listen {
        Listen::At(address) => {
            // Refused before the port is taken, if only for a moment.
            refuse(address)?;
            StdListener::bind(address).map_err(|source| StartError::Listen { address, source })?
        }
        Listen::Bound(listener) => listener,
    };
    let address = listener.local_addr().map_err(StartError::Socket)?;
    refuse(address)?;
    listener.set_nonblocking(true).map_err(StartError::Socket)?;
    Ok((TcpListener::from_std(listener).map_err(StartError::Socket)?, address))
}

fn refuse_unprotected(address: SocketAddr, protected: bool) -> Result<(), StartError> {
    if address.ip().is_loopback() || protected {
        Ok(())
    } else {
        Err(StartError::Unprotected(address))
    }
}

fn read_prices(path: &Path) -> Result<PriceTable, StartError> {
    let text = fs::read_to_string(path)
        .map_err(|source| StartError::PricesUnreadable { path: path.to_owned(), source })?;
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    PriceTable::parse(&text, PriceFileFormat::of_file_name(&name))
        .map_err(|source| StartError::PricesMalformed { path: path.to_owned(), source })
}

fn new_token() -> LeaseToken {
    LeaseToken::new(random::token()).expect("32 hexadecimal digits are a lease token")
}
