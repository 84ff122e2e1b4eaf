//! A host in memory, for native tests of a provider.
//!
//! ```
//! use runner_sdk::serde_json::json;
//! use runner_sdk::testing::Host;
//! # use runner_sdk::{NoConfig, Provider, Raw, Reply, Result, Test};
//! # struct Echo;
//! # impl Provider for Echo {
//! #     type Input = Raw;
//! #     type Config = NoConfig;
//! #     fn run(test: Test<Self>) -> Result<Reply> { Reply::new(test.input) }
//! # }
//!
//! let reply = Host::new().run::<Echo>(json!("hello"), json!({})).unwrap();
//! assert_eq!(reply.output().unwrap(), json!("hello"));
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::artifacts::ArtifactError;
use crate::files::{File, FileError};
use crate::http::{HttpError, Request, Response};
use crate::log::Level;
use crate::provider::RawTest;
use crate::records::RecordError;
use crate::secrets::SecretError;
use crate::tools::{Tool, ToolError, ToolErrorKind};
use crate::transcript::TranscriptError;
use crate::{FromJson, Lifecycle, Metric, Provider, Reply, Result};

thread_local! {
    /// The host for calls of the SDK on this thread.
    static HOST: RefCell<Host> = RefCell::new(Host::new());
}

/// A host that runs a provider and records its calls. A new one grants nothing.
pub struct Host {
    files: BTreeMap<String, Vec<u8>>,
    secrets: BTreeMap<String, String>,
    respond: Option<Box<Respond>>,
    tools: Vec<HostTool>,
    seed: u32,
    stop_requested: bool,
    remaining: Duration,
    /// A limit, and the reports before it is used up.
    used_up: Option<(usize, String)>,
    calls: Calls,
}

type Respond = dyn FnMut(Request) -> Result<Response, HttpError>;
type RunTool = dyn FnMut(Value) -> Result<Value, ToolError>;

struct HostTool {
    tool: Tool,
    /// `None` while it runs.
    run: Option<Box<RunTool>>,
}

/// Calls of a provider, recorded by a host.
#[derive(Debug, Default)]
pub struct Calls {
    /// Lines of the log, with their fields as ` KEY=VALUE`.
    pub log: Vec<(Level, String)>,
    /// Fraction and message of each progress report.
    pub progress: Vec<(Option<f64>, String)>,
    /// Artifacts by name.
    pub artifacts: BTreeMap<String, Vec<u8>>,
    /// Metrics of all reports of usage, in their order.
    pub usage: Vec<Metric>,
    /// Requests, with placeholders in place of secrets.
    pub requests: Vec<Request>,
    /// Name and input of each call of a tool, also of those that are denied.
    pub tools: Vec<(String, Value)>,
    /// Steps of the transcript.
    pub steps: Vec<Value>,
    /// Records of a test list.
    pub records: Vec<Value>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// Creates a host without files, secrets, responses and tools.
    pub fn new() -> Self {
        Self {
            files: BTreeMap::new(),
            secrets: BTreeMap::new(),
            respond: None,
            tools: Vec::new(),
            seed: 0,
            stop_requested: false,
            remaining: Duration::from_secs(60),
            used_up: None,
            calls: Calls::default(),
        }
    }

    /// Attaches a file.
    pub fn file(mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(name.into(), bytes.into());
        self
    }

