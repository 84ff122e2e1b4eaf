//! [`HeldRun`]: no two processes make one run over the same engine, each in a copy of its directory.
//!
//! Each hears what others claim before it claims the run itself, so that of two that do so in the same moment one at least
//! hears the other. Of these two the one goes on whose claim has the smaller name. Whoever makes the run already answers, and
//! then nobody else does. Nothing is asked of the engine but that it carries this: where it does not, both go on, and their rows
//! are in two directories.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, Subscriber};
use futures::StreamExt as _;
use tokio::{sync::watch, task::JoinHandle, time};
use uuid::Uuid;

use super::{
    FleetError,
    connection::EngineConnection,
    messages::{RunClaim, RunHolding, holding_subject, read, write},
};
use crate::model::visible_line;

/// How long is waited for whoever else makes the run: an engine without such says so at once.
const HOLDING: Duration = Duration::from_secs(2);

/// A run that this process makes, and says so to others that would, until this value is dropped.
pub(super) struct HeldRun {
    answering: JoinHandle<()>,
}

/// Who makes the run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ClaimState {
    /// Nobody has said so yet.
    Asked,
    /// This process.
    Held,
    /// Another one, which has claimed it in the same moment.
    Yielded(String),
}

impl HeldRun {
    /// Makes a run that is new, and so nobody else's.
    ///
    /// # Errors
    ///
    /// Fails if the engine does not let this side hear.
    pub(super) async fn of_new(
        engine: &EngineConnection,
        run: &str,
        holder: &str,
    ) -> Result<Self, FleetError> {
        let standing = Arc::new(watch::Sender::new(ClaimState::Held));
        Self::begin(engine, run, claim_of(holder), &standing).await
    }

    /// Makes a run, unless another process does or comes first.
    ///
    /// # Errors
    ///
    /// Fails if one does, or the engine does not let this side hear.
    pub(super) async fn claim(
        engine: &EngineConnection,
        run: &str,
        holder: &str,
    ) -> Result<Self, FleetError> {
        let standing = Arc::new(watch::Sender::new(ClaimState::Asked));
        let own = claim_of(holder);
        let said = write(&own);
        let held = Self::begin(engine, run, own, &standing).await?;
        let taken = |holder: &str| FleetError::Taken {
            run: run.to_owned(),
            at: engine.at.clone(),
            holder: visible_line(holder).into_owned(),
        };
        let mut others = standing.subscribe();
        let answer = tokio::select! {
            answer = time::timeout(HOLDING, engine.client.request(holding_subject(run), said)) => answer,
            _ = others.wait_for(|standing| *standing != ClaimState::Asked) => {
                // Nobody answers whoever yields.
                let standing = standing.borrow().clone();
                let ClaimState::Yielded(holder) = standing else { return Ok(held) };
                return Err(taken(&holder));
            }
        };
        // Else nobody is there, or the engine does not say so in time.
        if let Ok(Ok(answer)) = answer {
            let holding = read::<RunHolding>(&answer.payload);
            let holder = holding.map(|holding| holding.holder);
            let holder = holder.as_deref().unwrap_or("one of another version");
            return Err(taken(holder));
        }
        let mut yielded = None;
        standing.send_if_modified(|standing| match standing {
            ClaimState::Yielded(holder) => {
                yielded = Some(holder.clone());
                false
            }
            ClaimState::Asked | ClaimState::Held => {
                *standing = ClaimState::Held;
                true
            }
        });
        yielded.map_or(Ok(held), |holder| Err(taken(&holder)))
    }

    async fn begin(
        engine: &EngineConnection,
        run: &str,
        own: RunClaim,
        standing: &Arc<watch::Sender<ClaimState>>,
    ) -> Result<Self, FleetError> {
        let client = engine.client.clone();
        let heard = client.subscribe(holding_subject(run)).await;
        let heard = heard.map_err(FleetError::engine("let this side hear"))?;
        let answering = tokio::spawn(answer(client, heard, own, Arc::clone(standing)));
        Ok(Self { answering })
    }
}

impl Drop for HeldRun {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// A claim of this process; its name is no other's.
fn claim_of(holder: &str) -> RunClaim {
    RunClaim {
        id: Uuid::new_v4().simple().to_string(),
        holder: holder.to_owned(),
    }
}

/// Answers others for as long as this process makes the run, or would.
async fn answer(
    client: Client,
    mut heard: Subscriber,
    own: RunClaim,
    standing: Arc<watch::Sender<ClaimState>>,
) {
    let holding = RunHolding {
        holder: own.holder.clone(),
    };
    while let Some(message) = heard.next().await {
        let other = read::<RunClaim>(&message.payload);
        if other.as_ref().is_some_and(|other| other.id == own.id) {
            continue;
        }
        let mut is_ours = true;
        standing.send_if_modified(|standing| {
            match (&standing, &other) {
                (ClaimState::Asked, Some(other)) if other.id < own.id => {
                    *standing = ClaimState::Yielded(other.holder.clone());
                    is_ours = false;
                    return true;
                }
                (ClaimState::Yielded(_), _) => is_ours = false,
                (ClaimState::Asked | ClaimState::Held, _) => {}
            }
            false
        });
        if let Some(to) = message.reply
            && is_ours
        {
            // Who does not hear it waits for it, and goes on.
            drop(client.publish(to, write(&holding)).await);
        }
    }
}
