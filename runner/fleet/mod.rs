//! Workers on other machines, over NATS.
//!
//! The run directory is the truth, the engine is a cache, and a worker is a guess: whatever the engine forgets, and whichever
//! worker is gone, costs work that is done again, and never a row. A run says on the engine that it would have workers. A worker
//! that hears it fetches what it needs by digest, and speaks with the run over a link for each of its processes: what goes
//! over it is what is said to a worker of the same machine. Links ask nothing of the engine but that some messages arrive.

#[cfg(not(feature = "fleet"))]
mod absent;
mod address;
#[cfg(feature = "fleet")]
mod blobs;
#[cfg(feature = "fleet")]
mod bridge;
mod ceiling;
#[cfg(feature = "fleet")]
mod cleaning;
#[cfg(feature = "fleet")]
mod connection;
mod error;
#[cfg(feature = "fleet")]
mod holding;
#[cfg(feature = "fleet")]
mod link;
#[cfg(feature = "fleet")]
mod messages;
#[cfg(feature = "fleet")]
mod offered_run;
mod place;
#[cfg(feature = "fleet")]
mod presence;
#[cfg(feature = "fleet")]
mod serving;
#[cfg(feature = "fleet")]
mod spread;
mod state;

#[cfg(not(feature = "fleet"))]
pub use self::absent::{
    AbsentConnection as FleetConnection, AbsentGuard as SpreadGuard, clean_blobs, engine_state,
    present_workers, serve,
};
#[cfg(feature = "fleet")]
use self::state::is_seat_name;
pub use self::{
    address::{EngineAddress, without_user},
    ceiling::WorkerCeiling,
    error::FleetError,
    place::{FindSecrets, WorkerPlace, WorkerTold},
    state::{
        BlobCleaning, EngineState, PresentWorker, SpreadRun, is_worker_name, worker_name_problem,
    },
};
#[cfg(feature = "fleet")]
pub use self::{
    cleaning::clean_blobs,
    presence::{engine_state, present_workers},
    serving::serve,
    spread::{FleetConnection, SpreadGuard},
};
