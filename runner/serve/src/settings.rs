//! [`ServeSettings`]: the flags of `runner serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// The results root.
    pub root: PathBuf,
    /// Folders with scenarios that may be started.
    pub scenarios: Vec<PathBuf>,
    pub listen: Listen,
    /// Whether the server refuses every change.
    pub is_read_only: bool,
    /// Other names of the server. With one of them, the server refuses changes, too, unless `allows_writes`.
    pub hosts: Vec<String>,
    pub allows_writes: bool,
    /// The file of the token, which is created if it is missing. `None` for a random token that is in no file, so that browsers
    /// log in by links.
    pub token_file: Option<PathBuf>,
}

/// A failure to start the server.
#[derive(Debug)]
pub struct ServeError(pub String);

/// The value of `--listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address of this machine, with a port. Port 0 for a free one.
    Address(SocketAddr),
    /// `unix:PATH`, a socket file that only its user can open.
    File(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::File(path.into()));
        }
        let address = text.parse().map(Self::Address);
        address.map_err(|_| {
            "use an address with a port, such as `127.0.0.1:7878` or `[::1]:7878`, or `unix:PATH`".into()
        })
    }
}
