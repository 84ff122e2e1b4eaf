//! `runner plugin run`: calls a plugin once, and shows all that comes of it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use runner_engine::probe::{Answer, Call, CallEnd, call};
use runner_model::{
    Micros, Outcome, RowRef, TaskId, TestId, TrialId, digest,
    exit::Exit,
    outcome::Verdict,
    protocol::{Line, Task, TaskKind, TimeoutRule},
    provider::{OutputForm, Protocol, Provider, Stdin},
    row::OUTPUT_ARTIFACT,
    template::Template,
    test::Attachment,
    visible::{visible, visible_line},
};
use serde_json::{Value, json, value::RawValue};
use tempfile::NamedTempFile;

use super::grants;
use crate::{
    args::{duration, number, secret_file},
    commands::write_new,
    text::{CommandError, Out, page::call_page, style},
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
    #[arg(long = "file", value_name = "NAME=PATH", value_parser = attachment)]
    files: Vec<(Attachment<'static>, PathBuf)>,
    /// The number that the plugin may take its randomness from
    #[arg(long, value_name = "N", value_parser = number::<u32>, default_value_t = 0)]
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
    #[arg(long, value_name = "FILE", value_parser = secret_file)]
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
    #[arg(last = true, value_name = "ARGS", value_parser = template)]
    args: Vec<Template>,
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
    artifacts: BTreeMap<u32, Vec<u8>>,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let request = request(args)?;
    let is_open = args.protocol.is_none()
        && args.stdin.is_none()
        && args.output.is_none()
        && args.args.is_empty();
    let protocol = match &args.protocol {
        Some(word) => Protocol::parse(word).unwrap_or_default(),
        None if is_open => Protocol::Json,
        None => Protocol::Plain,
    };
    // Of components it makes no difference.
    let called = match ask(args, &request, protocol, out) {
        Err(_) if is_open => ask(args, &request, Protocol::Plain, out),
        called => called,
    };
    let (end, came) = called?;
    let why = match end {
        CallEnd::Stopped(signal) => return Ok(Exit::Signal(signal)),
        CallEnd::Done if !came.row.is_empty() => return tell(args, &came, out),
        CallEnd::Done => "the worker gave no answer".to_owned(),
        CallEnd::Lost(how) => format!("the worker {how}"),
        CallEnd::Late => "the worker said nothing for too long".to_owned(),
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
) -> Result<(CallEnd, Came), CommandError> {
    let mut provider = request.provider.clone();
    provider.protocol = protocol;
    // No worker is trusted to keep the limits. An artifact that is cut is not whole.
    let mut room = provider.limits.artifacts.saturating_add(provider.limits.reply);
    let files = request.files.iter();
    let only = Call {
        provider,
        files: files.map(|(file, path)| (file.sha256, path.clone())).collect(),
        secret_files: args.secret_file.clone(),
        artifacts: args.artifacts.clone(),
        task: Some(task(args, request)?),
    };
    let mut came = Came::default();
    let mut hear = |answer: Answer<'_>| match answer {
        Answer::Compiling(plugin) => out.hint(&format!("compiling {}", visible_line(plugin))),
        Answer::Notice(text) => out.warn(text),
        Answer::Described(_) => {}
        Answer::Artifact { index, bytes } => {
            let kept = bytes.len().min(room as usize);
            room -= kept as u64;
            let content = came.artifacts.entry(index).or_default();
            content.extend_from_slice(&bytes[..kept]);
        }
        Answer::Report { row, log } => (came.row, came.log) = (row.to_vec(), log.to_vec()),
        Answer::Log(line) => out.hint(&visible_line(line)),
    };
    let end = call(only, &mut hear)?;
    Ok((end, came))
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
        return Err(CommandError::usage("`--config` is an object, as the scenario's `config`"));
    }
    let mut files = args.files.clone();
    let (mut stdin, mut stdin_file) = (None, None);
    if let Some(text) = &args.stdin {
        stdin =
            Some(match value("--stdin", text)? {
                Some(bytes) => {
                    let name = "standard-input";
                    let mut file = NamedTempFile::new().map_err(CommandError::failed)?;
                    file.write_all(&bytes).map_err(CommandError::failed)?;
                    files.push((described(name, &bytes), file.path().to_owned()));
                    stdin_file = Some(file);
                    Stdin::File { file: name.into() }
                }
                None => Stdin::Text(template(text).map_err(|problem| {
                    CommandError::usage(format!("`--stdin {text}`: {problem}"))
                })?),
            });
    }
    let output = args.output.as_deref().and_then(OutputForm::parse);
    Ok(Request {
        provider: Provider {
            config,
            args: args.args.clone(),
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

fn template(text: &str) -> Result<Template, String> {
    let template = Template::parse(text).map_err(|error| error.to_string())?;
    let roots = template.check_roots(&["input", "config"]);
    roots.map_err(|error| error.to_string())?;
    Ok(template)
}

/// Reads what `@FILE` or `-` stands for; any other text stands for itself.
fn value(flag: &str, text: &str) -> Result<Option<Vec<u8>>, CommandError> {
    let read = if let Some(path) = text.strip_prefix('@') {
        fs::read(path)
    } else if text == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        return Ok(None);
    };
    let bytes = read.map_err(|error| CommandError::usage(format!("`{flag} {text}`: {error}")))?;
    Ok(Some(bytes))
}

fn json_value(flag: &str, text: Option<&str>) -> Result<Option<Value>, CommandError> {
    let Some(text) = text else { return Ok(None) };
    let bytes = value(flag, text)?;
    let bytes = bytes.as_deref().unwrap_or(text.as_bytes());
    serde_json::from_slice(bytes).map(Some).map_err(|error| {
        CommandError::usage(format!(
            "`{flag}` is not valid JSON: {error}\nfor example: {flag} '\"hello\"', {flag} '{{\"key\": 1}}', {flag} @FILE"
        ))
    })
}

fn attachment(text: &str) -> Result<(Attachment<'static>, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("it is written NAME=PATH")?;
    if !runner_model::row::is_file_name(name) {
        return Err(format!("`{name}` cannot be the name of a file"));
    }
    let content = fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
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
    let timeout = Micros::from(args.timeout);
    let files = request.files.iter().map(|(file, _)| file);
    let line = json!({
        "id": id,
        "input": request.input,
        "providers": [0],
        "timeout": timeout,
        "files": files.collect::<Vec<_>>(),
    });
    let line = line.to_string().into_bytes();
    let task = Task {
        id: TaskId(1),
        trial: TrialId { test: id, provider: request.provider.name.clone(), repeat: 1 },
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
fn tell(args: &Args, came: &Came, out: &Out) -> Result<Exit, CommandError> {
    let row: RowRef<'_> = serde_json::from_slice(&came.row)
        .map_err(|error| CommandError::failed(format!("the worker's answer: {error}")))?;
    let first = row.artifacts.first();
    let is_cut = first.is_some_and(|first| *first.name == *OUTPUT_ARTIFACT);
    let whole = came.artifacts.get(&0).filter(|_| is_cut);
    let output = row.output.as_ref();
    let output = output.map(|output| match whole {
        Some(whole) => serde_json::from_slice(whole),
        None => serde_json::from_str(output.get()),
    });
    let output: Option<Value> = output.and_then(Result::ok);
    if args.json {
        let log: Option<&RawValue> = serde_json::from_slice(&came.log).ok();
        let row: Option<&RawValue> = serde_json::from_slice(&came.row).ok();
        out.document(&json!({"v": 1, "row": row, "output": output, "said": log}));
    } else {
        if let Some(output) = &output {
            let text = serde_json::to_string_pretty(output).unwrap_or_default();
            out.data(&visible(&text));
        }
        let said = serde_json::from_slice(&came.log).unwrap_or_default();
        out.talk(&call_page(&row, &said));
    }
    if let Some(folder) = &args.artifacts {
        write_artifacts(&row, came, folder)?;
    }
    let is_good = matches!(row.outcome, Outcome::Passed | Outcome::Skipped);
    Ok(match is_good && row.verdict != Some(Verdict::Fail) {
        true => Exit::Success,
        false => Exit::Bad,
    })
}

fn write_artifacts(row: &RowRef<'_>, came: &Came, folder: &Path) -> Result<(), CommandError> {
    fs::create_dir_all(folder).map_err(|error| CommandError::cannot_write(folder, error))?;
    for (index, artifact) in (0..).zip(&row.artifacts) {
        let path = folder.join(&*artifact.name);
        let content = came.artifacts.get(&index).map_or(&[][..], Vec::as_slice);
        let written = match digest(content) == artifact.sha256 {
            true => write_new(&path, content),
            false => Err(io::Error::other("its content did not come whole")),
        };
        written.map_err(|error| CommandError::cannot_write(&path, error))?;
    }
    Ok(())
}
