//! A network that is slow and bad: everything that is said between workers, engine and run is late, some of it later still, and
//! connections break in the middle of what is said.

use crate::{
    nats::{Engine, assert_whole, end, exec_unread_at, has_joined, worker_at, workers_of},
    proxy::Proxy,
    support::{truth, wait::wait_until},
    workers::{of_every_kind, on_one_machine},
};

#[test]
fn a_network_that_delays_stalls_and_breaks_costs_time_and_no_row() {
    let engine = Engine::start();
    let runner = of_every_kind(300);
    let expected = on_one_machine(&runner);
    let ways = [14, 15, 16].map(|seed| Proxy::to(engine.port(), seed));
    let [to_run, to_one, to_two] = &ways;
    let workers = [(to_one, "one"), (to_two, "two")];
    let workers = workers.map(|(way, name)| worker_at(&runner, &way.url(), name, &["-j2"]));
    let live = exec_unread_at(&runner, &to_run.url());
    wait_until("both make attempts", || {
        has_joined(&runner, "one") && has_joined(&runner, "two")
    });
    ways.iter().for_each(Proxy::begin_to_break);
    live.finish().expect(1);
    assert_whole(&runner, expected.len());
    let run = runner.only_run();
    truth::assert_same_end(&run, &expected);
    assert_eq!(workers_of(&run), ["one", "two"]);
    for way in &ways {
        let seen = way.seen();
        assert!(seen.stalls > 0 && seen.breaks > 0, "{seen:?}");
        assert!(seen.connections > 1, "nobody came again: {seen:?}");
    }
    workers.into_iter().for_each(|worker| drop(end(worker)));
}
