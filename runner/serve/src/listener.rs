//! [`Listener`]: the address or socket file of a server, and the loop that accepts connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::{convert::Infallible, fs, io, path::Path, sync::Arc, time::Duration};

use runner_model::visible::{shown_path, visible};
use rustix::io::Errno;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::{guard::Guard, link_socket::is_own, server::Listen};

/// Time in which a client must read the answer that there are too many connections.
const REFUSAL_TIME: Duration = Duration::from_millis(100);
/// Ports that are tried until one is free at both addresses of `localhost`.
const PORT_TRIES: usize = 100;
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

pub(crate) enum Listener {
    /// An address, and the other one of `localhost`.
    Addresses(TcpListener, Option<TcpListener>),
    File(UnixListener),
}

impl Listener {
    pub fn bind(listen: &Listen) -> Result<Self, String> {
        match listen {
            Listen::Address(address) => bind_addresses(*address),
            Listen::File(path) => {
                let bound = bind_file(path).and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    Ok(Self::File(listener))
                });
                bound.map_err(|error| format!("cannot listen on {}: {error}", shown_path(path)))
            }
        }
    }

    /// Returns the port. `None` for a socket file.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Addresses(first, _) => Some(first.local_addr().ok()?.port()),
            Self::File(_) => None,
        }
    }

    /// Answers connections. Must run in a runtime, and does not return.
    pub async fn serve(self, guard: Guard) -> io::Result<Infallible> {
        let guard = Arc::new(guard);
        match self {
            Self::Addresses(first, second) => {
                if let Some(second) = second {
                    let second = tokio::net::TcpListener::from_std(second)?;
                    drop(tokio::spawn(accept(second, |_| true, Arc::clone(&guard))));
                }
                let first = tokio::net::TcpListener::from_std(first)?;
                Ok(accept(first, |_| true, guard).await)
            }
            // The file has a wider mode until `bind_file` changes it, so other users may be connected.
            Self::File(listener) => {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                Ok(accept(listener, is_own, guard).await)
            }
        }
    }
}

/// Answers the connections of a listener, or refuses them.
async fn accept<L: axum::serve::Listener>(
    mut listener: L,
    is_allowed: fn(&L::Io) -> bool,
    guard: Arc<Guard>,
) -> Infallible {
    loop {
        let (mut stream, _) = listener.accept().await;
        if !is_allowed(&stream) {
            continue;
        }
        let connections = guard.connections();
        if connections.make_room() {
            let guard = Arc::clone(&guard);
            let task = tokio::spawn(async move { guard.serve(stream).await });
            connections.add(task.abort_handle());
        } else {
            drop(tokio::spawn(async move {
                // A client that does not read the answer only sees the end of the connection.
                let _ = timeout(REFUSAL_TIME, stream.write_all(TOO_MANY)).await;
            }));
        }
    }
}

/// Binds an address, and with one address of `localhost` also the other one. Browsers try both for the name at which they log in,
/// so another user's program there would get links and cookies.
fn bind_addresses(address: SocketAddr) -> Result<Listener, String> {
    let other: Option<IpAddr> = match address.ip() {
        IpAddr::V4(Ipv4Addr::LOCALHOST | Ipv4Addr::UNSPECIFIED) => Some(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some(Ipv4Addr::LOCALHOST.into()),
        _ => None,
    };
    let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        let problem = |address| move |error| address_problem(address, &error);
        let first = bind_address(address).map_err(problem(address))?;
        let Some(other) = other else { return Ok(Listener::Addresses(first, None)) };
        let port = first.local_addr().map_err(problem(address))?.port();
        let other = SocketAddr::new(other, port);
        tries -= 1;
        match bind_address(other) {
            Ok(second) => return Ok(Listener::Addresses(first, Some(second))),
            // This machine has no such address, so no program can be there.
            Err(error) if is_missing(&error) => return Ok(Listener::Addresses(first, None)),
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
    let ip = address.ip();
    let port = address.port();
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

/// Creates a socket file. Replaces the file of a server that has died.
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
