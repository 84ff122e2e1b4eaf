//! The background threads of a server that may change its root: upkeep and the queue.

use std::{thread, time::Duration};

use runner_operations::queue::{self, Step};
use runner_operations::upkeep::Upkeep;
use runner_record::{ResultsRoot, now, sweep_every};

const QUEUE_INTERVAL: Duration = Duration::from_secs(1);

/// Starts both threads. Upkeep may wait for receivers of notifications, and the queue must not. `print` gets each problem.
pub(crate) fn start(root: &ResultsRoot, print: fn(&str)) {
    let (first, second) = (root.clone(), root.clone());
    let threads: [(_, Box<dyn FnOnce() + Send>); 2] = [
        ("upkeep", Box::new(move || maintain(first, print))),
        ("queue", Box::new(move || start_requests(&second, print))),
    ];
    for (name, run) in threads {
        if let Err(error) = thread::Builder::new().name(name.into()).spawn(run) {
            print(&format!("the server cannot start its {name}: {error}"));
        }
    }
}

fn maintain(root: ResultsRoot, print: fn(&str)) {
    let mut upkeep = Upkeep::new(root);
    loop {
        upkeep.tick(now()).problems.iter().for_each(|problem| print(problem));
        thread::sleep(sweep_every());
    }
}

fn start_requests(root: &ResultsRoot, print: fn(&str)) {
    let mut last = String::new();
    loop {
        let problem = match queue::step(root) {
            Ok(Step::Started { .. }) => continue,
            Ok(Step::Refused { request, error } | Step::Postponed { request, error }) => {
                format!("request {}: {error}", request.id)
            }
            Ok(Step::Idle | Step::Busy { .. } | Step::Queued(_) | Step::Repeated(_)) => {
                String::new()
            }
            Err(error) => format!("queue: {error}"),
        };
        if problem != last && !problem.is_empty() {
            print(&problem);
        }
        last = problem;
        thread::sleep(QUEUE_INTERVAL);
    }
}
