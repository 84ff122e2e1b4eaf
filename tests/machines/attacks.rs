//! Attackers with the credentials of workers, or with all credentials of the broker and without the key of the runs. They start
//! nothing at workers of others.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::attacker::{
    Attacker, EVIL, Publisher, Recorded, Rights, SeenOffer, address, answer, bridge,
    broker_with_users, link_of,
};
use super::network::{
    Broker, RawMessage, join_request, numbered, start_worker, started, used_workers,
    wait_for_message, worker_command,
};
use super::support::{
    guests::printing,
    run::Run,
    runner::Runner,
    running::Running,
    truth::assert_whole,
    wait::{wait_for, wait_until},
};

/// Creates a key for runs. Returns its public key.
fn new_key(runner: &Runner, file: &str) -> String {
    runner.run(&["broker", "key", file]).expect(0).stdout.trim().to_owned()
}

/// A broker, a runner whose runs are signed, and a folder and a secret of its workers.
pub(crate) struct Honest {
    pub(crate) runner: Runner,
    pub(crate) broker: Broker,
    pub(crate) public: String,
}

impl Honest {
    pub(crate) fn new() -> Self {
        let runner = Runner::new(&["hostile"]);
        let public = new_key(&runner, "runs.key");
        fs::create_dir(runner.path("data")).unwrap();
        runner.write("worker.env", "KEY=secret of the worker");
        Self { runner, broker: broker_with_users(), public }
    }

    fn data(&self) -> PathBuf {
        self.runner.path("data").canonicalize().unwrap()
    }

    /// Starts a worker that gives its secret and its folder to any run.
    #[track_caller]
    fn worker_of(&self, user: &str, name: &str, args: &[&str]) -> Running {
        let folder = format!("fs={}:rw", self.data().to_str().unwrap());
        let ceiling = ["--ceiling", &folder, "--ceiling", "secret=KEY", "--secret-file"];
        let args = [&ceiling[..], &["worker.env"], args].concat();
        start_worker(&self.runner, &address(&self.broker, user), name, &args)
    }

    /// Starts such a worker that accepts signed runs.
    #[track_caller]
    pub(crate) fn worker(&self, name: &str) -> Running {
        self.worker_of("workers", name, &["--broker-key", &self.public])
    }

    /// Starts a worker on a machine that has not compiled any plugin.
    #[track_caller]
    pub(crate) fn new_worker(&self, name: &str) -> Running {
        let address = address(&self.broker, "workers");
        let args = ["--broker-key", &self.public, "-j2"];
        let mut command = worker_command(&self.runner, &address, name, &args);
        command.env("RUNNER_CACHE", self.runner.path(&format!("cache-{name}")));
        started(Running::start(&mut command))
    }

    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let flags = ["--broker", &address(&self.broker, "runs"), "--broker-key", "runs.key"];
        self.runner.start(&[&flags, args].concat())
    }

    /// Executes a run with a single trial, which an attacker records.
    #[track_caller]
    pub(crate) fn record(&self, attacker: &Attacker, known: &[&str]) -> Recorded {
        numbered(&self.runner, 1, 1);
        let running = self.start(&[]);
        let offer = attacker.wait_for_offer(known);
        running.finish().expect(0);
        attacker.wait_for("the end of the session", |message| {
            SeenOffer::parse(message).is_some_and(|end| end.token == offer.token && end.is_over())
        });
        attacker.record(&offer)
    }
}

/// A run of an attacker at a broker of its own. Its plugin writes into the folder of the worker, and returns the secret.
struct Intruder {
    runner: Runner,
    broker: Broker,
    offer: SeenOffer,
    /// File that the plugin writes.
    mark: PathBuf,
    running: Running,
}

