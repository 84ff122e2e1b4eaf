//! [`Server`]: the state that requests share.

use std::sync::Arc;

use runner_record::{RecordError, ResultsRoot, RunDir};
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::api::HttpProblem;
use crate::events::{self, PolledStates, RootWatch, RunSnapshot};
use crate::indexes::Indexes;
use crate::settings::ServeSettings;
use crate::token::Token;

/// Documents that are read at the same time.
const MAX_READERS: usize = 4;

/// The state that requests share.
pub(crate) struct Server {
    pub(crate) root: ResultsRoot,
    pub(crate) settings: ServeSettings,
    pub(crate) access: Access,
    pub(crate) readers: Semaphore,
    pub(crate) indexes: Indexes,
    /// Permits of event streams.
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) run_states: PolledStates<Arc<RunSnapshot>>,
    pub(crate) watch: RootWatch,
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
            indexes: Indexes::default(),
            streams: events::permits(),
            run_states: PolledStates::default(),
        })
    }

    /// Finds a run by its id, a unique part of it, or `latest`. Does not accept paths.
    pub(crate) fn run(&self, name: &str) -> Result<RunDir, HttpProblem> {
        Ok(self.root.find_named(name)?)
    }
}
