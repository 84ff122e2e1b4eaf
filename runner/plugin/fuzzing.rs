//! What a plugin's file and a guest's words may be: anything.

use std::{
    cell::RefCell,
    path::{Component, Path},
};

use bytes::Bytes;
use serde_json::Value;
use wasmtime::Store;
use wasmtime_wasi::{WasiCtxBuilder, p2::OutputStream as _};

use super::{
    activity::Activity,
    call::{ended::Ending, protocol, symbol::readable},
    clock::Moment,
    code::{
        config::{Allocation, EngineConfig, Metering},
        sniff::{self, CommandForm, Kind},
        surface::Surface,
    },
    contract::runner::provider::artifacts::Host as _,
    interrupt::{Guard, Interrupt},
    sandbox::{
        artifacts::is_artifact_name,
        host::AttemptHost,
        stdio::Capture,
        store::{Sandbox, StoreRecipe},
    },
};
pub use super::{
    net::fuzzing::{addresses, grants, headers},
    redact::fuzzing::redaction,
};
use crate::model::{Limits, is_file_name, json_cost, json_cost_of};

/// What a message may have beside what it shows of its input, in bytes.
const MAX_WORDS: usize = 4 * 1024;

/// What a file is taken for agrees with what it imports and exports, and what is said of another is not endless.
pub fn sniff(bytes: &[u8]) {
    let kind = match sniff::sniff(bytes) {
        Ok((kind, _)) => kind,
        Err(error) => {
            assert!(error.to_string().len() <= MAX_WORDS + 8 * bytes.len());
            return;
        }
    };
    let surface = Surface::of(bytes).expect("a plugin has a surface");
    let exports = |prefix: &str| surface.exports.iter().any(|name| name.starts_with(prefix));
    match kind {
        Kind::Component { .. } => assert!(surface.is_component && surface.contract().is_some()),
        Kind::Command(CommandForm::Component) => {
            assert!(surface.is_component && exports("wasi:cli/run@"));
        }
        Kind::Command(CommandForm::Module) => {
            assert!(!surface.is_component && exports("_start"));
        }
    }
}

/// What is kept of the names in a file is no more than what is in it.
pub fn surface(bytes: &[u8]) {
    let Ok(surface) = Surface::of(bytes) else {
        return;
    };
    let imports = surface.imports.iter().map(|import| import.name.len());
    let exports = surface.exports.iter().map(String::len);
    let kept: usize = imports.chain(exports).sum();
    let count = surface.imports.len() + surface.exports.len();
    assert!(count <= bytes.len());
    // Each import of a module is shown with what it is.
    assert!(kept <= bytes.len() + "::".len() * count + " (memory)".len() * count);
}

/// What a command has said, of which the first byte is its exit code, is an answer or an error; never more than was said.
pub fn protocol(bytes: &[u8]) {
    thread_local! {
        static STORE: RefCell<Store<Sandbox>> = RefCell::new(store());
    }
    let Some((code, said)) = bytes.split_first() else {
        return;
    };
    let (stdout, stderr) = parts(said);
    let code = i32::from(code.cast_signed());
    STORE.with_borrow_mut(|store| {
        let sandbox = store.data_mut();
        sandbox.begin_attempt();
        let written = sandbox.stderr.write(Bytes::copy_from_slice(stderr));
        written.expect("what is captured never fails");
        answer(stdout, code, sandbox);
    });
    let said = String::from_utf8_lossy(stderr);
    for record in said
        .lines()
        .filter_map(|line| protocol::log_record(line, None))
    {
        let fields = record.fields.iter();
        let fields = fields.map(|(name, value)| name.len() + value.len());
        // A number may be written in a shorter way than ours.
        assert!(record.message.len() + fields.sum::<usize>() <= 16 * stderr.len());
    }
}

