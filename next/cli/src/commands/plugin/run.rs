//! `runner plugin run`: calls a plugin once, and shows all that comes of it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    mem,
    path::{Path, PathBuf},
    time::Duration,
};

use runner_engine::once::{Answer, Calls, CallsEnd, call};
use runner_model::{
    Micros, Outcome, RowRef, TaskId, TestId, TrialId, digest,
    exit::Exit,
    outcome::Verdict,
    protocol::{Line, Task, TaskKind, TimeoutRule},
    provider::{OutputForm, Protocol, Provider, Stdin},
    row::OUTPUT_ARTIFACT,
    template::Template,
    test::{Attachment, Test},
    visible::{visible, visible_line},
};
use serde_json::{Value, json, value::RawValue};
use tempfile::NamedTempFile;

use super::grants;
use crate::{
    args::duration,
    text::{error::CommandError, out::Out, page::call_page, style},
};

/// Call a plugin and show everything that comes of it
///
/// The call is that of a run: a fresh sandbox with nothing in it but what is granted here, the same limits, and a deadline. The
/// reply goes to standard output; what it said, what it was denied and what it used to standard error. The exit code is 0 if
/// it replied and did not say that the test failed, and 1 if it said so, replied with an error, broke or took too long.
#[derive(clap::Args)]
pub struct Args {
    /// A `.wasm` file, the folder of a plugin that is built, or `bundled:NAME`
    file: String,
    /// The test's input: JSON, `@FILE` or `-` [default: null]
    #[arg(short, long, value_name = "JSON", allow_hyphen_values = true)]
    input: Option<String>,
    /// The provider's configuration: a JSON object, `@FILE` or `-` [default: {}]
    #[arg(short, long, value_name = "JSON")]
    config: Option<String>,
    /// An attachment of the test; may be given more than once
    #[arg(long = "file", value_name = "NAME=PATH")]
    files: Vec<String>,
    /// The number that the plugin may take its randomness from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,
    /// How long the call may take
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    timeout: Duration,
    /// How a command is called [default: as JSON if its `describe` answers so, else plain]
    #[arg(long, value_parser = ["plain", "json"])]
    protocol: Option<String>,
    /// Standard input of a plain command: a template such as `{{input.code}}`, `@FILE` or `-`
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stdin: Option<String>,
    /// What a plain command's standard output is taken for [default: text]
    #[arg(long, value_parser = ["text", "trimmed", "json"])]
    output: Option<String>,
    /// Grant something: `net=URL`, `secret=NAME`, `fs=PATH:MOUNT[:rw]` or `env=KEY=VALUE`; may be given more than once
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<String>,
    /// Take secrets from this file of `NAME=VALUE` lines before the environment; may be given more than once
    #[arg(long, value_name = "FILE")]
    secret_file: Vec<PathBuf>,
    /// Set a limit, such as `memory=64MiB`; may be given more than once
    #[arg(long = "limit", value_name = "KEY=VALUE")]
    limits: Vec<String>,
    /// Write its artifacts into this folder, which is made; nothing is written over
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// The arguments of a plain command: templates such as `{{input.code}}`
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

/// What is called, and with what.
struct Request {
    provider: Provider,
    input: Value,
    files: Vec<(Attachment<'static>, PathBuf)>,
    /// What standard input was, on disk as long as this is.
    _stdin: Option<NamedTempFile>,
}

/// What came of the call.
#[derive(Default)]
struct Came {
    row: Vec<u8>,
    log: Vec<u8>,
    /// Contents by their index in the row.
    artifacts: BTreeMap<u32, File>,
    problem: Option<io::Error>,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let request = request(args)?;
    let is_open = args.protocol.is_none()
        && args.stdin.is_none()
        && args.output.is_none()
        && args.args.is_empty();
    let protocols: &[Protocol] = match &args.protocol {
        Some(word) => &[Protocol::parse(word).unwrap_or_default()],
        // Of components it makes no difference.
        None if is_open => &[Protocol::Json, Protocol::Plain],
        None => &[Protocol::Plain],
    };
    let mut called = Err(CommandError::usage("nothing was called"));
    for protocol in protocols {
        called = ask(args, &request, *protocol, out);
        if called.is_ok() {
            break;
        }
    }
    let (end, mut came) = called?;
    let why = match end {
        CallsEnd::Stopped(signal) => return Ok(Exit::Signal(signal)),
        CallsEnd::Done if !came.row.is_empty() => return tell(args, &mut came, out),
        CallsEnd::Done => "the worker gave no answer".to_owned(),
        CallsEnd::Lost(how) => format!("the worker {how}"),
        CallsEnd::Late => "the worker said nothing for too long".to_owned(),
    };
    out.talk(&format!("{} {}", style::error("error:"), visible(&why)));
    Ok(Exit::Bad)
}

/// Makes the call.
fn ask(
    args: &Args,
    request: &Request,
    protocol: Protocol,
    out: &Out,
) -> Result<(CallsEnd, Came), CommandError> {
    let mut provider = request.provider.clone();
    provider.protocol = protocol;
    let calls = Calls {
        providers: vec![provider],
        folder: ".".into(),
        files: request
            .files
            .iter()
            .map(|(file, path)| (file.sha256, path.clone()))
            .collect(),
        secret_files: args.secret_file.clone(),
        artifacts: args.artifacts.clone(),
        grace: Duration::ZERO,
        patience: args.timeout + Duration::from_secs(30),
    };
    let mut task = Some(task(args, request)?);
    let mut came = Came::default();
    let mut hear = |answer: Answer<'_>| match answer {
        Answer::Compiling(plugin) => out.hint(&format!("compiling {}", visible_line(plugin))),
        Answer::Notice(text) => out.warn(text),
        Answer::Ready { .. } => {}
        Answer::Artifact { index, bytes, .. } => {
            came.problem = came.keep(index, bytes).err().or(came.problem.take());
        }
        Answer::Report { row, log, .. } => (came.row, came.log) = (row.to_vec(), log.to_vec()),
        Answer::Log(line) => out.hint(&visible_line(line)),
    };
    let end = call(calls, &mut || Ok(task.take()), &mut hear)?;
    Ok((end, came))
}

impl Came {
    fn keep(&mut self, index: u32, bytes: &[u8]) -> io::Result<()> {
        let file = match self.artifacts.entry(index) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(tempfile::tempfile()?),
        };
        file.write_all(bytes)
    }

