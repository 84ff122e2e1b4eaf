//! `runner serve --link`: gets links from the servers of a results root, over a socket that only their user can use.
//!
//! The socket has no file: a root may be read-only, and nothing is left when the server dies.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::{
    os::fd::AsFd, os::linux::net::SocketAddrExt as _, os::unix::fs::MetadataExt as _, path::Path,
    thread, time::Duration,
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::{net::sockopt::socket_peercred, process::geteuid};

/// Servers of one root that `--link` finds.
const MAX_SERVERS: u32 = 8;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Sends a link to each process of this user that connects. Does nothing if the socket cannot be created.
pub(crate) fn listen(root: &Path, link: impl Fn() -> String + Send + 'static) {
    let bound = (0..MAX_SERVERS).find_map(|place| {
        let address = SocketAddr::from_abstract_name(name(root, place).ok()?).ok()?;
        UnixListener::bind_addr(&address).ok()
    });
    let Some(listener) = bound else { return };
    // Without the thread, `--link` finds no server.
    let _ = thread::Builder::new().name("links".into()).spawn(move || {
        for mut stream in listener.incoming().flatten().filter(is_own) {
            let timeout = stream.set_write_timeout(Some(TIMEOUT));
            let _ = timeout.and_then(|()| stream.write_all(link().as_bytes()));
        }
    });
}

/// Returns a new link of each server of a results root.
pub fn links(root: &Path) -> Vec<String> {
    (0..MAX_SERVERS).filter_map(|place| request_link(root, place).ok()).collect()
}

fn request_link(root: &Path, place: u32) -> io::Result<String> {
    let stream = open(root, place)?;
    // Another user may have a socket with this name.
    if !is_own(&stream) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut link = String::new();
    stream.take(4 << 10).read_to_string(&mut link)?;
    Ok(link)
}

/// Connects to a server's socket. Fails if too many connections wait there: a program of another user can have the name and accept
/// none.
fn open(root: &Path, place: u32) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new_abstract_name(name(root, place)?.as_bytes())?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Returns the name of a server's socket, by the folder of the root.
fn name(root: &Path, place: u32) -> io::Result<String> {
    let folder = root.metadata()?;
    let user = geteuid().as_raw();
    Ok(format!("runner-serve-{user}-{}-{}-{place}", folder.dev(), folder.ino()))
}

/// Returns whether a process of this user has the other end.
pub(crate) fn is_own(stream: &impl AsFd) -> bool {
    socket_peercred(stream).is_ok_and(|peer| peer.uid == geteuid())
}

#[cfg(test)]
mod tests {
    use std::{iter, path::Path};

    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};

    use super::{links, name, open};

    #[test]
    fn socket_that_accepts_nothing_is_skipped() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let name = name(root, 0).unwrap();
        let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&listener, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
        listen(&listener, 0).unwrap();
        let waiting: Vec<_> = iter::from_fn(|| open(root, 0).ok()).collect();
        assert!(!waiting.is_empty());
        assert!(links(root).is_empty());
    }
}
