//! Bytes from a worker or a supervisor are a frame or are refused, and encoding a decoded frame loses nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_model::protocol::{FromWorker, Message as _, PREFIX, Sender, ToWorker, read_prefix};

fuzz_target!(|bytes: &[u8]| {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return;
    };
    if let Ok((kind, length)) = read_prefix(*prefix, Sender::Worker)
        && let Some(body) = rest.get(..length)
        && let Ok(frame) = FromWorker::decode(kind, body)
    {
        let mut again = Vec::new();
        frame.encode(&mut again);
        assert_eq!(FromWorker::decode(kind, &again[PREFIX..]).as_ref(), Ok(&frame));
    }
    if let Ok((kind, length)) = read_prefix(*prefix, Sender::Supervisor)
        && let Some(body) = rest.get(..length)
        && let Ok(frame) = ToWorker::decode(kind, body)
    {
        let mut again = Vec::new();
        frame.encode(&mut again);
        assert_eq!(ToWorker::decode(kind, &again[PREFIX..]).as_ref(), Ok(&frame));
    }
});