    /// The content of an artifact, read from its start.
    fn content(&mut self, index: usize) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        if let Some(file) = self.artifacts.get_mut(&(index as u32)) {
            file.rewind()?;
            file.read_to_end(&mut content)?;
        }
        Ok(content)
    }
}

fn request(args: &Args) -> Result<Request, CommandError> {
    let limits = grants::limits(&args.limits)?;
    let values = [&args.input, &args.config, &args.stdin];
    let from_stdin = values.iter().filter(|text| text.as_deref() == Some("-"));
    if from_stdin.count() > 1 {
        return Err(CommandError::usage(
            "standard input can be read only once; take one of the values from a file with `@FILE`",
        ));
    }
    let input = json_value("--input", args.input.as_deref())?.unwrap_or(Value::Null);
    let config = json_value("--config", args.config.as_deref())?.unwrap_or_else(|| json!({}));
    if !config.is_object() {
        return Err(CommandError::usage(
            "`--config` is an object, as the scenario's `config`",
        ));
    }
    let mut files = Vec::new();
    for text in &args.files {
        files.push(attachment(text)?);
    }
    let (mut stdin, mut stdin_file) = (None, None);
    if let Some(text) = &args.stdin {
        stdin = Some(match value("--stdin", text)? {
            Some(bytes) => {
                let name = "standard-input";
                let mut file = NamedTempFile::new().map_err(cannot_read("--stdin"))?;
                file.write_all(&bytes).map_err(cannot_read("--stdin"))?;
                files.push((described(name, &bytes), file.path().to_owned()));
                stdin_file = Some(file);
                Stdin::File { file: name.into() }
            }
            None => Stdin::Text(template(text)?),
        });
    }
    let output = args.output.as_deref().and_then(OutputForm::parse);
    let templates = args.args.iter().map(|text| template(text));
    Ok(Request {
        provider: Provider {
            config,
            args: templates.collect::<Result<_, _>>()?,
            stdin,
            output: output.unwrap_or_default(),
            grants: grants::parse(&args.grants, &limits)?,
            limits,
            ..super::provider(&args.file)?
        },
        input,
        files,
        _stdin: stdin_file,
    })
}

fn template(text: &str) -> Result<Template, CommandError> {
    let problem = |error: &dyn std::fmt::Display| CommandError::usage(format!("`{text}`: {error}"));
    let template = Template::parse(text).map_err(|error| problem(&error))?;
    template
        .check_roots(&["input", "config"])
        .map_err(|error| problem(&error))?;
    Ok(template)
}

/// Reads what `@FILE` or `-` stands for; any other text stands for itself.
fn value(flag: &'static str, text: &str) -> Result<Option<Vec<u8>>, CommandError> {
    let read = if let Some(path) = text.strip_prefix('@') {
        fs::read(path)
    } else if text == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        return Ok(None);
    };
    read.map(Some).map_err(cannot_read(flag))
}

fn cannot_read(flag: &'static str) -> impl Fn(io::Error) -> CommandError {
    move |error| CommandError::usage(format!("`{flag}`: {error}"))
}

