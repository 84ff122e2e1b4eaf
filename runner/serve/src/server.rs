//! [`ServeSettings`]: the flags of `runner serve`. [`Server`]: the state that requests share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use runner_model::visible::shown_path;
use runner_record::{QueuedRequest, RecordError, ResultsRoot, RunDir};
use runner_report::ChangedLines;
use tokio::sync::Semaphore;

use crate::events::{self, PolledStates, RootWatch, RunSnapshot};
use crate::{access::Access, api::HttpProblem, tables::Tables, token::Token};

/// Documents that are read at the same time.
const MAX_READERS: usize = 4;

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
    pub changed_lines: ChangedLines,
}

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

/// The state that requests share.
pub(crate) struct Server {
    pub(crate) root: ResultsRoot,
    pub(crate) settings: ServeSettings,
    pub(crate) access: Access,
    pub(crate) readers: Semaphore,
    pub(crate) tables: Tables,
    /// Permits of event streams.
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) run_states: PolledStates<Arc<RunSnapshot>>,
    pub(crate) watch: RootWatch,
    /// The last requests that clients removed from the queue, the oldest first.
    pub(crate) removed: Mutex<VecDeque<QueuedRequest>>,
}

impl Server {
    /// Creates the state. Creates a missing root, unless the server is read-only.
    pub(crate) fn new(
        mut settings: ServeSettings,
        port: Option<u16>,
        token: Token,
    ) -> Result<Self, RecordError> {
        settings.is_read_only |= !settings.hosts.is_empty() && !settings.allows_writes;
        let is_read_only = settings.is_read_only;
        let open = if is_read_only { ResultsRoot::existing } else { ResultsRoot::open };
        let root = open(&settings.root)?;
        let access = Access::new(port, settings.hosts.clone(), token, is_read_only);
        Ok(Self {
            watch: RootWatch::new(root.clone(), is_read_only),
            root,
            settings,
            access,
            readers: Semaphore::new(MAX_READERS),
            tables: Tables::default(),
            streams: events::permits(),
            run_states: PolledStates::default(),
            removed: Mutex::default(),
        })
    }

    /// Fails if the path of the root leads to another folder. The server would answer from the old one, which it has open, while
    /// commands and new runs use the new one.
    pub(crate) fn check_root(&self) -> Result<(), HttpProblem> {
        if !self.root.is_another_folder() {
            return Ok(());
        }
        let detail = format!(
            "the folder {} was created again after the start of the server",
            shown_path(self.root.path())
        );
        Err(HttpProblem::storage(&detail).with_help("restart `runner serve`"))
    }

    /// Finds a run by its id, a unique part of it, or `latest`. Does not accept paths.
    pub(crate) fn run(&self, name: &str) -> Result<RunDir, HttpProblem> {
        Ok(self.root.find_named(name)?)
    }

    /// Finds a run for a request that changes or continues it.
    ///
    /// # Errors
    ///
    /// Another user or key made it, or it cannot be read.
    pub(crate) fn own_run(&self, name: &str) -> Result<RunDir, HttpProblem> {
        Ok(self.run(name)?.for_use()?)
    }
}
