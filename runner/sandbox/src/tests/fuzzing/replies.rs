//! Replies of hostile commands.

use runner_model::{Limits, Micros};
use serde_json::Value;

use super::{Ending, protocol};
use crate::{
    interrupt::{Guard, Interrupt},
    store::Sandbox,
};

/// The input has the exit code and the standard output. The result is an error, or a reply of valid
/// JSON with finite numbers.
pub fn replies(bytes: &[u8]) {
    let Some((code, said)) = bytes.split_first() else {
        return;
    };
    let code = i32::from(code.cast_signed());
    let interrupt = Interrupt::default();
    let guard = Guard::new(interrupt.clone(), Micros(1_000_000));
    let sandbox = Sandbox::bare(&Limits::default(), guard);
    let described = protocol::read_description(said, code, &sandbox, &interrupt);
    assert!(described.is_err() || code == 0);
    match protocol::read_reply(said, code, &sandbox, &interrupt) {
        Ending::Reply(reply) => {
            assert_eq!(code, 0);
            let said: Value = serde_json::from_slice(said).expect("an answer is JSON");
            let output = reply.output.get();
            assert!(!output.contains(['\n', '\r']));
            let output: Value = serde_json::from_str(output).expect("an output is JSON");
            assert_eq!(said["ok"]["output"], output);
            let metrics = reply.metrics.iter().map(|metric| metric.value);
            let mut numbers = metrics.chain(reply.score);
            assert!(numbers.all(f64::is_finite));
        }
        Ending::Error(error) => assert!(error.message.len() <= 64 * 1024 + 8 * said.len()),
        Ending::Timeout | Ending::Stopped | Ending::Diverged(_) => panic!("nobody has ended it"),
    }
}
