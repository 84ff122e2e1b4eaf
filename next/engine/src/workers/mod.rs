//! The workers of a session: their processes, and the pool that prepares them and hands them tasks.

mod events;
mod feed;
mod handshake;
pub(crate) mod link;
mod pool;
mod process;
mod shape;
mod supply;

pub(crate) use self::{
    events::{LinkEvent, PoolEvent, ReadyWorker, Supply, WorkerExit},
    feed::{Next, PoolFeed},
    pool::{Launch, PrestartedWorker, Supplies},
    process::WorkerProcess,
    shape::{Shape, shapes},
};