impl Intruder {
    fn start(honest: &Honest, has_key: bool) -> Self {
        let (runner, broker) = (Runner::new(&["files"]), Broker::start());
        runner.scenario(&format!(
            r#"
            [providers.files]
            plugin = "files.wasm"
            limits = {{ scratch = "1MiB" }}
            [providers.files.grants]
            fs = [{{ path = {:?}, mount = "/data", mode = "rw" }}]
            env = {{ KEY = "{{{{secret.KEY}}}}" }}
            [[tests]]
            id = "a"
            input = [["write", "/data/mark", "x"], ["env"]]
            "#,
            honest.data()
        ));
        let attacker = Attacker::at(&broker, Rights::All);
        let mut flags = vec!["--broker".to_owned(), broker.address()];
        if has_key {
            new_key(&runner, "intruder.key");
            flags.extend(["--broker-key", "intruder.key"].map(ToOwned::to_owned));
        }
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let mut running = runner.start(&flags);
        wait_until("the session of the attacker is offered", || {
            assert!(running.is_alive(), "{}", running.shown());
            runner.runs().len() == 1
        });
        let offer = attacker.wait_for_offer(&[]);
        Self { runner, broker, offer, mark: honest.data().join("mark"), running }
    }

    /// Fails if an attempt of the run was executed.
    #[track_caller]
    fn assert_not_executed(self) {
        self.running.end_by(Signal::INT);
        assert!(self.runner.only_run().rows().is_empty());
        assert!(!self.mark.exists(), "its plugin was executed");
    }
}

#[test]
fn bridge_reaches_workers_without_a_key() {
    // Otherwise the tests of workers with a key would show nothing.
    let honest = Honest::new();
    let mut worker = honest.worker_of("workers", "a", &[]);
    let intruder = Intruder::start(&honest, false);
    let _attacker = Attacker::at(&honest.broker, Rights::Workers);
    bridge(&intruder.broker, &honest.broker, Rights::Workers, true);
    wait_for_message(&mut worker, "joined run");
    intruder.running.finish().expect(0);
    assert!(intruder.mark.exists());
    let row = intruder.runner.only_run().row("a");
    assert_eq!(row["output"][1]["ok"]["KEY"], "[secret KEY]", "{row}");
}

/// A way to publish an offer at a broker.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// With all rights.
    Published,
    /// By a stream that publishes its messages again.
    Republished,
    /// By a consumer of the bucket of workers, whose messages are delivered as offers.
    Delivered,
}

impl Way {
    const EACH: [Self; 3] = [Self::Published, Self::Republished, Self::Delivered];

    /// Offers `content` as the session `token`.
    fn offer(
        self,
        broker: &Broker,
        [workers, all]: &mut [Attacker; 2],
        token: &str,
        content: &str,
    ) {
        let offer = RawMessage::new(format!("$KV.runner-offers.{token}"), content);
        // A consumer delivers only while there is a subscription to exactly this subject.
        let mut listener = Rights::Workers.login(broker).client;
        listener.subscribe(&offer.subject);
        match self {
            Self::Published => all.publisher.put(&offer),
            Self::Republished => workers.publisher.put(&offer),
            Self::Delivered => {
                // The broker delivers an entry with its own subject.
                let entry = format!("$KV.runner-workers.{token}");
                workers.publisher.publish(&entry, content.as_bytes());
                let consumer = json!({"stream_name": "KV_runner-workers", "config": {
                    "deliver_subject": offer.subject, "filter_subject": entry,
                    "deliver_policy": "last", "ack_policy": "none"}});
                workers.publisher.call("CONSUMER.CREATE.KV_runner-workers", &consumer);
            }
        }
        while listener.receive().unwrap().payload != content.as_bytes() {}
    }
}

