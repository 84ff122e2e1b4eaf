//! [`Spreading`]: a session whose attempts workers on other machines make.

use std::collections::BTreeMap;

use tokio::sync::mpsc::UnboundedReceiver;

use super::{Host, worker::engine_error};
use crate::{
    error::Error,
    fleet::{EngineAddress, FleetConnection, SpreadGuard, SpreadRun},
    model::chain,
    record::{Holder, Recorder, RunId},
    run::{Bundle, Plan, RemoteWorker},
};

/// What is asked for: that workers on other machines make the attempts.
#[derive(Clone, Debug)]
pub struct EngineChoice {
    /// Where they are found.
    pub address: EngineAddress,
    /// What they must be labelled with.
    pub labels: BTreeMap<String, String>,
}

/// A connection over which a session is to be spread.
pub(super) struct Spreading {
    spread: FleetConnection,
    labels: BTreeMap<String, String>,
    holder: String,
}

impl Spreading {
    /// Connects, if that is asked for, and lets the plan know.
    ///
    /// A lock tells of whoever else works on the directory of `run`, but not on a copy of it elsewhere: that is asked on the engine.
    pub(super) fn begin(
        choice: Option<&EngineChoice>,
        run: Option<&RunId>,
        plan: &mut Plan,
        host: &Host,
    ) -> Result<Option<Self>, Error> {
        let Some(choice) = choice else {
            return Ok(None);
        };
        let mut spread = FleetConnection::connect(&choice.address).map_err(engine_error)?;
        let holder = Holder {
            pid: Some(std::process::id()),
            host: Some(host.actor(None).host),
            since: Some((host.now)()),
            ..Holder::default()
        };
        let holder = holder.to_string();
        if let Some(run) = run {
            (spread.claim(run.as_str(), &holder)).map_err(engine_error)?;
        }
        plan.spread();
        Ok(Some(Self {
            spread,
            labels: choice.labels.clone(),
            holder,
        }))
    }

    /// Lets workers come; the error says why they cannot.
    pub(super) fn open(
        self,
        plan: &Plan,
        recorder: &Recorder,
    ) -> Result<(SpreadGuard, UnboundedReceiver<RemoteWorker>), String> {
        let about = SpreadRun {
            run: recorder.run_id().to_string(),
            scenario: plan.scenario().name().to_owned(),
            labels: self.labels,
            holder: self.holder,
        };
        tracing::info!(
            "workers make the attempts, over the engine at {}",
            self.spread.place()
        );
        let bundle = Bundle::of(plan, recorder).map_err(|error| error.to_string())?;
        let opened = self.spread.open(about, bundle, recorder.content());
        opened.map_err(|error| chain(&error))
    }
}
