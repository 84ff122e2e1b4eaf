//! [`Listener`]: the address or socket file of a server, and the loop that accepts connections.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::{fs, io, sync::Arc, time::Duration};

use runner_model::visible::{shown_path, visible};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::connections::Connections;
use crate::guard::Guard;
use crate::link_socket::is_own;
use crate::settings::{Listen, ServeError};

/// Wait after a connection that could not be accepted, because the process has too many files or too little memory.
const PAUSE: Duration = Duration::from_millis(100);
/// Free ports that are tried until one is free at both addresses of `localhost`.
const PORT_TRIES: usize = 100;
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

pub(crate) enum Listener {
    /// At least one.
    Addresses(Vec<TcpListener>),
    File(UnixListener),
}

impl Listener {
    pub fn bind(listen: &Listen) -> Result<Self, ServeError> {
        match listen {
            Listen::Address(address) => bind_addresses(*address).map(Self::Addresses),
            Listen::File(path) => {
                let bound = bind_file(path).and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    Ok(Self::File(listener))
                });
                bound.map_err(|error| {
                    ServeError(format!("cannot listen on {}: {error}", shown_path(path)))
                })
            }
        }
    }

    /// Returns the port. `None` for a socket file.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Addresses(listeners) => Some(listeners[0].local_addr().ok()?.port()),
            Self::File(_) => None,
        }
    }

    /// Answers connections. Must run in a runtime, and does not return.
    pub async fn serve(self, guard: Guard) -> io::Result<Infallible> {
        let (guard, connections) = (Arc::new(guard), Arc::new(Connections::default()));
        match self {
            Self::Addresses(listeners) => {
                let (mut tasks, count) = (JoinSet::new(), listeners.len());
                for (listener, place) in listeners.into_iter().zip(0..) {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    let (guard, connections) = (Arc::clone(&guard), Arc::clone(&connections));
                    tasks.spawn(async move {
                        for number in (place..).step_by(count) {
                            match listener.accept().await {
                                Ok((stream, _)) => take(stream, number, &guard, &connections),
                                Err(_) => sleep(PAUSE).await,
                            }
                        }
                    });
                }
                tasks.join_next().await;
            }
            Self::File(listener) => {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                for number in 0.. {
                    match listener.accept().await {
                        // The file had a wider mode for a moment.
                        Ok((stream, _)) if is_own(&stream) => {
                            take(stream, number, &guard, &connections);
                        }
                        Ok(_) => {}
                        Err(_) => sleep(PAUSE).await,
                    }
                }
            }
        }
        unreachable!("the numbers do not end")
    }
}

/// Starts to answer a connection, or refuses it.
fn take<S>(stream: S, number: u64, guard: &Arc<Guard>, connections: &Arc<Connections>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stream = Some(stream);
    let is_started = connections.start(number, |connection| {
        let stream = stream.take();
        let guard = Arc::clone(guard);
        async move {
            if let Some(stream) = stream {
                guard.serve(stream, connection).await;
            }
        }
    });
    if !is_started && let Some(mut stream) = stream {
        drop(tokio::spawn(async move {
            // A client that does not read it only sees the end of the connection.
            let _ = timeout(PAUSE, stream.write_all(TOO_MANY)).await;
        }));
    }
}

/// Binds an address, and with one address of `localhost` also the other one. Browsers try both for the name at which they log in,
/// so another user's program there would get links and cookies.
fn bind_addresses(address: SocketAddr) -> Result<Vec<TcpListener>, ServeError> {
    let other: Option<IpAddr> = match address.ip() {
        IpAddr::V4(Ipv4Addr::LOCALHOST | Ipv4Addr::UNSPECIFIED) => Some(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some(Ipv4Addr::LOCALHOST.into()),
        _ => None,
    };
    let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        let problem = |address| move |error| ServeError(address_problem(address, &error));
        let first = bind_address(address).map_err(problem(address))?;
        let Some(other) = other else { return Ok(vec![first]) };
        let port = first.local_addr().map_err(problem(address))?.port();
        let other = SocketAddr::new(other, port);
        tries -= 1;
        match bind_address(other) {
            Ok(second) => return Ok(vec![first, second]),
            // This machine has no such address, so no program can be there.
            Err(error) if is_missing(&error) => return Ok(vec![first]),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(problem(other)(error)),
        }
    }
}

fn bind_address(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Returns whether this machine does not have an address, or not its whole family.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

fn address_problem(address: SocketAddr, error: &io::Error) -> String {
    let (ip, port) = (address.ip(), address.port());
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot listen on `{address}`: a program listens there already\n\
             `runner serve --link` prints a link if it is a server of this results root\n\
             otherwise use a free port: `--listen {}`",
            SocketAddr::new(ip, 0)
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "cannot listen on `{address}`: this machine does not have the address\n\
             use one that it has, such as `127.0.0.1:{port}`"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "cannot listen on `{address}`: only root may use this port\nuse a port above 1023"
        ),
        _ => format!("cannot listen on `{address}`: {}", visible(&error.to_string())),
    }
}

/// Creates a socket file, also in place of one of a server that has died.
fn bind_file(path: &Path) -> io::Result<UnixListener> {
    if let Ok(found) = fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(io::Error::other(
                "a file that is not a socket is there; choose another path",
            ));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::other("a program listens there already; choose another path"));
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