/// Returns forged offers, each with the token of its session. They have documents of an unsigned run and of one with another
/// key, and signatures of `recorded`.
fn forged_offers(
    recorded: &Recorded,
    unsigned: &SeenOffer,
    other: &SeenOffer,
) -> Vec<(&'static str, String, String)> {
    let signature = recorded.offer.signature();
    let by_key = |bytes: &Value| json!({"key": signature["key"], "bytes": bytes});
    let [evil, good] = [unsigned, &recorded.offer].map(|offer| &offer.signed["document"]);
    let two = |first: &Value, second: &Value| {
        format!("{{\"document\":{first},\"document\":{second},\"signature\":{signature}}}")
    };
    let answer = String::from_utf8(recorded.answers[0].payload.clone()).unwrap();
    let long: Value = vec![0; 65].into();
    let offers = [
        ("no signature", unsigned, unsigned.with(&Value::Null)),
        ("another key", other, other.with(other.signature())),
        ("the signature of another offer", unsigned, unsigned.with(signature)),
        ("a signature by another key", other, other.with(&by_key(&other.signature()["bytes"]))),
        ("an empty signature", unsigned, unsigned.with(&by_key(&json!([])))),
        ("a long signature", unsigned, unsigned.with(&by_key(&long))),
        ("two documents", unsigned, two(evil, good)),
        ("two documents in another order", unsigned, two(good, evil)),
        ("the name of another session", unsigned, recorded.offer.with(signature)),
        ("an answer to a join", unsigned, answer),
        ("an offer that has ended", &recorded.offer, recorded.offer.with(signature)),
    ];
    let offers = offers.into_iter();
    offers.map(|(name, offer, content)| (name, offer.token.clone(), content)).collect()
}

#[test]
fn forged_offers_start_nothing() {
    let honest = Honest::new();
    let mut worker = honest.worker("a");
    let mut attackers = Rights::EACH.map(|rights| Attacker::at(&honest.broker, rights));
    let intruders = [false, true].map(|has_key| Intruder::start(&honest, has_key));
    for intruder in &intruders {
        bridge(&intruder.broker, &honest.broker, Rights::All, false);
    }
    let mut ended: Vec<String> = Vec::new();
    for way in Way::EACH {
        let intruders_own = intruders.iter().map(|intruder| &*intruder.offer.token);
        let known: Vec<_> = intruders_own.chain(ended.iter().map(String::as_str)).collect();
        let recorded = honest.record(&attackers[1], &known);
        let token = recorded.offer.token.clone();
        ended.push(token.clone());
        let joined = || worker.shown().matches("joined run").count();
        wait_until("the worker has joined the run", || joined() == ended.len());
        for (name, token, content) in
            forged_offers(&recorded, &intruders[0].offer, &intruders[1].offer)
        {
            // A worker remembers the offers that it has refused, so each way has others.
            let content = format!("{content}{}", " ".repeat(ended.len()));
            way.offer(&honest.broker, &mut attackers, &token, &content);
            assert_eq!(joined(), ended.len(), "{way:?} with {name}");
        }
        // The worker has recorded the end of this session, and cannot know all ended ones. It requests to join.
        let joins = wait_for("the worker requests to join", || {
            let joins = attackers[1].joins(&token).split_off(recorded.joins.len());
            (!joins.is_empty()).then_some(joins)
        });
        for join in &joins {
            answer_falsely(join, &recorded, &intruders[1], &mut attackers[0].publisher);
        }
    }
    refuse_last(&mut worker, &mut attackers[1]);
    // It ends once no request to join waits for an answer.
    let (ran, _) = worker.end_by(Signal::INT);
    ran.says(&["declined run", "it is not signed", "its key is U"]);
    assert_eq!(ran.stderr.matches("joined run").count(), ended.len(), "{}", ran.stderr);
    let joins = attackers[1].seen(|message| message.subject.starts_with("runner.join."));
    let is_known = |join: &RawMessage| ended.iter().any(|token| join.subject.contains(token));
    assert!(joins.iter().all(is_known), "a forged offer was accepted: {joins:?}");
    intruders.into_iter().for_each(Intruder::assert_not_executed);
}