    /// Grants a secret.
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.secrets.insert(name.into(), value.into());
        self
    }

    /// Sets the responses to requests, in order. Without them, requests are denied.
    ///
    /// # Panics
    ///
    /// Panics if the provider sends more requests than there are responses.
    pub fn responses<R>(self, responses: R) -> Self
    where
        R: IntoIterator<Item = Result<Response, HttpError>>,
        R::IntoIter: 'static,
    {
        let mut responses = responses.into_iter();
        self.respond(move |request| {
            let response = responses.next();
            response.unwrap_or_else(|| panic!("no response is left for {}", request.url))
        })
    }

    /// Sets a function that responds to each request. Without it, requests are denied.
    pub fn respond(
        mut self,
        respond: impl FnMut(Request) -> Result<Response, HttpError> + 'static,
    ) -> Self {
        self.respond = Some(Box::new(respond));
        self
    }

    /// Grants a tool without a schema. The function gets the input of each call, and returns the output.
    pub fn tool(
        self,
        name: impl Into<String>,
        description: impl Into<String>,
        run: impl FnMut(Value) -> Result<Value, ToolError> + 'static,
    ) -> Self {
        let (name, description) = (name.into(), description.into());
        self.listed_tool(Tool { name, description, input_schema: None }, run)
    }

    /// Grants a tool as the provider sees it in its list. The function gets the input of each call, and returns the output.
    pub fn listed_tool(
        mut self,
        tool: Tool,
        run: impl FnMut(Value) -> Result<Value, ToolError> + 'static,
    ) -> Self {
        self.tools.push(HostTool { tool, run: Some(Box::new(run)) });
        self
    }

    /// Sets the seed of the test. The default is 0.
    pub fn seed(mut self, seed: u32) -> Self {
        self.seed = seed;
        self
    }

    /// Requests a stop of the provider.
    pub fn stop_requested(mut self) -> Self {
        self.stop_requested = true;
        self
    }

    /// Sets the time until the deadline. The default is 60 s.
    pub fn remaining(mut self, remaining: Duration) -> Self {
        self.remaining = remaining;
        self
    }

    /// Sets the limit that is used up after this number of reports of usage: the next one returns it.
    pub fn used_up_after(mut self, reports: usize, limit: impl Into<String>) -> Self {
        self.used_up = Some((reports, limit.into()));
        self
    }

    /// Runs a test on `P`. Input and configuration pass through JSON text, as with the runner.
    pub fn run<P: Provider>(self, input: Value, config: Value) -> Result<Reply> {
        self.run_recorded::<P>(input, config).0
    }

    /// Like [`run`](Self::run), and also returns the recorded calls.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "values are made with `json!` where they are handed over"
    )]
    pub fn run_recorded<P: Provider>(self, input: Value, config: Value) -> (Result<Reply>, Calls) {
        HOST.set(self);
        let result = run::<P>(&input, &config);
        (result, HOST.take().calls)
    }

    /// Sets `P` up, runs a test for each input, and tears `P` down. The outer error is that of the setup.
    pub fn run_each<P: Lifecycle>(
        self,
        inputs: impl IntoIterator<Item = Value>,
        config: Value,
    ) -> Result<Vec<Result<Reply>>> {
        self.run_each_recorded::<P>(inputs, config).0
    }

    /// Like [`run_each`](Self::run_each), and also returns the recorded calls.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "values are made with `json!` where they are handed over"
    )]
    pub fn run_each_recorded<P: Lifecycle>(
        self,
        inputs: impl IntoIterator<Item = Value>,
        config: Value,
    ) -> (Result<Vec<Result<Reply>>>, Calls) {
        HOST.set(self);
        let result = crate::lifecycle::setup::<P>(config.to_string()).map(|()| {
            let replies = inputs.into_iter().map(|input| run::<P>(&input, &config)).collect();
            crate::lifecycle::teardown::<P>();
            replies
        });
        (result, HOST.take().calls)
    }
}

fn run<P: Provider>(input: &Value, config: &Value) -> Result<Reply> {
    crate::provider::run::<P>(RawTest {
        trial_id: "test@provider#1".to_owned(),
        test_id: "test".to_owned(),
        provider: "provider".to_owned(),
        repeat: 1,
        attempt: 1,
        seed: with(|host| host.seed),
        input: input.to_string(),
        config: config.to_string(),
        tags: Vec::new(),
    })
}

/// Returns the JSON Schemas of a provider's input and configuration. `None` accepts all JSON.
pub fn schemas<P: Provider>() -> (Option<String>, Option<String>) {
    (P::Input::schema(), P::Config::schema())
}

pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let fields: String = fields.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    with(|host| host.calls.log.push((level, format!("{message}{fields}"))));
}

pub(crate) fn progress(fraction: Option<f64>, message: &str) {
    with(|host| host.calls.progress.push((fraction, message.to_owned())));
}

pub(crate) fn stop_requested() -> bool {
    with(|host| host.stop_requested)
}

pub(crate) fn remaining() -> Duration {
    with(|host| host.remaining)
}

pub(crate) fn report_usage(metrics: Vec<Metric>) -> Option<String> {
    with(|host| {
        host.calls.usage.extend(metrics);
        let (reports, limit) = host.used_up.as_mut()?;
        let is_used_up = *reports == 0;
        *reports = reports.saturating_sub(1);
        is_used_up.then(|| limit.clone())
    })
}

pub(crate) fn files() -> Vec<File> {
    with(|host| {
        let files = host.files.iter().map(|(name, bytes)| File {
            name: name.clone(),
            media_type: "application/octet-stream".to_owned(),
            size: u32::try_from(bytes.len()).expect("an attachment of a test is small"),
        });
        files.collect()
    })
}

pub(crate) fn read_file(name: &str, offset: u32, length: u32) -> Result<Vec<u8>, FileError> {
    with(|host| {
        let bytes = host.files.get(name).ok_or(FileError::NotFound)?;
        let start = offset as usize;
        bytes.get(start..start + length as usize).map(<[u8]>::to_vec).ok_or(FileError::OutOfRange)
    })
}

pub(crate) fn secret(name: &str) -> Result<String, SecretError> {
    with(|host| host.secrets.get(name).cloned().ok_or(SecretError::Denied))
}

pub(crate) fn append_artifact(
    name: &str,
    _media_type: &str,
    bytes: &[u8],
) -> Result<(), ArtifactError> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(is_good) {
        return Err(ArtifactError::BadName);
    }
    with(|host| {
        let artifact = host.calls.artifacts.entry(name.to_owned()).or_default();
        artifact.extend_from_slice(bytes);
    });
    Ok(())
}

pub(crate) fn send(request: Request) -> Result<Response, HttpError> {
    with(|host| host.calls.requests.push(request.clone()));
    for secret in request.headers.iter().flat_map(|(_, value)| names(value)) {
        if with(|host| !host.secrets.contains_key(secret)) {
            return Err(HttpError::Denied(format!("the secret `{secret}` is not granted")));
        }
    }
    // Taken during the call, so that the function may use the SDK itself.
    let Some(mut respond) = with(|host| host.respond.take()) else {
        let message = format!("`{}` is not granted", request.url);
        return Err(HttpError::Denied(message));
    };
    let response = respond(request);
    with(|host| host.respond = Some(respond));
    response
}

pub(crate) fn tools() -> Vec<Tool> {
    with(|host| host.tools.iter().map(|known| known.tool.clone()).collect())
}

pub(crate) fn call_tool(name: &str, input: &str) -> Result<String, ToolError> {
    let input: Value = serde_json::from_str(input).expect("the SDK writes JSON");
    // Taken during the call, so that the function may use the SDK itself.
    let run = with(|host| {
        host.calls.tools.push((name.to_owned(), input.clone()));
        let place = host.tools.iter().position(|known| known.tool.name == name)?;
        Some((place, host.tools[place].run.take()?))
    });
    let Some((place, mut run)) = run else {
        let message = format!("the tool `{name}` is not granted");
        return Err(ToolError::new(ToolErrorKind::Denied, message));
    };
    let output = run(input);
    with(|host| host.tools[place].run = Some(run));
    output.map(|output| output.to_string())
}

