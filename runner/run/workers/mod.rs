//! Workers: the processes beside the runner's own in which attempts are made.
//!
//! A worker is the same program, started with [`WORKER_ARGUMENT`]. It plans what its runner has planned, has executors as that
//! has, and speaks with it over a socket: assignments go there, reports come back. It decides nothing, writes no row and has
//! no lock. What maps and unmaps memory is the slower the more cores one process has at work, so each core has its own; and
//! what ends a worker does not end the run.

mod beat;
mod bundle;
mod conversation;
mod crew;
mod hearing;
mod held;
mod lines;
mod process;
mod remote_news;
mod remotes;
mod said_buffer;
mod saying;
mod serve;
mod setup;
mod socket;
mod staff;
mod suite_copy;
mod wire;
mod workplace;

pub use self::{
    bundle::Bundle,
    process::WORKER_ARGUMENT,
    remote_news::{RemoteNews, RunNews},
    remotes::RemoteWorker,
    serve::worker_child,
    staff::WorkerHost,
    suite_copy::SuiteCopy,
    workplace::{MachineAllowance, Seat, Workplace, seat_name},
};
pub(super) use self::{
    crew::{Crew, CrewEvent, CrewParts},
    staff::Workers,
};