/// Waits until a worker has handled all offers so far.
pub(crate) fn refuse_last(worker: &mut Running, attacker: &mut Attacker) {
    let last = json!({"v": 1, "version": "", "token": "last", "run": "last", "labels": {},
        "host": "", "is_over": false});
    let last = json!({"document": last.to_string(), "signature": null}).to_string();
    attacker.publisher.publish("$KV.runner-offers.last", last.as_bytes());
    wait_for_message(worker, "declined run last: it is not signed");
}

/// Answers a request to join an ended session, and sends the pieces of its links.
fn answer_falsely(
    join: &RawMessage,
    recorded: &Recorded,
    other: &Intruder,
    publisher: &mut Publisher,
) {
    for forged in false_answers(join, recorded) {
        publisher.put(&forged);
    }
    // The coordinator of the other key answers that the session is not its own.
    let subject = format!("runner.join.{}.workers", other.offer.token);
    let request = str::from_utf8(&join.payload).unwrap();
    let refusal = Rights::All.login(&other.broker).client.request(&subject, &request);
    assert!(refusal["signature"]["key"].is_string(), "{refusal}");
    publisher.publish(&join.reply, refusal.to_string().as_bytes());
    for piece in recorded.links.iter().flat_map(|link| &link.pieces) {
        let direction = piece.subject.rsplit('.').next().unwrap();
        publisher.publish(&format!("runner.link.{}.{direction}", link_of(join)), &piece.payload);
    }
}

/// Returns answers to a request to join that no worker may accept.
pub(crate) fn false_answers(join: &RawMessage, recorded: &Recorded) -> Vec<RawMessage> {
    let signature: Value = serde_json::from_slice(&recorded.answers[0].payload).unwrap();
    let signature = &signature["signature"];
    let of_offer = recorded.offer.signature();
    let (key, zeros) = (&of_offer["key"], vec![0; 64]);
    let zeros = json!({"key": key, "bytes": zeros});
    let mut answers = vec![RawMessage::new(&*join.reply, "garbage")];
    for problem in [None, Some("the attacker does not like it")] {
        for signature in [&Value::Null, signature, of_offer, &zeros] {
            answers.push(answer(join, problem, signature));
        }
    }
    let recorded = recorded.answers.iter();
    answers.extend(recorded.map(|old| RawMessage { subject: join.reply.clone(), ..old.clone() }));
    answers
}

