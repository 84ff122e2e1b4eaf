//! Being alone in a results root.

use miette::miette;

use super::{Host, Notice, Observe};
use crate::{
    error::{Error, ExitStatus},
    model::chain,
    record::{Busy, RecordError, RunReader, Store},
};

/// Whether a run wants its results root for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exclusivity {
    /// Others may run there meanwhile.
    #[default]
    Shared,
    /// It does not begin while others run there.
    OrNothing,
    /// It waits for the others before there is a run; this blocks, and nothing stops it but the end of the process.
    WaitFirst,
    /// It waits for the others once its run can be named, listed and stopped.
    WaitLater,
}

/// Takes a results root as `wanted`; with [`Exclusivity::WaitLater`] the session still has to wait.
pub(super) fn take(
    store: &mut Store,
    wanted: Exclusivity,
    host: &Host,
    observe: &mut dyn Observe,
) -> Result<(), Error> {
    if wanted == Exclusivity::Shared {
        return Ok(());
    }
    match (store.exclusive(Busy::Refuse, (host.now)()), wanted) {
        (Ok(()), _) => return Ok(()),
        (Err(RecordError::Held { .. }), Exclusivity::WaitFirst) => {}
        (Err(RecordError::Held { .. }), Exclusivity::WaitLater) => {
            return store.be_alone_later().map_err(Error::record);
        }
        (Err(error @ RecordError::Held { .. }), _) => return Err(busy(store, &error)),
        (Err(error), _) => return Err(Error::record(error)),
    }
    observe.notice(&Notice::AwaitingOthers { root: store.root() });
    let alone = store.exclusive(Busy::Wait, (host.now)());
    alone.map_err(Error::record)
}

/// Says which runs keep this one from being alone.
fn busy(store: &Store, error: &RecordError) -> Error {
    let running = store.running().unwrap_or_default();
    let held = running.iter().filter_map(|run| {
        let holder = RunReader::open(&run.dir).ok()?.holder()?;
        Some(format!("run `{}` ({holder})", run.id))
    });
    let held: Vec<_> = held.collect();
    let by = match held[..] {
        // Whoever held it has just let it go, or sweeps.
        [] => chain(error),
        _ => held.join(", "),
    };
    Error {
        status: ExitStatus::Busy,
        report: miette!(
            help = "`--wait` waits until they have ended",
            "the results root `{}` is in use: {by}",
            store.root().display()
        ),
    }
}
