use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use runner_engine::remote::{
    Blame, EventSink, LinkEvent, SourceEvent, WorkerExit, WorkerSource as _,
};
use runner_model::protocol::{Doing, FromWorker, ReportHead};
use runner_model::{GuestPhase, TaskId};

use super::{NatsSource, OUR_VERSION, is_process_name, parse, problem};
use crate::address::BrokerOptions;
use crate::broker::lock;
use crate::channel::Incoming;
use crate::remote_worker::{LinkReader, MAX_NOTICES, Notices};
use crate::wire::{Control, ExitDocument, JoinDocument, VERSION};

const SESSION: &str = "0123456789abcdef";

fn joining() -> JoinDocument {
    JoinDocument {
        v: VERSION,
        version: OUR_VERSION.to_owned(),
        name: "gpu-3f2a/1".to_owned(),
        session: SESSION.to_owned(),
        key: [1; 32],
        slots: 4,
        memory: 1 << 30,
        is_spare: false,
    }
}

#[test]
fn command_for_workers_connects_as_the_run_does() {
    let address = "nats://runs:secret@10.0.0.2".to_owned();
    let options = BrokerOptions { address, insecure: true, ..BrokerOptions::default() };
    let labels = BTreeMap::from([("gpu".to_owned(), "yes".to_owned())]);
    let source = NatsSource { options, labels, key: None, is_away: true };
    let command = "runner worker --broker nats://10.0.0.2 --broker-insecure --label gpu=yes";
    assert_eq!(source.worker_command(), command);
}

#[test]
fn invalid_joins_are_refused_with_the_reason() {
    assert_eq!(problem(&joining(), SESSION), None);
    let version = || JoinDocument { version: "0.0.1\u{1b}".into(), ..joining() };
    let refusal = problem(&version(), SESSION).unwrap();
    assert!(refusal.contains(r"0.0.1\u{1b}") && refusal.contains(OUR_VERSION), "{refusal}");
    for join in [
        JoinDocument { v: VERSION + 1, ..joining() },
        JoinDocument { name: "gpu-3f2a".into(), ..joining() },
        JoinDocument { session: "0123456789abcdee".into(), ..joining() },
        JoinDocument { slots: 0, ..joining() },
        JoinDocument { slots: u32::MAX, ..joining() },
        JoinDocument { memory: 0, ..joining() },
    ] {
        assert!(problem(&join, SESSION).is_some(), "{join:?}");
    }
    let document = serde_json::to_vec(&joining()).unwrap();
    assert_eq!(parse(&document), Ok(joining()));
    for bad in [&document[1..], b"{}", &[b' '; 70_000]] {
        parse(bad).unwrap_err();
    }
}

#[test]
fn process_names_have_a_plain_worker_and_a_number() {
    let longest = "n".repeat(128);
    for worker in ["a", "gpu-3f2a", "node_1.example:2", &longest] {
        for number in ["0", "1", "4096", "65535"] {
            assert!(is_process_name(&format!("{worker}/{number}")), "{worker}/{number}");
        }
        for number in ["", "01", "x", "+1", "123456", "1/1", "1\n"] {
            assert!(!is_process_name(&format!("{worker}/{number}")), "{worker}/{number}");
        }
        assert!(!is_process_name(worker), "{worker}");
    }
    for worker in ["", " ", "a b", "a/1", "\u{1b}[31m", "é", "a\n", "a\0", &"n".repeat(129)] {
        assert!(!is_process_name(&format!("{worker}/1")), "{worker}");
    }
}

/// Notices that arrive in the result.
fn notices() -> (Arc<Notices>, mpsc::Receiver<String>) {
    let (sender, received) = mpsc::channel();
    let sender = Mutex::new(sender);
    let events = Box::new(move |event| match event {
        SourceEvent::Notice(notice) => lock(&sender).send(notice).unwrap(),
        SourceEvent::Joined(joining) => panic!("{}", joining.name),
    });
    (Arc::new(Notices { events, sent: Mutex::default() }), received)
}

#[test]
fn notices_are_sent_once_and_bounded() {
    let (notices, received) = notices();
    for round in 0..2 {
        for worker in 0..MAX_NOTICES + round * 1_000 {
            notices.send(format!("worker {worker}"));
        }
    }
    let received: Vec<_> = received.try_iter().collect();
    assert_eq!(received.len(), MAX_NOTICES + 1);
    assert!(received.last().unwrap().contains("not shown"));
}

