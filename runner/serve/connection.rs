//! [`ServerListener`]: where the server listens, and how much of it one client may have.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, UnixListener, UnixStream},
    sync::Semaphore,
};

use crate::record;

/// How many connections there are at once.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take to say what it wants.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Bytes of what it says before the body.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// How long to rest where no connection can be taken, because files or memory are short.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address of this machine.
    Tcp(SocketAddr),
    /// A socket that is a file, which only its owner can open.
    Unix(PathBuf),
}

impl Listen {
    /// Where another server listens beside this one, by its place after it: a browser knows servers by their ports.
    ///
    /// # Errors
    ///
    /// Says why it cannot.
    pub fn beside(&self, place: usize) -> Result<Self, &'static str> {
        match self {
            _ if place == 0 => Ok(self.clone()),
            Self::Unix(_) => Err("a socket that is a file is that of one of them"),
            // The system chooses each of them.
            Self::Tcp(address) if address.port() == 0 => Ok(self.clone()),
            Self::Tcp(address) => {
                let port = u16::try_from(place).ok();
                let port = port.and_then(|place| address.port().checked_add(place));
                let port = port.ok_or("there are not enough ports")?;
                Ok(Self::Tcp(SocketAddr::new(address.ip(), port)))
            }
        }
    }
}

pub(super) enum ServerListener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener),
}

impl ServerListener {
    pub(super) async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let address = listener.local_addr()?;
                Ok(Self::Tcp(listener, address))
            }
            Listen::Unix(path) => bind_unix(path).map(Self::Unix),
        }
    }

    /// The address of a browser; none of a socket that is a file.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Answers for as long as the process lives.
    pub(super) async fn serve(self, router: Router) -> io::Result<()> {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let router = router.clone();
            let is_taken = match &self {
                Self::Tcp(listener, _) => match listener.accept().await {
                    Ok((stream, _)) => take(stream, router, &room),
                    Err(_) => false,
                },
                Self::Unix(listener) => match listener.accept().await {
                    // The file's mode says so too, but not from the moment on at which the file is there.
                    Ok((stream, _)) if is_own(&stream) => take(stream, router, &room),
                    Ok(_) => true,
                    Err(_) => false,
                },
            };
            if !is_taken {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Answers a connection, or refuses it where there are too many.
fn take<S>(stream: S, router: Router, room: &Arc<Semaphore>) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Asked for here, so that whoever comes first is answered first.
    let permit = Arc::clone(room).try_acquire_owned();
    drop(tokio::spawn(async move {
        match permit {
            Ok(permit) => {
                answer(stream, router).await;
                drop(permit);
            }
            Err(_) => refuse(stream).await,
        }
    }));
    true
}

/// Says that there are too many connections, and hears nothing.
async fn refuse(mut stream: impl AsyncWrite + Unpin) {
    const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n\
        Content-Length: 0\r\nConnection: close\r\n\r\n";
    let refusing = stream.write_all(REFUSAL);
    // Whoever does not read it is not told.
    let _ = tokio::time::timeout(PAUSE, refusing).await;
}

/// Tells whether whoever has opened the socket is the user of this process.
fn is_own(stream: &UnixStream) -> bool {
    let own = rustix::process::getuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router) {
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection has ended early: {error}");
    }
}

/// Makes the socket in place of one that nobody listens on any more.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    // What is no socket refuses connections too.
    if let Ok(found) = fs_err::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            let kind = record::name_of(found.file_type());
            let problem = format!("there is {kind}, which is left alone; name another path");
            return Err(io::Error::other(problem));
        }
        let is_dead = std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if is_dead {
            fs_err::remove_file(path)?;
        }
    }
    let listener = UnixListener::bind(path)?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
