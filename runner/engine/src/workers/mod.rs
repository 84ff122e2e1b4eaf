//! The workers of a session: their processes, and the pool that prepares them and sends them tasks.

mod events;
mod handshake;
pub(crate) mod link;
mod pool;
mod prestart;
mod process;
mod quota;
mod shape;
mod supply;

pub(crate) use self::events::{LinkEvent, PoolEvent, ReadyWorker, Supply, WorkerExit};
pub(crate) use self::pool::{Next, Pool, Supplies};
pub(crate) use self::prestart::{Launch, PrestartedWorker};
pub(crate) use self::process::WorkerProcess;
pub(crate) use self::quota::{max_artifact_bytes, max_artifacts};
pub(crate) use self::shape::{Shape, shapes};