fn answer(stdout: &[u8], code: i32, sandbox: &Sandbox) {
    let guard = guard();
    let bounds = (&Limits::default(), &guard);
    let told = protocol::description(stdout.to_vec(), code, sandbox, bounds);
    assert!(told.is_err() || code == 0);
    match protocol::answer(stdout.to_vec(), code, sandbox, bounds) {
        Ending::Reply(reply) => {
            assert_eq!(code, 0);
            let said: Value = serde_json::from_slice(stdout).expect("an answer is JSON");
            assert_eq!(said["ok"]["output"], reply.output);
            let scores = reply.checks.iter().filter_map(|check| check.score);
            let metrics = reply.metrics.iter().map(|metric| metric.value);
            let mut numbers = scores.chain(metrics).chain(reply.score);
            assert!(numbers.all(f64::is_finite));
        }
        Ending::Error(error) => {
            assert!(error.message.len() <= MAX_WORDS + 8 * stdout.len());
        }
        ending @ (Ending::Timeout | Ending::Stopped) => panic!("nobody has ended it: {ending:?}"),
    }
}

/// What the value of a guest's JSON takes is told from its text, and no less than it is.
pub fn costs(bytes: &[u8]) {
    let told = json_cost(bytes);
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    assert!(json_cost_of(&value, u64::MAX) <= told);
    assert!(taken(&value) <= told);
}

/// The name of a function is shown as far as there is room for it.
pub fn symbols(bytes: &[u8]) {
    assert!(readable(&String::from_utf8_lossy(bytes)).len() <= MAX_WORDS);
}

/// The bytes that a value surely takes beside its own place.
fn taken(value: &Value) -> u64 {
    let size = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.len() * size_of::<Value>(),
        Value::Object(entries) => {
            let keys = entries.keys().map(String::len).sum::<usize>();
            keys + entries.len() * (size_of::<String>() + size_of::<Value>())
        }
    };
    let inner: u64 = match value {
        Value::Array(items) => items.iter().map(taken).sum(),
        Value::Object(entries) => entries.values().map(taken).sum(),
        _ => 0,
    };
    size as u64 + inner
}

/// A name that an artifact or an attachment may have is that of a file, and of the same one under each system.
pub fn artifacts(bytes: &[u8]) {
    let mut host = host(&Limits::default());
    for name in bytes.split(|byte| *byte == 0xff) {
        let name = String::from_utf8_lossy(name);
        let is_kept = is_artifact_name(&name);
        let appended = host.append(name.clone().into_owned(), String::new(), vec![0]);
        assert!(appended.is_err() || is_kept);
        if is_kept || is_file_name(&name) {
            let parts: Vec<_> = Path::new(&*name).components().collect();
            assert_eq!(parts, [Component::Normal(name.as_ref().as_ref())]);
            assert_eq!(Path::new("/a").join(&*name).parent(), Some(Path::new("/a")));
            assert!(!name.contains(['/', '\\']) && !name.chars().any(char::is_control));
        }
        assert!(!is_kept || is_file_name(&name));
    }
}

/// What is before the first `0xff`, and what is behind it.
pub(super) fn parts(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0xff);
    let end = end.unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

fn guard() -> Guard {
    Guard {
        deadline: Moment::now(),
        interrupt: Interrupt::default(),
        memory: None,
        activity: Activity::default(),
    }
}

fn host(limits: &Limits) -> AttemptHost {
    AttemptHost::new(limits, [].into(), guard())
}

/// What a command has that has said nothing yet.
fn store() -> Store<Sandbox> {
    let limits = Limits::default();
    let engine = EngineConfig::new(Metering::Off, Allocation::OnDemand)
        .engine(None)
        .expect("its settings are valid");
    let recipe = StoreRecipe {
        wasi: WasiCtxBuilder::new(),
        host: host(&limits),
        quota: None,
        stdout: Capture::new(limits.stdio, limits.stdio),
        limits: &limits,
        handover: limits.reply,
    };
    recipe.store(&engine, Metering::Off)
}
