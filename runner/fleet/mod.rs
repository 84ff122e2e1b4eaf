//! Workers on other machines, over NATS.
//!
//! The run directory is the truth, the engine is a cache, and a worker is a guess: whatever the engine forgets, and whichever
//! worker is gone, costs work that is done again, and never a row. A run says on the engine that it would have workers. A worker
//! that hears it fetches what it needs by digest, and speaks with the run over a [`Link`](link::Link) for each of its processes: what goes
//! over it is what is said to a worker of the same machine. Links ask nothing of the engine but that some messages arrive.

mod address;
mod blobs;
mod bridge;
mod ceiling;
mod connection;
mod error;
mod link;
mod messages;
mod presence;
mod serving;
mod spread;

pub use self::{
    address::EngineAddress,
    ceiling::Ceiling,
    error::FleetError,
    presence::{
        BlobCleaning, EngineState, PresentWorker, clean_blobs, engine_state, present_workers,
    },
    serving::{WorkerPlace, WorkerTold, serve},
    spread::{OpenRun, Spread, SpreadRun, is_name as is_worker_name},
};
