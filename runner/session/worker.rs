//! [`work`]: makes attempts for the runs of other machines.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use miette::miette;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Host, Observe, engine::worker_host, secrets};
use crate::{
    error::{Error, ExitStatus},
    fleet::{
        self, BlobCleaning, EngineAddress, FleetError, WorkerCeiling, WorkerPlace, WorkerTold,
    },
    model::visible_line,
    record::Holder,
    run::MachineAllowance,
    view::{DocumentVersion, EngineCleaning, EngineReport, ListedWorker, WorkerList},
};

/// How many names are made up for a worker that is given none, until there is one that no other worker has.
const MOST_NAMES: u32 = 8;
/// How much is shown of a name that is none, in characters.
const MOST_SHOWN: usize = 40;

/// What is asked for: that attempts are made for the runs of other machines.
#[derive(Clone, Debug)]
pub struct WorkerRequest {
    /// Where the runs are heard.
    pub address: EngineAddress,
    /// The worker's name; by itself the machine's, with a few letters.
    pub name: Option<String>,
    /// What it is labelled with.
    pub labels: BTreeMap<String, String>,
    /// What it may use of the machine.
    pub allowed: MachineAllowance,
    /// What runs may touch there.
    pub ceiling: WorkerCeiling,
    /// Files of secrets, which count before the environment.
    pub secret_files: Vec<PathBuf>,
    /// Where plugins and tests are kept; by itself in the user's folder of caches.
    pub store: Option<PathBuf>,
    /// After how long without a run it ends.
    pub most_idle: Option<Duration>,
}

/// Makes attempts until the process is asked to end. The first signal lets it make what it has begun, the second ends that.
///
/// # Errors
///
/// Fails if the engine cannot be reached, or the name is none or that of another worker there.
pub fn work(
    request: WorkerRequest,
    host: &Host,
    observe: &mut dyn Observe,
    tell: &dyn Fn(WorkerTold<'_>),
) -> Result<(), Error> {
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy().into_owned();
    let is_given = request.name.is_some();
    let name = match request.name {
        Some(name) => {
            if let Some(problem) = fleet::worker_name_problem(&name) {
                let shown: String = name.chars().take(MOST_SHOWN).collect();
                return Err(Error::usage(miette!(
                    help = "a name stands in each row that the worker makes; without `--name` it is the machine's, with a \
                            few letters",
                    "a worker cannot be called `{}`: {problem}",
                    visible_line(&shown)
                )));
            }
            name
        }
        None => made_up_name(&machine),
    };
    let root = request.store.unwrap_or_else(|| cached(host));
    let (ends, asked_to_end) = watch::channel(0);
    if let Some(signals) = &host.signals {
        signals.listen(move |_| ends.send_modify(|count| *count += 1));
    }
    let observe = std::cell::RefCell::new(observe);
    let secrets = |names: &_| {
        let found = secrets::read(
            names,
            &request.secret_files,
            host.variable,
            &mut **observe.borrow_mut(),
        );
        found.map_err(|error| error.report.to_string())
    };
    let holder = Holder {
        pid: Some(std::process::id()),
        host: Some(machine.clone()),
        since: Some((host.now)()),
        ..Holder::default()
    };
    let mut place = WorkerPlace {
        name,
        holder: holder.to_string(),
        host_name: machine,
        labels: request.labels,
        scratch_root: host.scratch_root.clone(),
        processes: worker_host(host, &root),
        root,
        allowed: request.allowed,
        ceiling: request.ceiling,
        secrets: &secrets,
        asked_to_end,
        most_idle: request.most_idle,
        tell,
    };
    let mut names = 1;
    loop {
        match fleet::serve(&request.address, &place) {
            Err(FleetError::NameTaken { .. }) if !is_given && names < MOST_NAMES => {
                names += 1;
                place.name = made_up_name(&place.host_name);
            }
            done => return done.map_err(engine_error),
        }
    }
}

/// A name that no other worker is likely to have.
fn made_up_name(machine: &str) -> String {
    let is_of_name = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '-';
    let machine: String = machine.chars().filter(is_of_name).collect();
    let letters = Uuid::new_v4().simple().to_string();
    format!("{machine}-{}", &letters[..4])
}

/// The workers that are at an engine, and the runs that would have some.
///
/// # Errors
///
/// Fails if it cannot be reached.
pub fn workers(address: &EngineAddress) -> Result<WorkerList, Error> {
    let (workers, runs) = fleet::present_workers(address).map_err(engine_error)?;
    let workers = workers.into_iter().map(|worker| ListedWorker {
        name: worker.name,
        host: worker.host,
        version: worker.version,
        cores: worker.cores,
        labels: worker.labels,
        run: worker.run,
        is_leaving: worker.is_leaving,
    });
    Ok(WorkerList {
        v: DocumentVersion,
        workers: workers.collect(),
        runs,
    })
}

/// What an engine is, and whether it can do what is needed.
///
/// # Errors
///
/// Fails if it cannot be reached.
pub fn check_engine(address: &EngineAddress) -> Result<EngineReport, Error> {
    let state = fleet::engine_state(address).map_err(engine_error)?;
    Ok(EngineReport {
        v: DocumentVersion,
        at: state.at,
        version: state.version,
        max_payload: state.most_bytes,
        round_trip_ms: state.round_trip.as_secs_f64() * 1e3,
        blobs: state.blobs.0,
        blob_bytes: state.blobs.1,
        problem: state.keeps_nothing,
    })
}

/// Removes from an engine what no run has put there since a time, or tells what would go.
///
/// # Errors
///
/// Fails if it cannot be reached, or does not do it.
pub fn clean_engine(
    address: &EngineAddress,
    before: Timestamp,
    is_dry_run: bool,
) -> Result<EngineCleaning, Error> {
    let cleaning = BlobCleaning {
        before: before.as_second(),
        is_dry: is_dry_run,
    };
    let (blobs, bytes) = fleet::clean_blobs(address, cleaning).map_err(engine_error)?;
    Ok(EngineCleaning {
        v: DocumentVersion,
        is_dry_run,
        blobs,
        bytes,
    })
}

/// Says where the error of an engine ends a command.
pub(super) fn engine_error(error: FleetError) -> Error {
    let status = match error {
        FleetError::Address { .. } | FleetError::NameTaken { .. } => ExitStatus::Usage,
        FleetError::Taken { .. } => ExitStatus::Busy,
        _ => ExitStatus::Failed,
    };
    Error {
        status,
        report: error.into(),
    }
}

/// Where a user's programs keep what they can get again.
fn cached(host: &Host) -> PathBuf {
    let folder = |name: &str| (host.variable)(name).map(PathBuf::from);
    let absolute = |path: &PathBuf| path.is_absolute();
    let caches = folder("XDG_CACHE_HOME").filter(absolute);
    let caches = caches.or_else(|| Some(folder("HOME").filter(absolute)?.join(".cache")));
    match caches {
        Some(caches) => caches.join("runner/worker"),
        None => host.scratch_root.join(Path::new("runner-worker")),
    }
}
