//! [`Threads`]: does work on all cores, with its results in order.

use std::{
    collections::VecDeque,
    iter,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, SendError, SyncSender},
    },
    thread,
};

/// The receiver takes a sixth of the CPU time, so more threads would only wait for it.
const MAX_THREADS: usize = 8;
/// Bytes of all items in work, unless there is only one.
const MAX_BYTES: usize = 2 << 20;
/// Results of an item that may wait.
const MAX_WAITING: usize = 2;

/// The division of work among threads.
pub(crate) struct Threads {
    /// The number of first items that the caller's thread works on. Threads start if there are more.
    pub(crate) first: usize,
    /// The number of threads. `None` takes one for each core.
    pub(crate) count: Option<usize>,
}

impl Default for Threads {
    fn default() -> Self {
        // About 4,000 tests, which take less than 10 ms.
        Self { first: 8, count: None }
    }
}

impl Threads {
    /// Works on items, and receives their results in order. `work` sends the results of an item, whose size is `bytes`.
    pub(crate) fn run<T: Send, R: Send>(
        &self,
        mut items: impl Iterator<Item = T>,
        bytes: fn(&T) -> usize,
        work: impl Fn(T, &mut dyn FnMut(R) -> ControlFlow<()>) -> ControlFlow<()> + Sync,
        receive: &mut dyn FnMut(R) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        items.by_ref().take(self.first).try_for_each(|item| work(item, receive))?;
        let Some(next) = items.next() else { return ControlFlow::Continue(()) };
        let (queue, waiting) = mpsc::channel::<(T, SyncSender<R>)>();
        let serve = |waiting: &Mutex<Receiver<(T, SyncSender<R>)>>| loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((item, results)) = next else { break };
            let _ = work(item, &mut |result| match results.send(result) {
                Ok(()) => ControlFlow::Continue(()),
                // The caller has ended the work.
                Err(_) => ControlFlow::Break(()),
            });
        };
        thread::scope(|scope| {
            // The threads end when it is dropped.
            let queue = queue;
            // Only the threads own it: if all of them panic, the items in it are dropped, and nothing waits for these.
            let waiting = Arc::new(Mutex::new(waiting));
            let threads = (0..self.count())
                .take_while(|_| {
                    let waiting = Arc::clone(&waiting);
                    let serve = &serve;
                    thread::Builder::new().spawn_scoped(scope, move || serve(&waiting)).is_ok()
                })
                .count();
            drop(waiting);
            let mut running = VecDeque::new();
            let mut running_bytes = 0;
            for item in iter::once(next).chain(items) {
                let item_bytes = bytes(&item);
                while (running.len() > threads || running_bytes + item_bytes > MAX_BYTES)
                    && let Some((ended_bytes, results)) = running.pop_front()
                {
                    Receiver::into_iter(results).try_for_each(&mut *receive)?;
                    running_bytes -= ended_bytes;
                }
                let (send, results) = mpsc::sync_channel(MAX_WAITING);
                match queue.send((item, send)) {
                    Ok(()) => {
                        running.push_back((item_bytes, results));
                        running_bytes += item_bytes;
                    }
                    // No thread could be started, so this one does the work.
                    Err(SendError((item, _))) => work(item, receive)?,
                }
            }
            running.into_iter().flat_map(|(_, results)| results).try_for_each(receive)
        })
    }

    fn count(&self) -> usize {
        match self.count.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)) {
            // On one core, threads would only alternate.
            1 => 0,
            count => count.min(MAX_THREADS),
        }
    }
}
