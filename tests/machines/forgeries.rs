//! Forged, repeated and raced messages of attackers, who have no key of the runs. They end no attempt of others, and keep no
//! worker from joining.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{available_parallelism, sleep},
    time::{Duration, Instant, UNIX_EPOCH},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::attacker::{Attacker, EVIL, Recorded, Rights};
use super::attacks::{Honest, false_answers, refuse_last, swap};
use super::network::{
    Cable, RawMessage, alone, canonical, numbered, used_workers, wait_for_message,
};
use super::support::{
    random::times,
    run::Run,
    runner::Runner,
    wait::{wait_for, wait_until},
};

/// A status message, which servers send in the place of an answer.
fn status(subject: &str, code: &str) -> RawMessage {
    let headers = format!("NATS/1.0 {code}\r\n\r\n").into_bytes();
    RawMessage { headers, ..RawMessage::new(subject, "") }
}

/// Returns a message with other content.
fn with(message: &RawMessage, payload: impl Into<Vec<u8>>) -> RawMessage {
    RawMessage::new(&*message.subject, payload)
}

type Forgeries = Vec<(&'static str, Vec<RawMessage>)>;

/// Returns messages for the links of a session.
fn forged_pieces(old: &Recorded, now: &Recorded) -> Forgeries {
    let links: Vec<_> = now.links.iter().map(|link| &*link.link).collect();
    let each = |payloads: &[Vec<u8>]| -> Vec<RawMessage> {
        let subjects = links.iter().flat_map(|link| {
            ["down", "up"].map(|direction| format!("runner.link.{link}.{direction}"))
        });
        let to = |subject: String| {
            payloads.iter().map(move |payload| RawMessage::new(&*subject, &**payload))
        };
        subjects.flat_map(to).collect()
    };
    let statuses = |code: &str| -> Vec<RawMessage> {
        each(&[Vec::new()]).iter().map(|message| status(&message.subject, code)).collect()
    };
    let heads: Vec<_> = (0..4_u8).map(|kind| [&[kind][..], &[0xff; 40]].concat()).collect();
    let close = [&[2][..], &[0; 24], b"\"close\""].concat();
    let closes = [close.clone(), [&[0xff; 8][..], &close, &[0; 16]].concat()];
    let pieces: Vec<_> = now.links.iter().flat_map(|link| &link.pieces).collect();
    let changed = |change: fn(&[u8]) -> Vec<u8>| -> Vec<RawMessage> {
        pieces.iter().map(|piece| with(piece, change(&piece.payload))).collect()
    };
    let again = || pieces.iter().map(|piece| with(piece, &*piece.payload));
    let turned = |piece: &&RawMessage| {
        let (link, direction) = piece.subject.rsplit_once('.').unwrap();
        let other = if direction == "up" { "down" } else { "up" };
        RawMessage::new(format!("{link}.{other}"), &*piece.payload)
    };
    let others = now.links.iter().zip(now.links.iter().cycle().skip(1));
    let others = others.flat_map(|(from, to)| {
        let moved = |piece: &RawMessage| piece.subject.replace(&from.link, &to.link);
        from.pieces.iter().map(move |piece| RawMessage::new(moved(piece), &*piece.payload))
    });
    let old: Vec<_> = old.links.iter().flat_map(|link| &link.pieces).collect();
    let old: Vec<_> = old.iter().map(|piece| piece.payload.clone()).collect();
    // A number of 8 bytes, the head of 25 bytes and a tag of 16 bytes.
    let receipts = again().filter(|piece| piece.payload.len() == 49);
    vec![
        ("garbage", each(&[b"".to_vec(), b"garbage".to_vec(), vec![0xa5; 6_000]])),
        ("heads of pieces", each(&heads)),
        ("ends of links", each(&closes)),
        ("no responders", statuses("503")),
        (
            "other statuses",
            ["100", "404", "408", "409"].iter().flat_map(|code| statuses(code)).collect(),
        ),
        ("the same pieces", again().collect()),
        ("the same receipts", receipts.collect()),
        ("pieces in another order", again().rev().collect()),
        ("pieces of the other direction", pieces.iter().map(turned).collect()),
        ("pieces of another link", others.collect()),
        ("pieces of an ended link", each(&old)),
        ("pieces with the largest number", changed(|piece| [&[0xff; 8][..], &piece[8..]].concat())),
        (
            "pieces with the next number",
            changed(|piece| [&[piece[0].wrapping_add(1)][..], &piece[1..]].concat()),
        ),
        ("shorter pieces", changed(|piece| piece[..piece.len() - 1].to_vec())),
        ("longer pieces", changed(|piece| [piece, b"x"].concat())),
    ]
}

/// Returns messages about the offer and the joins of a session.
fn forged_documents(old: &Recorded, now: &Recorded) -> Forgeries {
    let subject = format!("$KV.runner-offers.{}", now.offer.token);
    let offer = |content: String| RawMessage::new(&*subject, content);
    let signature = now.offer.signature();
    let zeros: Value = vec![0; 64].into();
    let by = |key: &Value| json!({"key": key, "bytes": zeros});
    let other = by(&json!("UD7Z3W65HBM2J2RG7YA35X7XGHVS7XVJD6YITMFNHTIIOSUIS4DU5S4P"));
    let marked = |headers: &str| {
        let headers = format!("NATS/1.0\r\n{headers}\r\n\r\n").into_bytes();
        RawMessage { headers, ..offer(String::new()) }
    };
    let end = old.end.as_ref().unwrap();
    let joins = |change: &dyn Fn(&mut Value)| -> Vec<RawMessage> {
        let changed = |join: &RawMessage| {
            let mut document: Value = serde_json::from_slice(&join.payload).unwrap();
            change(&mut document);
            RawMessage { reply: EVIL.to_owned(), ..with(join, document.to_string()) }
        };
        now.joins.iter().map(changed).collect()
    };
    let again = now.joins.iter().map(|join| RawMessage { reply: EVIL.to_owned(), ..join.clone() });
    let other_user = now.joins.iter().map(|join| {
        let subject = join.subject.replace(".workers", ".others");
        RawMessage { subject, reply: EVIL.to_owned(), ..join.clone() }
    });
    let call = |call: &str, request: &Value| {
        RawMessage::new(format!("$JS.API.{call}"), request.to_string())
    };
    let deletions = ["KV_runner-offers", "OBJ_runner-blobs"].into_iter().flat_map(|stream| {
        let purge = call(&format!("STREAM.PURGE.{stream}"), &json!({}));
        [purge, RawMessage::new(format!("$JS.API.STREAM.DELETE.{stream}"), "")]
    });
    let spy =
        json!({"name": "spy", "subjects": ["runner.link.>", "runner.join.>"], "storage": "memory"});
    vec![
        ("a deletion", vec![marked("KV-Operation: DEL")]),
        ("a purge", vec![marked("KV-Operation: PURGE\r\nNats-Rollup: sub")]),
        ("no offer", vec![offer(String::new()), offer("{".to_owned())]),
        ("an end without a signature", vec![offer(now.offer.end(&Value::Null))]),
        ("an end with the key's name", vec![offer(now.offer.end(&by(&signature["key"])))]),
        ("an end with the name of another key", vec![offer(now.offer.end(&other))]),
        ("an end with the offer's signature", vec![offer(now.offer.end(signature))]),
        ("the end of another session", vec![offer(end.with(end.signature()))]),
        (
            "the end of an ended session",
            vec![RawMessage::new(
                format!("$KV.runner-offers.{}", old.offer.token),
                end.with(end.signature()),
            )],
        ),
        ("an offer without a signature", vec![offer(now.offer.with(&Value::Null))]),
        ("an offer with the name of another key", vec![offer(now.offer.with(&other))]),
        ("the offer of another session", vec![offer(old.offer.with(old.offer.signature()))]),
        ("the same joins", again.collect()),
        ("joins of another user", other_user.collect()),
        ("joins with many slots", joins(&|join| join["slots"] = 4_096.into())),
        ("joins with another key", joins(&|join| join["key"] = vec![7; 32].into())),
        ("spare joins", joins(&|join| join["is_spare"] = (join["is_spare"] != true).into())),
        ("answers to joins", now.joins.iter().flat_map(|join| false_answers(join, old)).collect()),
        (
            "no responders to joins",
            now.joins.iter().map(|join| status(&join.reply, "503")).collect(),
        ),
        ("a stream of all messages", vec![call("STREAM.CREATE.spy", &spy)]),
        ("deleted streams", deletions.collect()),
    ]
}

fn put_all(attackers: &mut [Attacker; 2], forgeries: &Forgeries) {
    for (name, messages) in forgeries {
        assert!(!messages.is_empty(), "there are no {name}");
        for attacker in &mut *attackers {
            messages.iter().for_each(|message| attacker.publisher.put(message));
        }
    }
}

/// Writes a scenario of four attempts that take `ms` milliseconds each.
fn long_attempts(runner: &Runner, ms: usize) {
    runner.scenario(&format!(
        r#"
        [providers.hostile]
        plugin = "hostile.wasm"
        [[tests]]
        id = "long"
        repeat = 4
        timeout = "3m"
        input = {{ do = "sleep", ms = {ms} }}
        expect = {{ equals = "slept" }}
        "#
    ));
}

/// Returns the number of processes of a worker with two slots: at most one per core, and a spare one.
fn processes() -> usize {
    available_parallelism().map_or(1, usize::from).min(2) + 1
}

/// Fails unless each trial has one row, and `workers` have executed all.
#[track_caller]
fn assert_undisturbed(run: &Run, trials: usize, workers: &[&str]) {
    let rows = run.rows();
    let is_first = |row: &Value| row["attempt"] == 1 && row["outcome"] == "passed";
    assert!(rows.len() == trials && rows.iter().all(is_first), "{rows:?}");
    assert_eq!(used_workers(run), workers);
}

#[test]
fn forgeries_end_no_attempt() {
    let honest = Honest::new();
    let worker = honest.worker("a");
    let mut attackers = Rights::EACH.map(|rights| Attacker::at(&honest.broker, rights));
    let old = honest.record(&attackers[1], &[]);
    // An end without a subscription is dead after 4 s, and a silent one after 60 s.
    long_attempts(&honest.runner, times(10_000, 65_000));
    let mut running = honest.start(&["--into", "long/run"]);
    let offer = attackers[1].wait_for_offer(&[&old.offer.token]);
    let run = Run { dir: honest.runner.path("long/run") };
    wait_until("attempts run", || run.in_flight(UNIX_EPOCH).len() == 2);
    let now = wait_for("all processes have joined, and one has sent a receipt", || {
        let now = attackers[1].record(&offer);
        let mut pieces = now.links.iter().flat_map(|link| &link.pieces);
        let has_receipt = pieces.any(|piece| piece.payload.len() == 49);
        (now.links.len() >= processes() && has_receipt).then_some(now)
    });
    put_all(&mut attackers, &forged_documents(&old, &now));
    let other = honest.worker("b");
    let pieces = forged_pieces(&old, &now);
    while running.is_alive() {
        put_all(&mut attackers, &pieces);
        // The interval of attacks.
        sleep(Duration::from_millis(times(50, 500) as u64));
    }
    running.finish().expect(0);
    assert_undisturbed(&run, 4, &["a", "b"]);
    for (worker, runs) in [(worker, 2), (other, 1)] {
        let (ran, _) = worker.end_by(Signal::INT);
        assert_eq!(ran.stderr.matches("joined run").count(), runs, "{}", ran.stderr);
    }
}

#[test]
fn raced_joins_and_answers_change_no_row() {
    let honest = Honest::new();
    let worker = honest.worker("a");
    let attacker = Attacker::at(&honest.broker, Rights::All);
    let old = Arc::new(honest.record(&attacker, &[]));
    numbered(&honest.runner, times(20, 500), 5);
    let expected = alone(&honest.runner);
    let _attackers = Rights::EACH.map(|rights| {
        let old = Arc::clone(&old);
        Attacker::reacting(&honest.broker, rights, move |join, publisher| {
            if !join.subject.starts_with("runner.join.") || join.reply == EVIL {
                return;
            }
            false_answers(join, &old).iter().for_each(|answer| publisher.put(answer));
            publisher.put(&RawMessage { reply: EVIL.to_owned(), ..join.clone() });
            for (key, value) in [
                ("slots", json!(4_096)),
                ("memory", json!(u64::MAX)),
                ("is_spare", json!(true)),
                ("is_spare", json!(false)),
                ("key", vec![7; 32].into()),
            ] {
                let mut document: Value = serde_json::from_slice(&join.payload).unwrap();
                document[key] = value;
                let changed = with(join, document.to_string());
                publisher.put(&RawMessage { reply: EVIL.to_owned(), ..changed });
            }
        })
    });
    // Slow, so that the attackers are always faster.
    let cable = Cable::slow(&honest.broker);
    let address = cable.address().replace("nats://", "nats://runs:p@");
    let flags = ["--broker", &address, "--broker-key", "runs.key", "--into", "raced/run"];
    honest.runner.exec(&flags).expect(0);
    let run = Run { dir: honest.runner.path("raced/run") };
    assert_eq!(canonical(&run), expected);
    assert_undisturbed(&run, expected.len(), &["a"]);
    worker.end_by(Signal::INT).0.expect(0);
}

#[test]
fn status_before_the_answer_delays_no_join() {
    let honest = Honest::new();
    numbered(&honest.runner, 1, 1);
    let _worker = honest.worker("a");
    let _attacker = Attacker::reacting(&honest.broker, Rights::Workers, |join, publisher| {
        if join.subject.starts_with("runner.join.") {
            publisher.put(&status(&join.reply, "503"));
        }
    });
    // Slow, so that the attacker is always faster.
    let cable = Cable::slow(&honest.broker);
    let address = cable.address().replace("nats://", "nats://runs:p@");
    let flags = ["--broker", &address, "--broker-key", "runs.key", "--wait-for-workers", "8s"];
    // A worker gives up a second after the status, and joins 10 s later. A slow machine may miss that second in some runs.
    wait_until("a run is joined at once", || honest.runner.exec(&flags).code == Some(0));
}

#[test]
fn refusal_of_another_session_is_ignored() {
    let honest = Honest::new();
    numbered(&honest.runner, 1, 1);
    let mut attacker = Attacker::at(&honest.broker, Rights::Workers);
    let waiting = honest.start(&["--into", "runs/waiting", "--worker-label", "has=none"]);
    let other = attacker.wait_for_offer(&[]).token;
    let running = honest.start(&["--into", "runs/suspended"]);
    let token = attacker.wait_for_offer(&[&other]).token;
    // As if the attacker were faster.
    running.process().signal(Signal::STOP);
    let worker = honest.worker("a");
    wait_until("the processes request to join", || attacker.joins(&token).len() >= processes());
    let subject = format!("runner.join.{other}.workers");
    for join in attacker.joins(&token) {
        attacker.publisher.put(&RawMessage { subject: subject.clone(), ..join });
    }
    // The session answers in order.
    let last = RawMessage::new(&*subject, "garbage");
    attacker.publisher.put(&RawMessage { reply: EVIL.to_owned(), ..last });
    attacker.wait_for("the last answer", |message| message.subject == EVIL);
    running.process().signal(Signal::CONT);
    wait_until("the worker joins", || {
        assert!(!worker.shown().contains("declined"), "{}", worker.shown());
        worker.shown().contains("joined run")
    });
    running.finish().expect(0);
    waiting.end_by(Signal::INT);
}

#[test]
fn answers_are_sent_only_to_inboxes() {
    let honest = Honest::new();
    numbered(&honest.runner, 1, 1);
    let [mut workers, mut all] = Rights::EACH.map(|rights| Attacker::at(&honest.broker, rights));
    let running = honest.start(&[]);
    let token = workers.wait_for_offer(&[]).token;
    all.publisher.publish("$O.runner-blobs.C.part", b"x");
    let mut parts = || {
        all.publisher.call("STREAM.INFO.OBJ_runner-blobs", &json!({}))["state"]["messages"].clone()
    };
    wait_until("there is a part of a blob", || parts() == 1);
    // The attacker itself may not purge. The coordinator publishes its answer on the subject in the request.
    for reply in ["$JS.API.STREAM.PURGE.OBJ_runner-blobs", "$KV.runner-offers.reply", EVIL] {
        let join = RawMessage::new(format!("runner.join.{token}.workers"), "garbage");
        workers.publisher.put(&RawMessage { reply: reply.to_owned(), ..join });
    }
    workers.wait_for("the last answer", |message| message.subject == EVIL);
    assert_eq!(parts(), 1);
    assert!(workers.seen(|message| message.subject == "$KV.runner-offers.reply").is_empty());
    running.end_by(Signal::INT);
}

#[test]
fn changed_bytes_of_an_offer_start_no_second_session() {
    let honest = Honest::new();
    let mut worker = honest.worker("a");
    let mut attackers = Rights::EACH.map(|rights| Attacker::at(&honest.broker, rights));
    long_attempts(&honest.runner, 60_000);
    let mut running = honest.start(&[]);
    let offer = attackers[1].wait_for_offer(&[]);
    running.wait_until_running(&honest.runner, 2);
    wait_until("the processes have requested to join", || {
        attackers[1].joins(&offer.token).len() >= processes()
    });
    let joins = attackers[1].joins(&offer.token).len();
    let text = offer.with(offer.signature());
    let changed = text.replacen('{', "{\"more\":1,", 1);
    let subject = format!("$KV.runner-offers.{}", offer.token);
    for attacker in &mut attackers {
        for content in [&*changed, &format!("{text} "), &format!("\n{text}")] {
            attacker.publisher.publish(&subject, content.as_bytes());
        }
    }
    refuse_last(&mut worker, &mut attackers[1]);
    running.end_by(Signal::INT);
    let (ran, _) = worker.end_by(Signal::INT);
    assert_eq!(ran.stderr.matches("joined run").count(), 1, "{}", ran.stderr);
    assert_eq!(attackers[1].joins(&offer.token).len(), joins);
}

#[test]
fn refused_offers_leave_room_for_runs() {
    let honest = Honest::new();
    numbered(&honest.runner, 1, 1);
    let mut worker = honest.worker("a");
    let mut attacker = Attacker::at(&honest.broker, Rights::Workers);
    let mut offer = |number: u32| {
        let token = format!("{number:016x}");
        let document = json!({"v": 1, "version": env!("CARGO_PKG_VERSION"), "token": token,
            "run": "refused", "labels": {}, "host": "h", "is_over": false});
        let offer = json!({"document": document.to_string(), "signature": null}).to_string();
        attacker.publisher.publish(&format!("$KV.runner-offers.{token}"), offer.as_bytes());
    };
    (0..5_000).for_each(&mut offer);
    wait_for_message(&mut worker, "declined run refused");
    let mut running = honest.start(&["--wait-for-workers", "60s"]);
    let mut renewed = Instant::now();
    wait_until("the run ends", || {
        if renewed.elapsed() > Duration::from_secs(2) {
            (0..5_000).for_each(&mut offer);
            renewed = Instant::now();
        }
        !running.is_alive()
    });
    running.finish().expect(0);
}

#[test]
fn swapped_attachment_ends_no_attempt() {
    let honest = Honest::new();
    let runner = &honest.runner;
    runner.write("note.txt", "attached");
    runner.scenario(
        r#"
        [providers.hostile]
        plugin = "hostile.wasm"
        [[tests]]
        id = "long"
        input = { do = "sleep", ms = 4000 }
        expect = { equals = "slept" }
        [[tests]]
        id = "short"
        input = { do = "sleep", ms = 1000 }
        [[tests]]
        id = "files"
        input = { do = "sleep", ms = 1 }
        files = { "note.txt" = "note.txt" }
        "#,
    );
    let over = Arc::<AtomicBool>::default();
    let is_over = Arc::clone(&over);
    let _attacker =
        Attacker::reacting(&honest.broker, Rights::Workers, move |message, publisher| {
            if !is_over.load(Ordering::SeqCst) {
                swap(message, publisher, b"swapped");
            }
        });
    let worker = honest.worker("a");
    let mut running = honest.start(&["--wait-for-workers", "30s"]);
    let rows = || runner.runs().first().map(|run| run.rows_of("long")).unwrap_or_default();
    wait_until("the long attempt ends", || !rows().is_empty() || !running.is_alive());
    let rows = rows();
    assert!(rows.len() == 1 && rows[0]["outcome"] == "passed", "{rows:?}");
    over.store(true, Ordering::SeqCst);
    running.finish().expect(0);
    worker.end_by(Signal::INT).0.expect(0);
}

#[test]
fn store_without_room_ends_no_attempt() {
    let honest = Honest::new();
    let runner = &honest.runner;
    // Most of the time the worker runs no attempt, and few are reported before they end.
    runner.scenario(
        r#"
        [providers.hostile]
        plugin = "hostile.wasm"
        rate = "10/min"
        [[tests]]
        id = "short"
        repeat = 4
        input = { do = "sleep", ms = 200 }
        "#,
    );
    let mut attacker = Attacker::at(&honest.broker, Rights::Workers);
    // Before the first run of the broker, or after it has lost its store.
    let blobs = json!({"name": "OBJ_runner-blobs", "max_bytes": 1, "discard": "new",
        "subjects": ["$O.runner-blobs.C.>", "$O.runner-blobs.M.>"], "allow_rollup_hdrs": true,
        "allow_direct": true});
    attacker.publisher.call("STREAM.CREATE.OBJ_runner-blobs", &blobs);
    let worker = honest.worker("a");
    let mut running = honest.start(&[]);
    running.wait_for_rows(1);
    // It lacks the plugin.
    let _other = honest.new_worker("b");
    let ran = running.finish();
    let rows = runner.only_run().rows();
    let is_first = |row: &Value| row["attempt"] == 1 && row["outcome"] == "passed";
    assert!(rows.len() == 4 && rows.iter().all(is_first), "{rows:?}\n{ran:?}");
    assert_eq!(ran.stdout.matches("has no space left").count(), 1, "{ran:?}");
    worker.end_by(Signal::INT).0.expect(0);
}
