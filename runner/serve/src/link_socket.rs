//! `runner serve --link`: gets links from the servers of a results root, over a socket that only their user can use.
//!
//! The socket has no file: a root may be read-only, and nothing is left when the server dies.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::{thread, time::Duration};

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

/// Servers of one root that `--link` finds.
const MAX_SERVERS: u32 = 8;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Sends a link to each process of this user that connects. Does nothing if the socket cannot be created.
pub(crate) fn listen(root: &Path, link: impl Fn() -> String + Send + 'static) {
    let bound = (0..MAX_SERVERS)
        .find_map(|place| UnixListener::bind_addr(&address(root, place).ok()?).ok());
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
    let stream = UnixStream::connect_addr(&address(root, place)?)?;
    // Another user may have a socket with this name.
    if !is_own(&stream) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut link = String::new();
    stream.take(4 << 10).read_to_string(&mut link)?;
    Ok(link)
}

/// Returns the name of a server's socket, by the folder of the root.
fn address(root: &Path, place: u32) -> io::Result<SocketAddr> {
    let (folder, user) = (root.metadata()?, geteuid().as_raw());
    let name = format!("runner-serve-{user}-{}-{}-{place}", folder.dev(), folder.ino());
    SocketAddr::from_abstract_name(name)
}

/// Returns whether a process of this user has the other end.
pub(crate) fn is_own(stream: &impl AsFd) -> bool {
    socket_peercred(stream).is_ok_and(|peer| peer.uid == geteuid())
}
