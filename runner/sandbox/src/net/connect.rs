//! [`Connector`]: connects to addresses that the policy allows, and to no others.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::{env, fs, io, path::Path, pin::Pin, time::Duration};

use http::{Uri, uri::Scheme};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use runner_model::visible::shown_path;
use rustls::{ClientConfig, crypto::ring};
use thiserror::Error;
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tower_service::Service;

use super::policy::{NetPolicy, Refusal};
use super::wire::Wire;

/// Longest time for an address if there is another one.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections of a provider that are kept for further requests, to all servers together. Each
/// further one serves one request.
pub(super) const MAX_KEPT: usize = 64;
/// Names of a provider that are looked up at once.
pub(super) const MAX_LOOKUPS: usize = 8;

/// Start of a certificate in PEM form.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";
const NO_ROOTS: &str = "install those of the system, such as the package `ca-certificates`, or \
                        name a file with valid ones in `SSL_CERT_FILE`";

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connecting<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;
/// Returns the addresses of a host and port. Blocks.
pub(super) type Lookup = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Connects to the host of a URI, with TLS for `https`.
#[derive(Clone)]
pub(super) struct Connector {
    dial: Dial,
    /// Permits for connections that are kept after their first response.
    kept: Arc<Semaphore>,
}

/// Opens TCP connections. Looks up a name once, and connects to the allowed addresses that it
/// found: a second look-up could return another address.
#[derive(Clone)]
struct Dial {
    policy: Arc<NetPolicy>,
    lookup: Lookup,
    /// Bounds look-ups to [`MAX_LOOKUPS`]. Nothing can end a look-up that no server answers, and
    /// each blocks one of the threads that also read files.
    permits: Arc<Semaphore>,
}

/// The reason for a missing connection.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    /// No address of the host is granted.
    #[error(transparent)]
    Refused(Refusal),
    #[error("cannot look up its name")]
    Lookup(#[source] io::Error),
    #[error("no connection to {address}")]
    Connect { address: SocketAddr, source: io::Error },
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
                return Ok(Wire::new(MaybeHttpsStream::Http(dial.call(uri).await?), kept));
            }
            let config = client_config().map_err(ConnectError::Roots)?;
            Ok(Wire::new(HttpsConnector::from((dial, config)).call(uri).await?, kept))
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
    /// Returns at least one address.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found = self.look_up(host.to_owned(), port).await.map_err(ConnectError::Lookup)?;
        if found.is_empty() {
            let error = io::Error::new(io::ErrorKind::NotFound, "it has no address");
            return Err(ConnectError::Lookup(error));
        }
        Ok(found)
    }

    async fn look_up(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)?;
        let lookup = self.lookup;
        tokio::task::spawn_blocking(move || {
            let found = lookup(&host, port);
            // Freed here and not by the waiting request, because the look-up continues after the
            // request has ended.
            drop(permit);
            found
        })
        .await?
    }
}

/// Looks up a name with the system's resolver.
pub(super) fn system_lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// Tries one address after the other. The last one may take as long as the request.
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
        // Heads and bodies are written in one piece, so waiting for more would only add delay.
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    opened.await.map_err(|source| ConnectError::Connect { address, source })
}

/// Loads the certificates that the system trusts, or those in the file that `SSL_CERT_FILE` names.
/// All later requests use them, so a process calls this before it loses access to files. A failure
/// is reported by the first request that needs certificates.
pub fn load_certificates() {
    let _ = client_config();
}

/// Returns the TLS configuration. Created once per process, because reading certificates takes
/// longer than a request.
fn client_config() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        check_certificate_file()?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_native_roots()
            .map_err(|_| NO_ROOTS.to_owned())?;
        Ok(Arc::new(builder.with_no_client_auth()))
    });
    config.clone()
}

/// Checks the file that `SSL_CERT_FILE` names. Its errors are otherwise lost, or shown as internals
/// of a library.
fn check_certificate_file() -> Result<(), String> {
    let Some(path) = env::var_os("SSL_CERT_FILE") else {
        return Ok(());
    };
    let reason = match fs::read(&path) {
        Ok(content) if content.windows(PEM.len()).any(|part| part == PEM) => return Ok(()),
        Ok(_) => "has no certificate in PEM form".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "does not exist".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    Err(format!("`SSL_CERT_FILE` names `{}`, which {reason}", shown_path(Path::new(&path))))
}