pub(crate) fn append_step(step: &str) -> Result<(), TranscriptError> {
    let step: Value = serde_json::from_str(step).expect("the SDK writes JSON");
    let has_source = ["system", "user", "agent"].iter().any(|source| step["source"] == *source);
    if !has_source || !(step["message"].is_string() || step["message"].is_array()) {
        return Err(TranscriptError::Invalid);
    }
    with(|host| host.calls.steps.push(step));
    Ok(())
}

pub(crate) fn append_record(record: &str) -> Result<(), RecordError> {
    let record = serde_json::from_str(record).expect("the SDK writes JSON");
    with(|host| host.calls.records.push(record));
    Ok(())
}

/// Returns the names of secrets in a header's value.
fn names(value: &str) -> impl Iterator<Item = &str> {
    let after = value.split("{{secret.").skip(1);
    after.filter_map(|rest| Some(rest.split_once("}}")?.0))
}

fn with<T>(work: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(work)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Host;
    use crate::http::{HttpError, Response, get};
    use crate::log::Level;
    use crate::tools::{Tool, ToolError, ToolErrorKind};
    use crate::{ErrorKind, NoConfig, Provider, Reply, Result, Test};

    /// Makes the call that its input names.
    struct Caller;

    impl Provider for Caller {
        type Input = String;
        type Config = NoConfig;

        fn run(test: Test<Self>) -> Result<Reply> {
            let output = match test.input.as_str() {
                "file" => json!(crate::files::read("a.txt")?.len()),
                "beyond" => json!(crate::files::read_range("a.txt", 2, 9)?.len()),
                "secret" => json!(crate::secrets::get("KEY")?),
                "http" => json!(get("http://x").send()?.status),
                "keyed http" => {
                    let request = get("http://x").header("authorization", "Key {{secret.KEY}}");
                    json!([request.clone().send()?.status, request.send()?.status])
                }
                "seed" => json!(test.seed),
                "list" => json!(crate::tools::list().len()),
                "tool" => crate::tools::call("count", &json!({"from": 1}))?,
                "failed tool" => match crate::tools::call("other", &1) {
                    Ok(output) => output,
                    Err(error) => json!([error.kind.as_str(), error.message]),
                },
                "step" => {
                    let step = json!({"source": "agent", "message": "hi"});
                    json!(crate::transcript::append(&step)?)
                }
                "bad step" => json!(crate::transcript::append(&json!({"source": "agent"}))?),
                "record" => json!(crate::records::append(&json!([1]))?),
                "artifact" => {
                    crate::artifacts::append("a.txt", "text/plain", b"one ")?;
                    crate::artifacts::append("a.txt", "text/plain", b"two")?;
                    json!(null)
                }
                "bad artifact" => json!(crate::artifacts::append("../a", "text/plain", b"")?),
                "log" => {
                    crate::log::log(Level::Warn, "odd", &[("unit", "C")]);
                    crate::control::progress(Some(0.5), "half");
                    json!(null)
                }
                _ => json!(crate::control::stop_requested()),
            };
            Reply::new(output)
        }
    }

    fn kind(host: Host, input: &str) -> ErrorKind {
        host.run::<Caller>(json!(input), json!({})).unwrap_err().kind
    }

    fn output(host: Host, input: &str) -> serde_json::Value {
        let reply = host.run::<Caller>(json!(input), json!({})).unwrap();
        reply.output().unwrap()
    }

    #[test]
    fn new_host_grants_nothing() {
        assert_eq!(kind(Host::new(), "file"), ErrorKind::InvalidInput);
        assert_eq!(kind(Host::new(), "secret"), ErrorKind::Denied);
        assert_eq!(kind(Host::new(), "http"), ErrorKind::Denied);
        assert_eq!(kind(Host::new(), "bad artifact"), ErrorKind::Internal);
        assert_eq!(output(Host::new(), "stop"), json!(false));
    }

    #[test]
    fn settings_of_a_host_end_with_it() {
        let host = || Host::new().file("a.txt", "abc");
        assert_eq!(output(host(), "file"), json!(3));
        assert_eq!(kind(host(), "beyond"), ErrorKind::InvalidInput);
        assert_eq!(output(Host::new().secret("KEY", "k"), "secret"), json!("k"));
        assert_eq!(output(Host::new().stop_requested(), "stop"), json!(true));
        let host = Host::new().respond(|_| Ok(Response::new(204)));
        assert_eq!(output(host, "http"), json!(204));
        assert_eq!(kind(Host::new(), "http"), ErrorKind::Denied);
    }

    #[test]
    fn responses_have_an_order_and_requests_are_recorded() {
        let host = || Host::new().responses([Ok(Response::new(200)), Ok(Response::new(201))]);
        let (reply, calls) =
            host().secret("KEY", "k").run_recorded::<Caller>(json!("keyed http"), json!({}));
        assert_eq!(reply.unwrap().output().unwrap(), json!([200, 201]));
        assert_eq!(calls.requests.len(), 2);
        assert_eq!(calls.requests[0].headers[0].1, "Key {{secret.KEY}}");

        // A secret in a header needs a grant, as any other.
        assert_eq!(kind(host(), "keyed http"), ErrorKind::Denied);
        let host = Host::new().responses([Err(HttpError::Timeout)]);
        assert_eq!(kind(host, "http"), ErrorKind::Unavailable);
    }

    #[test]
    fn tools_run_and_their_calls_are_recorded() {
        let tool = Tool {
            name: "count".to_owned(),
            description: String::new(),
            input_schema: Some(json!({"type": "object"})),
        };
        let host = || {
            // A tool of a test may use the SDK.
            let run =
                |input: serde_json::Value| Ok(json!([input["from"], crate::tools::list().len()]));
            Host::new()
                .tool("other", "Fails", |_| Err(ToolError::new(ToolErrorKind::Trap, "why")))
                .listed_tool(tool.clone(), run)
        };
        assert_eq!(output(host(), "list"), json!(2));
        assert_eq!(output(host(), "tool"), json!([1, 2]));
        let (reply, calls) = host().run_recorded::<Caller>(json!("failed tool"), json!({}));
        assert_eq!(reply.unwrap().output().unwrap(), json!(["trap", "why"]));
        assert_eq!(calls.tools, [("other".to_owned(), json!(1))]);
        assert_eq!(kind(Host::new(), "tool"), ErrorKind::Denied);
    }

    #[test]
    fn steps_and_records_are_recorded() {
        let (_, calls) = Host::new().run_recorded::<Caller>(json!("step"), json!({}));
        assert_eq!(calls.steps, [json!({"source": "agent", "message": "hi"})]);
        let (_, calls) = Host::new().run_recorded::<Caller>(json!("record"), json!({}));
        assert_eq!(calls.records, [json!([1])]);
        assert_eq!(kind(Host::new(), "bad step"), ErrorKind::Internal);
    }

    #[test]
    fn seed_can_be_set() {
        assert_eq!(output(Host::new(), "seed"), json!(0));
        assert_eq!(output(Host::new().seed(7), "seed"), json!(7));
    }

    #[test]
    fn artifacts_log_and_progress_are_recorded() {
        let (_, calls) = Host::new().run_recorded::<Caller>(json!("artifact"), json!({}));
        assert_eq!(calls.artifacts["a.txt"], b"one two");
        let (_, calls) = Host::new().run_recorded::<Caller>(json!("log"), json!({}));
        assert_eq!(calls.log, [(Level::Warn, "odd unit=C".to_owned())]);
        assert_eq!(calls.progress, [(Some(0.5), "half".to_owned())]);
    }

    #[test]
    fn invalid_input_and_config_have_their_kinds() {
        let input = Host::new().run::<Caller>(json!(3), json!({}));
        assert_eq!(input.unwrap_err().kind, ErrorKind::InvalidInput);
        let config = Host::new().run::<Caller>(json!("x"), json!({"a": 1}));
        assert_eq!(config.unwrap_err().kind, ErrorKind::InvalidConfig);
    }
}
