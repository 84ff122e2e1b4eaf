//! The coordinator's reaction to a worker's messages and to its end.

use runner_model::{TaskId, WorkerId, protocol::FromWorker, visible::visible_line};

use super::coordinator::{Coordinator, MAX_WORD};
use crate::{clock::monotonic, schedule::Blame, workers::WorkerExit};

impl Coordinator<'_> {
    pub(super) fn receive(&mut self, worker: WorkerId, message: FromWorker) {
        // It may have come together with what the worker is killed for.
        if !self.feed.pool.believes(worker) {
            return;
        }
        match message {
            FromWorker::Report { head, body } => match &mut self.checks {
                Some((checks, _)) => checks.take(head.task, &body[..head.row_bytes as usize]),
                None => self.report(worker, &head, body),
            },
            FromWorker::Artifact { task, index, bytes } => {
                self.add_piece(worker, task, index, &bytes);
            }
            FromWorker::Returned(tasks) => {
                let mut tasks = tasks;
                tasks.retain(|task| self.in_flight.at(worker, *task).is_some());
                for task in &tasks {
                    self.in_flight.all.remove(task);
                }
                self.on(|schedule| schedule.returned(worker, &tasks));
            }
            FromWorker::Log(line) => {
                self.log(&format!("worker {}: {}", worker.0, visible_line(&line)));
            }
            FromWorker::Doing(doing) => {
                for mut doing in doing {
                    if let Some(flight) = self.in_flight.at(worker, doing.task) {
                        let most = doing.word.floor_char_boundary(MAX_WORD);
                        doing.word.truncate(most);
                        flight.word = doing.word;
                    }
                }
            }
            // The others are heard by the crew and the link.
            _ => {}
        }
    }

    pub(super) fn lose(&mut self, worker: WorkerId, exit: WorkerExit) {
        let WorkerExit { begun, blame, how } = exit;
        if !self.stop.is_stopping {
            self.log(&format!("worker {} {how}", worker.0));
        }
        let checks = self.checks.take_if(|(_, ready)| ready.worker == worker);
        if checks.is_some() {
            // Another one is asked what inputs have to be.
            self.described = None;
        }
        let flights = self.in_flight.all.values_mut();
        for flight in flights.filter(|flight| flight.worker == worker) {
            flight.lost = Some((monotonic(), how.clone()));
        }
        let paused_at = self.pause.at;
        let begun = begun.iter().filter(|word| {
            let flight = self.in_flight.at(worker, TaskId(word.task));
            let lost = flight.and_then(|flight| flight.lost.as_mut());
            lost.is_some_and(|(began, _)| {
                // Its worker has not moved it by the pause that lasts.
                let standing =
                    paused_at.map_or(0, |at| monotonic().saturating_sub(at.max(word.began)));
                *began = word.began + standing;
                true
            })
        });
        let begun: Vec<_> = begun.map(|word| TaskId(word.task)).collect();
        let stuck = match blame {
            Some(Blame::Stuck(task)) => self.in_flight.at(worker, task),
            _ => None,
        };
        let policy = stuck.map(|flight| flight.policy.clone());
        self.on(|schedule| schedule.worker_lost(worker, &begun, blame, policy.as_ref()));
        let flights = &mut self.in_flight.all;
        flights.retain(|_, flight| flight.worker != worker);
    }
}
