//! Golden bytes of each frame, and invalid frames.

use proptest::prelude::*;

use super::{
    BadFrame, Doing, FromWorker, Hello, Line, Message, PREFIX, ReportHead, Sender, SlotWord, Task,
    TaskKind, TimeoutRule, ToWorker, read_prefix,
};
use crate::{
    Digest, GuestPhase, HostFault, Micros, TaskId, TrialId,
    prepare::{Prepare, Ready, SecretValues},
    recent_output::RecentOutput,
};

fn task() -> Task {
    Task {
        id: TaskId(300),
        trial: TrialId::parse("a@p#2").unwrap(),
        provider: 1,
        attempt: 3,
        tries: 1,
        seed: 7,
        random: None,
        timeout: Micros(60_000_000),
        timeout_rule: TimeoutRule::TrialTimeout,
        kind: TaskKind::Grade,
        line: Line::Bytes(2),
        row_bytes: 3,
        recorded: None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn to_worker() -> Vec<(ToWorker, &'static str)> {
    let prepare = Prepare {
        run: "r".into(),
        session: 1,
        cache: "/c".into(),
        blobs: "/b".into(),
        scratch: "/s".into(),
        slots: 2,
        grader_slots: 0,
        memory: 3,
        grace: Micros(4),
        describe: true,
        quick: false,
        providers: Vec::new(),
        secrets: SecretValues::default(),
    };
    let json = r#"{"run":"r","session":1,"cache":"/c","blobs":"/b","scratch":"/s","slots":2,"grader_slots":0,"memory":3,"grace":4,"describe":true,"quick":false,"providers":[],"secrets":{}}"#;
    let digest = Digest([9; 32]);
    vec![
        (ToWorker::Prepare(Box::new(prepare)), Box::leak(hex(json.as_bytes()).into_boxed_str())),
        (
            ToWorker::Tasks { tasks: vec![task()], body: b"{}{1}".to_vec() },
            "01ac0201610170020103010700808ece1c020100020300",
        ),
        (ToWorker::TakeBack { keep: 300 }, "ac02"),
        (ToWorker::Pause(true), "01"),
        (ToWorker::Stop { grace: Micros(1), kill: true }, "0101"),
        (
            ToWorker::PluginReady(digest),
            "0909090909090909090909090909090909090909090909090909090909090909",
        ),
        (
            ToWorker::BlobReady(digest),
            "0909090909090909090909090909090909090909090909090909090909090909",
        ),
        (ToWorker::Finish { teardown: false }, "00"),
        (ToWorker::EntryKept(TaskId(300)), "ac02"),
    ]
}

fn from_worker() -> Vec<(FromWorker, &'static str)> {
    let hello = r#"{"version":"2.0.0","compile_key":"0123456789abcdef"}"#;
    let head = ReportHead {
        task: TaskId(1),
        row_bytes: 2,
        log_bytes: 1,
        host_fault: Some(HostFault::Files),
    };
    let output = Some(RecentOutput { bytes: 300, text: "y".into() });
    let doing = Doing { task: TaskId(5), phase: GuestPhase::Waiting, word: "x".into(), output };
    let digest = Digest([9; 32]);
    vec![
        (
            FromWorker::Hello(Hello {
                version: "2.0.0".into(),
                compile_key: "0123456789abcdef".into(),
            }),
            Box::leak(hex(hello.as_bytes()).into_boxed_str()),
        ),
        (
            FromWorker::Ready(Ready::default()),
            Box::leak(
                hex(br#"{"providers":[],"wall":{"landlock":0,"seccomp":false}}"#).into_boxed_str(),
            ),
        ),
        (
            FromWorker::NeedPlugin(digest),
            "0909090909090909090909090909090909090909090909090909090909090909",
        ),
        (
            FromWorker::NeedBlob(digest),
            "0909090909090909090909090909090909090909090909090909090909090909",
        ),
        (FromWorker::Returned(vec![TaskId(1), TaskId(300)]), "0201ac02"),
        (FromWorker::Artifact { task: TaskId(1), index: 2, bytes: vec![3] }, "010203"),
        (
            FromWorker::Report { head, body: b"{}x".to_vec() },
            "010201010a686f73742d66696c65737b7d78",
        ),
        (FromWorker::Doing(vec![doing]), "01050777616974696e67017801ac020179"),
        (FromWorker::Log("x".into()), "78"),
        (FromWorker::Bye, ""),
        (FromWorker::Entry { task: TaskId(1), is_last: true, bytes: vec![3] }, "010103"),
    ]
}

#[test]
fn each_frame_has_its_golden_bytes() {
    for (at, (message, golden)) in to_worker().into_iter().enumerate() {
        let mut frame = vec![0xff];
        message.encode(&mut frame);
        let (prefix, rest) = frame[1..].split_first_chunk().unwrap();
        let (kind, length) = read_prefix(*prefix, Sender::Supervisor).unwrap();
        assert_eq!((usize::from(kind), length), (at + 1, rest.len()));
        // The body follows the golden head.
        assert!(hex(rest).starts_with(golden), "{message:?}: {}", hex(rest));
        assert_eq!(ToWorker::decode(kind, rest), Ok(message));
    }
    for (at, (message, golden)) in from_worker().into_iter().enumerate() {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        let (prefix, rest) = frame.split_first_chunk().unwrap();
        let (kind, length) = read_prefix(*prefix, Sender::Worker).unwrap();
        assert_eq!((usize::from(kind), length), (at + 65, rest.len()));
        assert_eq!(hex(rest), golden, "{message:?}");
        assert_eq!(FromWorker::decode(kind, rest), Ok(message));
    }
}

#[test]
fn lengths_and_kinds_are_checked_before_anything_is_read() {
    let prefix = |length: u32, kind: u8| {
        let [a, b, c, d] = length.to_le_bytes();
        [a, b, c, d, kind]
    };
    assert_eq!(read_prefix(prefix(1, 71), Sender::Supervisor), Err(BadFrame::Kind(71)));
    assert_eq!(read_prefix(prefix(1, 1), Sender::Worker), Err(BadFrame::Kind(1)));
    assert_eq!(read_prefix(prefix(0, 99), Sender::Worker), Err(BadFrame::Kind(99)));
    for kind in 65..=74 {
        assert!(matches!(
            read_prefix(prefix(u32::MAX, kind), Sender::Worker),
            Err(BadFrame::TooLong { .. })
        ));
    }
}

#[test]
fn bodies_must_have_the_length_in_their_heads() {
    let mut frame = Vec::new();
    ToWorker::Tasks { tasks: vec![task()], body: b"{}{".to_vec() }.encode(&mut frame);
    assert_eq!(ToWorker::decode(2, &frame[PREFIX..]), Err(BadFrame::Content(2)));
    frame.clear();
    let head =
        ReportHead { task: TaskId(1), row_bytes: u32::MAX, log_bytes: u32::MAX, host_fault: None };
    FromWorker::Report { head, body: b"{}".to_vec() }.encode(&mut frame);
    assert_eq!(FromWorker::decode(71, &frame[PREFIX..]), Err(BadFrame::Content(71)));
}

#[test]
fn a_slot_is_read_as_it_was_written() {
    let word = SlotWord { task: 1 << 40, started: 3 };
    assert_eq!(SlotWord::decode(word.encode()), word);
    assert_eq!(SlotWord::decode([0; 16]), SlotWord::default());
}

proptest! {
    #[test]
    fn garbage_is_refused_without_a_panic(kind in 0_u8..80, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = FromWorker::decode(kind, &bytes);
        let _ = ToWorker::decode(kind, &bytes);
    }
}
