//! [`Connector`]: connections to exactly those addresses that the policy has let pass.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use http::{Uri, uri::Scheme};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, crypto::ring};
use thiserror::Error;
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tower_service::Service;

use super::{
    policy::{NetPolicy, Refusal},
    wire::Wire,
};

/// How long an address is tried while there is another one.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections of a provider that are kept for further requests, to whatever servers they go; all beyond these are used
/// once.
pub(super) const MAX_KEPT: usize = 64;
/// Names that a provider's requests look up at once.
pub(super) const MAX_LOOKUPS: usize = 8;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;
/// Asks for the addresses of a host and port, and blocks until there is an answer.
pub(super) type Lookup = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Connects to the host of a URI, with TLS if it is one of `https`.
#[derive(Clone)]
pub(super) struct Connector {
    dial: Dial,
    /// Places for connections that are kept after their first response.
    kept: Arc<Semaphore>,
}

/// Connects to the host of a URI. Looks it up once, and goes to what the policy lets pass of that: a second look could
/// find another address.
#[derive(Clone)]
struct Dial {
    policy: Arc<NetPolicy>,
    lookup: Lookup,
    /// For [`MAX_LOOKUPS`] at once: nothing ends a look-up that nobody answers, and each has a thread of those that files
    /// are read on, too.
    permits: Arc<Semaphore>,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    /// None of its addresses is granted.
    #[error(transparent)]
    Refused(Refusal),
    /// Its name is unknown.
    #[error("its name cannot be looked up")]
    Lookup(#[source] io::Error),
    /// Nobody listens there.
    #[error("no connection to {address}")]
    Connect { address: SocketAddr, source: io::Error },
    /// There is nobody whose certificates could be trusted.
    #[error("no trusted certificates: {0}")]
    Roots(String),
}

impl Connector {
    pub(super) fn new(policy: Arc<NetPolicy>, lookup: Lookup) -> Self {
        let permits = Arc::new(Semaphore::new(MAX_LOOKUPS));
        Self { dial: Dial { policy, lookup, permits }, kept: Arc::new(Semaphore::new(MAX_KEPT)) }
    }
}

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = BoxError;
    type Future = Connecting<Wire, BoxError>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { mut dial, kept } = self.clone();
        Box::pin(async move {
            if uri.scheme() != Some(&Scheme::HTTPS) {
                let stream = MaybeHttpsStream::Http(dial.call(uri).await?);
                return Ok(Wire::new(stream, kept));
            }
            let config = client_config().map_err(ConnectError::Roots)?;
            let stream = HttpsConnector::from((dial, config)).call(uri).await?;
            Ok(Wire::new(stream, kept))
        })
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Connecting<Self::Response, ConnectError>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            let scheme = uri.scheme_str().unwrap_or_default();
            let host = uri.host().unwrap_or_default();
            let default_port = if scheme == "https" { 443 } else { 80 };
            let port = uri.port_u16().unwrap_or(default_port);

            let found = dial.addresses(host, port).await?;
            let reachable =
                dial.policy.reachable(scheme, host, &found).map_err(ConnectError::Refused)?;
            connect(&reachable).await.map(TokioIo::new)
        })
    }
}

impl Dial {
    /// At least one address.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found = self.look_up(host.to_owned(), port).await;
        let found = found.map_err(ConnectError::Lookup)?;
        if found.is_empty() {
            let error = io::Error::new(io::ErrorKind::NotFound, "it has no address");
            return Err(ConnectError::Lookup(error));
        }
        Ok(found)
    }

    async fn look_up(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let lookup = self.lookup;
        let look_up = move || {
            let found = lookup(&host, port);
            // Here and not where somebody waits for it: it goes on after its request is given up.
            drop(permit);
            found
        };
        tokio::task::spawn_blocking(look_up).await?
    }
}

/// Asks the system, as every program does.
pub(super) fn system_lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// Tries one after the other; the last one has all the time that its request has.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
    let (last, others) = addresses.split_last().expect("the policy lets at least one address pass");
    for address in others {
        if let Ok(Ok(stream)) = timeout(ADDRESS_TIMEOUT, open(*address)).await {
            return Ok(stream);
        }
    }
    open(*last).await
}

async fn open(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    let opened = async {
        let stream = TcpStream::connect(address).await?;
        // Heads and bodies are written at once; nothing is gained by waiting for more.
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    opened.await.map_err(|source| ConnectError::Connect { address, source })
}

/// Reads the certificates that the system trusts, or those in the file that `SSL_CERT_FILE` names. Requests use these from
/// then on, so a process that cannot open files later calls it before; what failed is told by the first request that needs
/// them.
pub fn load_certificates() {
    let _ = client_config();
}

/// How servers prove who they are. Made once per process, because reading certificates takes longer than a request.
fn client_config() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_native_roots()
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(builder.with_no_client_auth()))
    });
    config.clone()
}
