//! A line or a report of any content is a row or is refused, and an accepted row makes a line that can be read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_model::{
    Fingerprint, Limits, Micros, RowRef, Tail, TaskId,
    protocol::{Line, Task, TaskKind, TimeoutRule},
    row::{check_row, read_head, read_line},
};

fuzz_target!(|bytes: &[u8]| {
    let _ = read_line(bytes);
    let _ = read_head(bytes);
    let Ok(row) = serde_json::from_slice::<RowRef<'_>>(bytes) else {
        return;
    };
    let task = Task {
        id: TaskId(1),
        trial: row.trial.clone(),
        provider: 0,
        attempt: row.attempt,
        tries: row.attempt,
        seed: 0,
        random: None,
        timeout: Micros(1),
        timeout_rule: TimeoutRule::Timeout,
        kind: TaskKind::Run,
        line: Line::Bytes(0),
        row_bytes: 0,
        recorded: None,
    };
    if check_row(bytes, &task, &Limits::default()).is_ok() {
        let fingerprint = Fingerprint::parse(&"0".repeat(32)).expect("it has 32 digits");
        let tail = Tail {
            fingerprint,
            judgement_fingerprint: fingerprint,
            judged: None,
            worker: None,
            stopped_by: None,
            logs: None,
            flaky: false,
            r#final: true,
            session: 1,
            seq: 1,
        };
        let mut line = bytes.to_vec();
        tail.finish(&mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        assert!(read_line(&line).is_ok());
    }
});
