//! The executors of this process: a pool of them stands behind the seam as one.

mod executor;
mod phases;
mod pool;
mod voice;
mod warm;

pub use self::executor::fill_argument;
pub(super) use self::{
    executor::{Executor, Plain, ReadyProvider},
    pool::{POOL, Pool, PoolHost},
};