/// Runs a link through these messages. Returns the messages of the worker, its exit, and the notices.
fn forwarded(incoming: Vec<Incoming>) -> (Vec<FromWorker>, WorkerExit, Vec<String>) {
    let (sender, mut received) = tokio::sync::mpsc::channel(100);
    incoming.into_iter().for_each(|message| sender.try_send(message).ok().unwrap());
    drop(sender);
    let (notices, noticed) = notices();
    let mut reader = LinkReader {
        name: "gpu-3f2a/7".into(),
        running: Arc::default(),
        notices,
        requested: HashSet::new(),
        stored: Arc::default(),
    };
    let (events, messages) = mpsc::channel();
    let sink: EventSink = Box::new(move |event| match event {
        LinkEvent::Messages(messages) => events.send(messages).unwrap(),
        LinkEvent::Exited(exit) => panic!("{exit:?}"),
    });
    let exit = reader.forward(&mut received, &sink);
    (messages.try_iter().flatten().collect(), exit, noticed.try_iter().collect())
}

fn frames(messages: &[FromWorker]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| message.encode(&mut bytes));
    bytes
}

fn doing(tasks: &[u64]) -> FromWorker {
    let doing = |task: &u64| Doing {
        task: TaskId(*task),
        phase: GuestPhase::Computing,
        word: String::new(),
        output: None,
    };
    FromWorker::Doing(tasks.iter().map(doing).collect())
}

#[test]
fn frames_in_pieces_become_messages() {
    let messages = [FromWorker::Log("x".repeat(60_000)), doing(&[1]), FromWorker::Bye];
    let bytes = frames(&messages);
    let pieces = bytes.chunks(7_001).map(|piece| Incoming::Frames(piece.to_vec()));
    let (received, exit, _) = forwarded(pieces.collect());
    assert_eq!(received, messages);
    assert_eq!(exit.how, "was disconnected");
}

#[test]
fn broken_links_have_running_tasks_and_no_blame() {
    let head = ReportHead { task: TaskId(2), row_bytes: 0, log_bytes: 0, host_fault: None };
    let report = FromWorker::Report { head, body: Vec::new() };
    let running = frames(&[doing(&[1, 2, 3]), doing(&[2, 3]), report, FromWorker::Bye]);
    let with_bad = [running.as_slice(), b"this is not a frame"].concat();
    for (bytes, end) in [
        (&running, Some(Incoming::Lost("has not sent anything".into()))),
        (&running, Some(Incoming::Control(Control::Close))),
        (&running, None),
        (&with_bad, None),
    ] {
        let incoming = [Some(Incoming::Frames(bytes.clone())), end].into_iter().flatten();
        let (received, exit, notices) = forwarded(incoming.collect());
        assert_eq!(received.len(), 4);
        assert_eq!((exit.blame, notices.len()), (None, 0));
        assert_eq!(exit.started.iter().map(|word| word.task).collect::<Vec<_>>(), [3]);
    }
}

#[test]
fn exits_keep_the_blame_of_the_supervisor() {
    let how = "was killed\nby signal 9".to_owned();
    let exit = ExitDocument { started: vec![(5, 1_000)], died: false, stuck: Some(5), how };
    let (_, exit, _) = forwarded(vec![
        Incoming::Frames(frames(&[doing(&[1])])),
        Incoming::Control(Control::Exited(exit)),
    ]);
    assert_eq!(exit.blame, Some(Blame::Stuck(TaskId(5))));
    assert_eq!(exit.started.iter().map(|word| word.task).collect::<Vec<_>>(), [5]);
    assert_eq!(exit.how, r"was killed\nby signal 9");
}

#[test]
fn declining_workers_are_named_with_their_reason() {
    let declined = Control::Declined("its ceiling lacks\u{1b} net".into());
    let (_, exit, notices) = forwarded(vec![Incoming::Control(declined)]);
    assert_eq!((exit.blame, exit.started.len()), (None, 0));
    assert_eq!(
        notices,
        [r"worker gpu-3f2a runs no attempts of this run: its ceiling lacks\u{1b} net"]
    );
}

#[test]
fn nested_json_fits_the_stack_of_a_link() {
    // The deepest `Ready` that the parser accepts.
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for levels in [100, 10_000] {
        let json = format!(
            r#"{{"providers":[{{"provider":0,"description":{{"name":"","version":"","summary":"","config_schema":{}}}}}],
            "wall":{{"landlock":0,"seccomp":false}}}}"#,
            nested(levels)
        );
        let mut frame = (json.len() as u32).to_le_bytes().to_vec();
        frame.push(66);
        frame.extend_from_slice(json.as_bytes());
        let link = thread::Builder::new().stack_size(super::STACK);
        let link = link.spawn(move || forwarded(vec![Incoming::Frames(frame)])).unwrap();
        let (received, ..) = link.join().unwrap();
        assert_eq!(received.len(), usize::from(levels == 100));
    }
}