fn json_value(flag: &'static str, text: Option<&str>) -> Result<Option<Value>, CommandError> {
    let Some(text) = text else { return Ok(None) };
    let bytes = value(flag, text)?;
    let bytes = bytes.as_deref().unwrap_or(text.as_bytes());
    serde_json::from_slice(bytes).map(Some).map_err(|error| {
        CommandError::usage(format!(
            "`{flag}` is not valid JSON: {error}\nfor example: {flag} '\"hello\"', {flag} '{{\"key\": 1}}', {flag} @FILE"
        ))
    })
}

fn attachment(text: &str) -> Result<(Attachment<'static>, PathBuf), CommandError> {
    let (name, path) = text.split_once('=').ok_or_else(|| {
        CommandError::usage(format!(
            "`--file {text}` is not understood: it is written `--file NAME=PATH`"
        ))
    })?;
    if !runner_model::row::is_file_name(name) {
        return Err(CommandError::usage(format!(
            "`--file {text}`: `{name}` cannot be the name of a file"
        )));
    }
    let content =
        fs::read(path).map_err(|error| CommandError::usage(format!("`--file {text}`: {error}")))?;
    Ok((described(name, &content), path.into()))
}

fn described(name: &str, content: &[u8]) -> Attachment<'static> {
    Attachment {
        name: name.to_owned().into(),
        sha256: digest(content),
        bytes: content.len() as u64,
    }
}

fn task(args: &Args, request: &Request) -> Result<(Task, Vec<u8>), CommandError> {
    let id = TestId::parse("call").map_err(CommandError::usage)?;
    let input = RawValue::from_string(request.input.to_string()).map_err(CommandError::usage)?;
    let timeout = Micros::from(args.timeout);
    let line = serde_json::to_vec(&Test {
        id: id.clone(),
        input: &input,
        providers: vec![0],
        repeat: 1,
        tags: Vec::new(),
        meta: Default::default(),
        files: request.files.iter().map(|(file, _)| file.clone()).collect(),
        timeout,
        trial_timeout: None,
        retries: Default::default(),
        expect: Default::default(),
    })
    .map_err(CommandError::usage)?;
    let task = Task {
        id: TaskId(1),
        trial: TrialId {
            test: id,
            provider: request.provider.name.clone(),
            repeat: 1,
        },
        provider: 0,
        attempt: 1,
        seed: args.seed,
        timeout,
        timeout_rule: TimeoutRule::Timeout,
        kind: TaskKind::Run,
        line: Line::Bytes(line.len() as u32),
        row_bytes: 0,
    };
    Ok((task, line))
}

/// Shows what came of the call, and writes its artifacts.
fn tell(args: &Args, came: &mut Came, out: &Out) -> Result<Exit, CommandError> {
    let (bytes, log) = (mem::take(&mut came.row), mem::take(&mut came.log));
    let row: RowRef<'_> = serde_json::from_slice(&bytes)
        .map_err(|error| CommandError::failed(format!("the worker's answer: {error}")))?;
    let first = row.artifacts.first();
    let is_cut = first.is_some_and(|first| *first.name == *OUTPUT_ARTIFACT);
    let output: Option<Value> = match &row.output {
        Some(output) if !is_cut => serde_json::from_str(output.get()).ok(),
        Some(_) => {
            let whole = came.content(0).map_err(CommandError::storage)?;
            serde_json::from_slice(&whole).ok()
        }
        None => None,
    };
    if args.json {
        let log: Option<&RawValue> = serde_json::from_slice(&log).ok();
        let row: Option<&RawValue> = serde_json::from_slice(&bytes).ok();
        out.document(&json!({"v": 1, "row": row, "output": output, "said": log}));
    } else {
        if let Some(output) = &output {
            let text = serde_json::to_string_pretty(output).unwrap_or_default();
            out.data(&visible(&text));
        }
        let said = serde_json::from_slice(&log).unwrap_or_default();
        out.talk(&call_page(&row, &said));
    }
    if let Some(folder) = &args.artifacts {
        write_artifacts(&row, came, folder)?;
    }
    let is_good = match row.outcome {
        Outcome::Passed | Outcome::Skipped => row.verdict != Some(Verdict::Fail),
        _ => false,
    };
    Ok(if is_good { Exit::Success } else { Exit::Bad })
}

fn write_artifacts(row: &RowRef<'_>, came: &mut Came, folder: &Path) -> Result<(), CommandError> {
    if let Some(error) = came.problem.take() {
        return Err(CommandError::cannot_write(folder, error));
    }
    fs::create_dir_all(folder).map_err(|error| CommandError::cannot_write(folder, error))?;
    for (index, artifact) in row.artifacts.iter().enumerate() {
        let path = folder.join(&*artifact.name);
        let content = came.content(index).and_then(|content| {
            let is_whole = digest(&content) == artifact.sha256;
            let problem = || io::Error::other("its content did not come whole");
            is_whole.then_some(content).ok_or_else(problem)
        });
        content
            .and_then(|content| File::create_new(&path)?.write_all(&content))
            .map_err(|error| CommandError::cannot_write(&path, error))?;
    }
    Ok(())
}