#[test]
fn swapped_plugin_is_not_executed() {
    for rights in Rights::EACH {
        let honest = Honest::new();
        let runner = &honest.runner;
        let worker = honest.new_worker("a");
        let words = format!("the words of the run for {rights:?}");
        runner.wat("plugin.wasm", &printing(&words));
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"plugin.wasm\"\n[[tests]]\nid = \"a\"\nexpect = {{ equals = {words:?} }}\n"
        ));
        let evil = wat::parse_str(printing("the words of the attacker")).unwrap();
        let swapped = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&swapped);
        let _attacker = Attacker::reacting(&honest.broker, rights, move |message, publisher| {
            // A process ends after eight wrong contents, and the worker declines the run after three such processes.
            if count.load(Ordering::SeqCst) < 3 && swap(message, publisher, &evil) {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        honest.start(&[]).finish().expect(0);
        // The worker may fetch the true content before the attacker has replaced it.
        assert!(swapped.load(Ordering::SeqCst) >= 1);
        let row = assert_whole(runner, 1).row("a");
        assert_eq!((&row["output"], &row["attempt"]), (&json!(words), &json!(1)));
        worker.end_by(Signal::INT).0.expect(0);
    }
}

/// Replaces a blob that was just stored. Returns whether the message is the last one of a stored blob.
pub(crate) fn swap(message: &RawMessage, publisher: &mut Publisher, content: &[u8]) -> bool {
    if !message.subject.starts_with("$O.runner-blobs.M.") {
        return false;
    }
    let mut about: Value = serde_json::from_slice(&message.payload).unwrap();
    let name = about["nuid"].as_str().unwrap_or_default().to_owned();
    if name.starts_with("evil") || about["deleted"] == true {
        return false;
    }
    about["nuid"] = format!("evil-{name}").into();
    (about["size"], about["chunks"]) = (content.len().into(), 1.into());
    publisher.publish(&format!("$O.runner-blobs.C.evil-{name}"), content);
    let headers = b"NATS/1.0\r\nNats-Rollup: sub\r\n\r\n".to_vec();
    let about = RawMessage::new(&*message.subject, about.to_string());
    publisher.put(&RawMessage { headers, ..about });
    true
}

#[test]
fn ends_without_a_common_key_name_the_reason() {
    let honest = Honest::new();
    let (one, two) = (&honest.public, new_key(&honest.runner, "two.key"));
    numbered(&honest.runner, 1, 1);
    let key_of_worker = ["--broker-key", one];
    for (number, (of_worker, of_run, declined, noticed)) in [
        (
            &key_of_worker[..],
            &["--broker-key", "two.key"][..],
            format!("its key is {two}, and the worker accepts {one}"),
            "none has the key of the run",
        ),
        (
            &[],
            &["--broker-key", "runs.key"],
            format!("it is signed, and the worker has no key; start the worker with `--broker-key {one}`"),
            "none has the key of the run",
        ),
        (
            &key_of_worker,
            &[],
            format!("it is not signed; start the run with `--broker-key FILE` and the file of {one}"),
            "none accepts unsigned runs; start the run with `--broker-key FILE`",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut worker = honest.worker_of("workers", "a", of_worker);
        let (address, folder) = (address(&honest.broker, "runs"), format!("results/{number}"));
        let flags = ["--broker", &address, "--wait-for-workers", "5s", "--into", &folder];
        let ran = honest.runner.exec(&[&flags, of_run].concat()).expect(4);
        ran.says(&[&format!("1 worker is connected, but {noticed}")]);
        let run = Run { dir: honest.runner.path(&folder) };
        assert!(run.text("runner.log").contains(noticed));
        assert!(run.rows().is_empty());
        wait_for_message(&mut worker, "declined run");
        let (ran, _) = worker.end_by(Signal::INT);
        ran.says(&[&format!("declined run {number}: {declined}")]);
        assert!(!ran.stderr.contains("joined run"), "{}", ran.stderr);
    }
}

#[test]
fn silent_joins_of_one_user_leave_room_for_others() {
    let honest = Honest::new();
    numbered(&honest.runner, 2, 1);
    let mut attacker = Attacker::at(&honest.broker, Rights::Workers);
    let of_runs = address(&honest.broker, "runs");
    let command = ["exec", "scenario.toml", "--broker", &of_runs, "--broker-key", "runs.key"];
    let mut running = honest.runner.started(&command);
    let token = attacker.wait_for_offer(&[]).token;
    for number in 0..3_000 {
        let join = join_request(&token, number, env!("CARGO_PKG_VERSION"));
        let join = RawMessage::new(format!("runner.join.{token}.workers"), join);
        attacker.publisher.put(&RawMessage { reply: EVIL.to_owned(), ..join });
    }
    let words = "the broker's user `workers` has 1024 worker processes in the session";
    wait_for_message(&mut running, "has 1024 worker processes");
    let answers = || attacker.seen(|message| message.subject == EVIL).len();
    let worker = honest.worker_of("others", "a", &["--broker-key", &honest.public]);
    running.finish().expect(0).says(&[words]);
    wait_until("the attacker has all answers", || answers() >= 1_024);
    assert_eq!(answers(), 1_024);
    let run = assert_whole(&honest.runner, 4);
    assert!(run.text("runner.log").contains(words));
    assert_eq!(used_workers(&run), ["a"]);
    worker.end_by(Signal::INT).0.expect(0);
}
