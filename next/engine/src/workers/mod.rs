//! The workers of a session: their processes, and the pool that prepares them and sends them tasks.

mod events;
mod handshake;
pub(crate) mod link;
mod pool;
mod prestart;
mod process;
mod shape;
mod supply;

pub(crate) use self::{
    events::{LinkEvent, PoolEvent, ReadyWorker, Supply, WorkerExit},
    pool::{Next, Pool, Supplies},
    prestart::{Launch, PrestartedWorker},
    process::WorkerProcess,
    shape::{Shape, shapes},
};
