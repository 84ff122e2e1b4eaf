//! [`HeldName`]: no two processes make one run over the same engine, each in a copy of its directory, and no two workers at it
//! have one name.
//!
//! Each hears what others claim before it claims a name itself, so that of two that do so in the same moment one at least hears
//! the other. Of these two the one goes on whose claim has the smaller id. Whoever has the name already answers, and then nobody
//! else does. Nothing is asked of the engine but that it carries this: where it does not, both go on. Then two processes write
//! rows into two directories, or the rows of two workers have one name. Of a process that was killed the engine knows that it
//! hears nothing any more, and who claims its name need not wait.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, Subscriber};
use futures::StreamExt as _;
use tokio::{sync::watch, task::JoinHandle, time};
use uuid::Uuid;

use super::{
    FleetError,
    connection::EngineConnection,
    messages::{NameClaim, NameHolding, holding_subject, read, write},
};
use crate::model::visible_line;

/// How long is waited for whoever else has the name: an engine at which nobody hears says so at once.
const HOLDING: Duration = Duration::from_secs(2);

/// What one process alone may have over an engine, by its name.
#[derive(Clone, Copy, Debug)]
pub(super) enum EngineName<'a> {
    /// To make this run.
    Run(&'a str),
    /// To be the worker of this name.
    Worker(&'a str),
}

/// A name that this process has, and says so to others that would, until this value is dropped.
pub(super) struct HeldName {
    answering: JoinHandle<()>,
}

/// Who has the name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ClaimState {
    /// Nobody has said so yet.
    Asked,
    /// This process.
    Held,
    /// Another one, which has claimed it in the same moment.
    Yielded(String),
}

impl EngineName<'_> {
    fn subject(self) -> String {
        match self {
            Self::Run(run) => holding_subject(run),
            // The name of no run has a slash: it is that of a directory.
            Self::Worker(worker) => holding_subject(&format!("worker/{worker}")),
        }
    }

    /// That another process has it.
    fn taken(self, at: &str, holder: &str) -> FleetError {
        let (at, holder) = (at.to_owned(), visible_line(holder).into_owned());
        match self {
            Self::Run(run) => FleetError::Taken {
                run: run.to_owned(),
                at,
                holder,
            },
            Self::Worker(worker) => FleetError::NameTaken {
                worker: worker.to_owned(),
                at,
                holder,
            },
        }
    }
}

impl HeldName {
    /// Takes a name that is new, and so nobody else's.
    ///
    /// # Errors
    ///
    /// Fails if the engine does not let this side hear.
    pub(super) async fn of_new(
        engine: &EngineConnection,
        name: EngineName<'_>,
        holder: &str,
    ) -> Result<Self, FleetError> {
        let standing = Arc::new(watch::Sender::new(ClaimState::Held));
        Self::begin(engine, name, claim_of(holder), &standing).await
    }

    /// Takes a name, unless another process has it or comes first.
    ///
    /// # Errors
    ///
    /// Fails if one has it, or the engine does not let this side hear.
    pub(super) async fn claim(
        engine: &EngineConnection,
        name: EngineName<'_>,
        holder: &str,
    ) -> Result<Self, FleetError> {
        let standing = Arc::new(watch::Sender::new(ClaimState::Asked));
        let own = claim_of(holder);
        let said = write(&own);
        let held = Self::begin(engine, name, own, &standing).await?;
        let taken = |holder: &str| name.taken(&engine.at, holder);
        let mut others = standing.subscribe();
        let answer = tokio::select! {
            answer = time::timeout(HOLDING, engine.client.request(name.subject(), said)) => answer,
            _ = others.wait_for(|standing| *standing != ClaimState::Asked) => {
                // Nobody answers whoever yields.
                let standing = standing.borrow().clone();
                let ClaimState::Yielded(holder) = standing else { return Ok(held) };
                return Err(taken(&holder));
            }
        };
        // Else nobody is there, or the engine does not say so in time.
        if let Ok(Ok(answer)) = answer {
            let holding = read::<NameHolding>(&answer.payload);
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
        name: EngineName<'_>,
        own: NameClaim,
        standing: &Arc<watch::Sender<ClaimState>>,
    ) -> Result<Self, FleetError> {
        let heard = engine.hear(name.subject()).await?;
        let client = engine.client.clone();
        let answering = tokio::spawn(answer(client, heard, own, Arc::clone(standing)));
        Ok(Self { answering })
    }
}

impl Drop for HeldName {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// A claim of this process; its name is no other's.
fn claim_of(holder: &str) -> NameClaim {
    NameClaim {
        id: Uuid::new_v4().simple().to_string(),
        holder: holder.to_owned(),
    }
}

/// Answers others for as long as this process has the name, or would.
async fn answer(
    client: Client,
    mut heard: Subscriber,
    own: NameClaim,
    standing: Arc<watch::Sender<ClaimState>>,
) {
    let holding = NameHolding {
        holder: own.holder.clone(),
    };
    while let Some(message) = heard.next().await {
        let other = read::<NameClaim>(&message.payload);
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
