//! Work on several threads whose results come in the order of what they are made of.

use std::{
    io,
    num::NonZeroUsize,
    sync::{
        LazyLock,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, Scope, available_parallelism},
};

/// How many inputs may wait for a thread, and how many results for whoever takes them: memory grows with these.
const MOST_WAITING: usize = 2;

/// How many threads of this process run at once. Asked for once: the answer takes reading files.
pub fn cores() -> usize {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| available_parallelism().map_or(1, NonZeroUsize::get));
    *CORES
}

/// Gives each worker a thread, and one of `inputs` after the other in turns; takes the results in the same turns, so that they
/// are in order although nobody sorts them, until `take` wants no more or fails.
///
/// # Errors
///
/// Fails if no thread can be started; within that as `take` does.
pub fn work_in_lanes<I: Send, O: Send, E>(
    inputs: impl Iterator<Item = I> + Send,
    workers: impl IntoIterator<Item = impl FnMut(I) -> O + Send>,
    mut take: impl FnMut(O) -> Result<bool, E>,
) -> io::Result<Result<(), E>> {
    thread::scope(|scope| {
        let mut lanes: (Vec<SyncSender<I>>, Vec<Receiver<O>>) = Default::default();
        for worker in workers {
            match open(scope, worker) {
                Ok((to, from)) => {
                    lanes.0.push(to);
                    lanes.1.push(from);
                }
                Err(error) if lanes.0.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        let (to, from) = lanes;
        let deal = move || {
            for (input, lane) in inputs.zip(to.iter().cycle()) {
                // Whoever wants no more has let go of the lanes.
                if lane.send(input).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().spawn_scoped(scope, deal)?;
        for lane in from.iter().cycle() {
            // The first lane that has no more is the one whose turn it would have been.
            let Ok(result) = lane.recv() else { break };
            match take(result) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    })
}

fn open<'s, I: Send + 's, O: Send + 's>(
    scope: &'s Scope<'s, '_>,
    mut worker: impl FnMut(I) -> O + Send + 's,
) -> io::Result<(SyncSender<I>, Receiver<O>)> {
    let (to, inputs) = sync_channel(MOST_WAITING);
    let (done, from) = sync_channel(MOST_WAITING);
    let work = move || {
        for input in inputs {
            if done.send(worker(input)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().spawn_scoped(scope, work)?;
    Ok((to, from))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, thread, time::Duration};

    use super::work_in_lanes;

    #[test]
    fn results_come_in_order_however_long_each_takes_and_no_more_than_are_wanted() {
        for lanes in [1, 3] {
            let worker = || {
                |number: u64| {
                    thread::sleep(Duration::from_micros(number * 7919 % 500));
                    number * 2
                }
            };
            let workers = || (0..lanes).map(|_| worker());
            let mut taken = Vec::new();
            let worked = work_in_lanes(0..100, workers(), |number| {
                taken.push(number);
                Ok::<_, Infallible>(true)
            });
            worked.unwrap().unwrap();
            assert!(taken.iter().copied().eq((0..100).map(|number| number * 2)));

            let mut count = 0;
            let worked = work_in_lanes(0.., workers(), |_| {
                count += 1;
                Ok::<_, Infallible>(count < 5)
            });
            worked.unwrap().unwrap();
            assert_eq!(count, 5);
            let failed = work_in_lanes(0.., workers(), Err::<bool, _>);
            assert_eq!(failed.unwrap(), Err(0));
        }
    }
}
