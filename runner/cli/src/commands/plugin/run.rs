//! `runner plugin run`: calls a plugin once, outside a run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::{fs, fs::File, time::Duration};

use runner_engine::calls::{CallError, CallEvent, CallReply, PluginCall, SingleCall, inspect};
use runner_model::json::{Json, parse};
use runner_model::provider::{
    Arguments, COMMAND_ROOTS, Grading, OutputForm, PluginKind, Protocol, Provider, Stdin,
};
use runner_model::row::{Grade, OUTPUT_ARTIFACT};
use runner_model::tree::{LeftEntry, Tree};
use runner_model::visible::{visible, visible_line};
use runner_model::workspace::{
    CHANGES, CONTENTS, KeptChanges, MAX_CHANGE_BYTES, WORKSPACE, Workspace,
};
use runner_model::{
    ErrorClass, Limits, Outcome, Row, RowRef, digest, exit::Exit, log::Said, outcome::Verdict,
    template::Template, test::Attachment, units::show_size, without_mark,
};
use runner_prepare::{ContentSource, Origin, source::read_regular};
use runner_record::RecordError;
use runner_report::{
    VERSION, call_sections, find_trial,
    schemars::{self, JsonSchema},
};
use runner_scenario::{Base, SuiteFile, read_folder};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::provider::{grants, limits, provider};
use crate::args::{RootArgs, duration, number, secret_file};
use crate::commands::{init::write_new, results::changes};
use crate::text::{
    CommandError, Out, mistake,
    progress::compiling_for_call,
    trials::{self, Extent},
};

/// `limits.scratch` of a call with a workspace, unless a flag sets it.
const SCRATCH: u64 = 64 << 20;

/// Call a plugin once and show the reply
///
/// The plugin is called as in a run: in a fresh sandbox with only the grants given here, with the same limits and a deadline. The
/// reply goes to standard output; logs, denied calls and resource use go to standard error. The exit code is 1 if the verdict is
/// `fail`, or if the plugin returned an error, crashed or timed out.
///
/// `--grade` calls the plugin as a grader, with an input such as `{"output": "Paris", "reference": "Paris"}`, and shows the
/// verdict, score and explanation that a run would read. The exit code is 1 if the verdict is `fail` or missing.
///
/// `--from RUN --trial TRIAL` repeats a trial of a run with everything that is stored with the run. The reply is judged by the test's
/// `expect`, and the run is not changed. With `--grader NAME`, only this grader is called, for the stored output. With `--replay`, the
/// newest attempt, or the grader's, is repeated with the responses that the run's journal has, and nothing is sent.
///
/// Grants are `net=URL`, `secret=NAME`, `secret=NAME,host=HOST,header=HEADER`, `fs=PATH:MOUNT`, `fs=PATH:MOUNT:rw` and
/// `env=KEY=VALUE`.
#[derive(clap::Args)]
pub struct Args {
    /// A `.wasm` file, the folder of a built plugin, or `bundled:NAME`
    #[arg(required_unless_present = "from")]
    file: Option<String>,
    /// Repeat a trial of this run
    #[arg(long, value_name = "RUN", requires = "trial", conflicts_with_all = [
        "file", "input", "config", "files", "seed", "timeout", "protocol", "stdin", "output", "grants", "limits", "artifacts", "args",
        "grade", "workspace",
    ])]
    from: Option<String>,
    /// The trial to repeat: its id, or a unique part of it
    #[arg(long, value_name = "TRIAL", requires = "from")]
    trial: Option<String>,
    /// Call this grader of the run for the trial's newest output
    #[arg(long, value_name = "NAME", requires = "from")]
    grader: Option<String>,
    /// Answer requests from the journal of the trial's newest attempt, or of the grader's
    #[arg(long, requires = "from")]
    replay: bool,
    #[command(flatten)]
    root: RootArgs,
    /// The input: JSON, `@FILE` or `-` [default: null]
    #[arg(short, long, value_name = "JSON", allow_hyphen_values = true)]
    input: Option<String>,
    /// Call the plugin as a grader, and read the reply as its answer
    #[arg(long, conflicts_with_all = ["files", "artifacts"])]
    grade: bool,
    /// The lowest score that passes
    #[arg(long, value_name = "N", value_parser = score, requires = "grade", allow_hyphen_values = true)]
    min_score: Option<f64>,
    /// The highest possible score: others, and those below 0, are errors
    #[arg(long, value_name = "N", value_parser = score, requires = "grade")]
    max_score: Option<f64>,
    /// Configuration: JSON, `@FILE` or `-` [default: {}]
    #[arg(short, long, value_name = "JSON")]
    config: Option<String>,
    /// An attachment of the test; repeatable
    #[arg(long = "file", value_name = "NAME=PATH", value_parser = attachment)]
    files: Vec<(Attachment<'static>, PathBuf)>,
    /// Give the call a copy of this folder as `/work`, and show what it changed
    #[arg(long, value_name = "DIR", conflicts_with = "grade")]
    workspace: Option<PathBuf>,
    /// The seed of random numbers
    #[arg(long, value_name = "N", value_parser = number::<u32>, default_value_t = 0)]
    seed: u32,
    /// Interrupt the call after this time
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    timeout: Duration,
    /// The protocol of a command [default: by its `describe`]
    #[arg(long, value_parser = ["plain", "json"])]
    protocol: Option<String>,
    /// A plain command's input: text, `@FILE` or `-`
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stdin: Option<String>,
    /// Read a plain command's output as this [default: text]
    #[arg(long, value_parser = ["text", "trimmed", "json"])]
    output: Option<String>,
    /// Add a grant; see below; repeatable
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<String>,
    /// Read secrets from lines `NAME=VALUE`; repeatable
    #[arg(long, value_name = "FILE", value_parser = secret_file)]
    secret_file: Vec<PathBuf>,
    /// Set a limit, such as `memory=64MiB`; repeatable
    #[arg(long = "limit", value_name = "KEY=VALUE")]
    limits: Vec<String>,
    /// Write artifacts into this folder; no file is replaced
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Arguments of a plain command, or templates such as `{{input.code}}`
    #[arg(last = true, value_name = "ARGS", value_parser = template)]
    args: Vec<Template>,
}

/// `runner plugin run`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PluginRunDocument<'a> {
    /// Always [`VERSION`].
    pub v: u8,
    /// The keys of a row that do not depend on a run.
    #[schemars(with = "Row<'a>")]
    pub row: Option<&'a RawValue>,
    /// The whole output, which may be too large for the row. `null` without one.
    #[schemars(with = "serde_json::Value")]
    pub output: Option<&'a RawValue>,
    /// Log records, standard output and standard error.
    #[schemars(with = "Option<Said<'a>>")]
    pub said: Option<&'a RawValue>,
}

/// `runner plugin run --grade`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GradeDocument<'a> {
    /// Always [`VERSION`].
    pub v: u8,
    /// The answer, as in a row.
    pub grade: &'a Grade<'a>,
}

/// The reply to a call.
#[derive(Default)]
struct Reply {
    is_described: bool,
    /// Notices that were printed. A second call has the same ones.
    notices: BTreeSet<String>,
    /// Row or grade, and logs.
    call: CallReply,
    /// Contents by index in the row.
    artifacts: BTreeMap<u32, Vec<u8>>,
    /// The folder with which the workspace started.
    base: Option<Base>,
}

impl Reply {
    /// Returns whether the output of a plain command contains an answer of the JSON protocol.
    fn has_json_answer(&self) -> bool {
        let row: Value = serde_json::from_slice(&self.call.row).unwrap_or_default();
        // The explanation of a grade is the text that the grader printed.
        let text = row["output"].as_str().or_else(|| row["explanation"].as_str());
        let mut text = text.unwrap_or_default().to_owned();
        text.retain(|letter| !letter.is_whitespace());
        text.contains("{\"ok\":") || text.contains("{\"err\":")
    }

    /// Calls a plugin by its file.
    fn send(&mut self, request: &PluginCall, out: &Out) -> Result<(), CallError> {
        self.receive(SingleCall::of_plugin(request)?, out)
    }

    /// Makes a call, and collects its reply.
    fn receive(&mut self, call: SingleCall, out: &Out) -> Result<(), CallError> {
        // A guest may have taken over its worker, so the limits are enforced here again. An artifact that this cuts fails the
        // check of its digest.
        let limits = call.limits();
        let workspace = limits.workspace.saturating_add(MAX_CHANGE_BYTES);
        let mut room = limits.artifacts.saturating_add(limits.reply).saturating_add(workspace);
        let called = call.make(&mut |event| match event {
            CallEvent::Compiling(plugin) => compiling_for_call(out, plugin),
            CallEvent::Notice(text) => {
                if self.notices.insert(text.to_owned()) {
                    out.notice("note:", text);
                }
            }
            CallEvent::Described(description) => {
                out.set_bar(None);
                self.is_described = description.is_some();
            }
            CallEvent::Artifact { index, bytes } => {
                let kept = bytes.len().min(room as usize);
                room -= kept as u64;
                self.artifacts.entry(index).or_default().extend_from_slice(&bytes[..kept]);
            }
            CallEvent::Log(line) => out.hint(&visible_line(line)),
        });
        out.set_bar(None);
        self.call = called?;
        Ok(())
    }
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let mut reply = Reply::default();
    let called = match (&args.from, &args.trial) {
        (Some(run), Some(trial)) => reply.receive(stored_call(args, run, trial)?, out),
        _ => call_file(args, out, &mut reply)?,
    };
    let problem = match called {
        Ok(()) if reply.call.row == b"null" => {
            "the machine lacked memory, disk space or files".into()
        }
        Ok(()) if args.grade || args.grader.is_some() => return print_grade(args, &reply, out),
        Ok(()) => return print_reply(args, &reply, out),
        Err(CallError::Failed(error)) => return Err(error.into()),
        Err(CallError::Stopped(signal)) => return Ok(Exit::Signal(signal)),
        Err(CallError::Lost(how)) => format!("the worker {how}"),
        Err(CallError::Late) => "the worker did not respond in time".to_owned(),
    };
    Err(CommandError::new(Exit::Bad, problem))
}

/// Prepares the call of a trial of a run, or of its grader.
fn stored_call(args: &Args, run: &str, trial: &str) -> Result<SingleCall, CommandError> {
    let run = args.root.open()?.find(run)?;
    let trial = find_trial(&run, trial)?.only(run.id(), trial).map_err(CommandError::usage)?;
    let grader = args.grader.as_deref();
    Ok(SingleCall::of_trial(&run, &trial, grader, args.replay, &args.secret_file)?)
}

/// Calls a plugin by its file. If the call with the JSON protocol fails, calls it again as a plain command.
fn call_file(
    args: &Args,
    out: &Out,
    reply: &mut Reply,
) -> Result<Result<(), CallError>, CommandError> {
    reply.base = args.workspace.as_deref().map(read_base).transpose()?;
    let mut request = request(args, reply.base.as_ref())?;
    let is_undecided = args.protocol.is_none()
        && args.stdin.is_none()
        && args.output.is_none()
        && args.args.is_empty();
    request.provider.protocol = match &args.protocol {
        Some(word) => Protocol::parse(word).unwrap_or_default(),
        None if is_undecided => Protocol::Json,
        None => Protocol::Plain,
    };
    let error = match reply.send(&request, out) {
        Err(CallError::Failed(error)) => CommandError::from(error),
        called => return Ok(called),
    };
    let reason = error.message();
    // A plain command fails in `describe`.
    if is_undecided && !reply.is_described && is_command(args) {
        request.provider.protocol = Protocol::Plain;
        let called = match reply.send(&request, out) {
            Err(CallError::Failed(error)) => return Err(error.into()),
            called => called,
        };
        if reply.has_json_answer() {
            return Err(mistake!(
                "{reason}\nto call it as a plain command, add `--protocol plain`"
            ));
        }
        out.hint("called as a plain command; `--protocol json` calls it with a JSON request");
        return Ok(called);
    }
    if args.input.is_none() && reason.contains("refuses the input") {
        return Err(mistake!("{reason}\nadd one: --input '{{\"key\": 1}}'"));
    }
    Err(error)
}

/// Returns whether the plugin is a command. Components ignore the protocol, so another one does not help them.
fn is_command(args: &Args) -> bool {
    let inspected = inspect(args.file.as_deref().unwrap_or_default());
    inspected.is_ok_and(|(.., inspection)| inspection.kind == PluginKind::Command)
}

fn request(args: &Args, base: Option<&Base>) -> Result<PluginCall, CommandError> {
    let mut limits = limits(&args.limits)?;
    if args.workspace.is_some() && limits.scratch == 0 {
        limits.scratch = SCRATCH;
    }
    let values = [&args.input, &args.config, &args.stdin];
    if values.iter().filter(|text| text.as_deref() == Some("-")).count() > 1 {
        return Err(mistake!(
            "only one value can be read from standard input; read the other one from a file: `@FILE`"
        ));
    }
    let input = json_value("--input", args.input.as_deref().unwrap_or("null"), &limits)?;
    let config = json_value("--config", args.config.as_deref().unwrap_or("{}"), &limits)?;
    if !config.is_object() {
        return Err(CommandError::usage("`--config` must be a JSON object, such as {\"key\": 1}"));
    }
    let files = args.files.iter().map(|(file, path)| {
        (file.sha256, Origin::File(SuiteFile { path: path.clone(), bytes: file.bytes }))
    });
    let mut blobs: Vec<_> = files.collect();
    let mut attachments: Vec<_> = args.files.iter().map(|(file, _)| file.clone()).collect();
    let mut stdin = None;
    if let Some(text) = &args.stdin {
        stdin = Some(match read_value("--stdin", text, &limits)? {
            Some(_) if args.grade => {
                return Err(mistake!(
                    "a grader has no files: instead of `--stdin {text}`, write --stdin '{{{{input.output}}}}'"
                ));
            }
            Some(bytes) => {
                let name = "standard-input";
                attachments.push(describe(name, &bytes));
                blobs.push((digest(&bytes), Origin::Bytes(bytes.into())));
                Stdin::File { file: name.into() }
            }
            None => Stdin::Text(
                template(text).map_err(|problem| mistake!("`--stdin {text}`: {problem}"))?,
            ),
        });
    }
    if let Some(base) = base {
        let files = base.files.iter();
        blobs.extend(files.map(|(sha256, file)| (*sha256, Origin::File(file.clone()))));
        blobs.push((digest(&base.lines), Origin::Bytes(base.lines.clone())));
    }
    let output = args.output.as_deref().and_then(OutputForm::parse);
    Ok(PluginCall {
        provider: Provider {
            config,
            args: Arguments::Each(args.args.clone()),
            stdin,
            output: output.unwrap_or_default(),
            grants: grants(&args.grants, &limits)?,
            limits,
            workspace: args.workspace.as_ref().map(|_| Workspace {
                from: None,
                mount: WORKSPACE.to_owned(),
                keep: KeptChanges::Changes,
            }),
            grading: grading(args).map(Box::new),
            ..provider(args.file.as_deref().unwrap_or_default())?
        },
        input: to_raw_value(&input).map_err(CommandError::failed)?,
        attachments,
        base: base.map(|base| digest(&base.lines)),
        blobs: ContentSource::new(blobs),
        seed: args.seed,
        timeout: args.timeout,
        secret_files: args.secret_file.clone(),
        artifacts: args.artifacts.clone(),
    })
}

/// Returns the settings of a grader. `None` without `--grade`.
fn grading(args: &Args) -> Option<Grading> {
    args.grade.then(|| Grading {
        // The default input would be a table of all values of a grader.
        input: Some("{{input}}".into()),
        min_score: args.min_score,
        max_score: args.max_score,
        weight: 1.0,
        timeout: args.timeout.into(),
        retries: None,
        workspace: None,
        fingerprint: None,
    })
}

/// Reads the base of a workspace.
fn read_base(folder: &Path) -> Result<Base, CommandError> {
    read_folder(folder).map_err(|problem| mistake!("`--workspace`: {problem}"))
}

fn score(text: &str) -> Result<f64, String> {
    let score = text.parse().ok().filter(|score: &f64| score.is_finite());
    score.ok_or_else(|| "expected a number, such as 0.7".to_owned())
}

fn template(text: &str) -> Result<Template, String> {
    let template = Template::parse(text).map_err(|error| error.to_string())?;
    template.check_roots(COMMAND_ROOTS).map_err(|error| error.to_string())?;
    Ok(template)
}

/// Reads the content of `@FILE` or `-`, at most `limits.input`. `None` for any other text, which is the value itself.
fn read_value(flag: &str, text: &str, limits: &Limits) -> Result<Option<Vec<u8>>, CommandError> {
    let most = limits.input;
    let mut bytes = Vec::new();
    let bound = most.saturating_add(1);
    let read = match text.strip_prefix('@') {
        Some(path) => File::open(path).and_then(|file| file.take(bound).read_to_end(&mut bytes)),
        None if text == "-" => io::stdin().lock().take(bound).read_to_end(&mut bytes),
        None => return Ok(None),
    };
    let length = read.map_err(|error| mistake!("`{flag} {text}`: {error}"))?;
    if length as u64 > most {
        let most = show_size(most);
        return Err(mistake!(
            "`{flag} {text}` has more than {most}, which is `limits.input`\nto allow more: --limit input=SIZE"
        ));
    }
    Ok(Some(bytes))
}

fn json_value(flag: &str, text: &str, limits: &Limits) -> Result<Value, CommandError> {
    let bytes = read_value(flag, text, limits)?;
    let bytes = bytes.as_deref().unwrap_or(text.as_bytes());
    let text = str::from_utf8(bytes).map_err(|error| error.to_string());
    text.and_then(|text| parse(without_mark(text))).map_err(|error| {
        mistake!("`{flag}` is not valid JSON: {error}\nfor example: {flag} '\"hello\"', {flag} '{{\"key\": 1}}', {flag} @FILE")
    })
}

fn attachment(text: &str) -> Result<(Attachment<'static>, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("expected NAME=PATH")?;
    if !runner_model::row::is_file_name(name) {
        return Err(format!("`{name}` is not a valid name of a file"));
    }
    // The plugin contract has 32 bits for a size.
    let content = read_regular(Path::new(path), u32::MAX.into());
    let content = content.map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok((describe(name, &content), path.into()))
}

fn describe(name: &str, content: &[u8]) -> Attachment<'static> {
    Attachment {
        name: name.to_owned().into(),
        sha256: digest(content),
        bytes: content.len() as u64,
    }
}

/// Prints the reply, and writes its artifacts.
fn print_reply(args: &Args, reply: &Reply, out: &Out) -> Result<Exit, CommandError> {
    let mut row: RowRef<'_> = serde_json::from_slice(&reply.call.row)
        .map_err(|error| CommandError::failed(format!("the worker's row is invalid: {error}")))?;
    // An output that is too large for a row is the first artifact.
    let is_artifact =
        row.artifacts.first().is_some_and(|artifact| *artifact.name == *OUTPUT_ARTIFACT);
    let output: Option<&RawValue> = row.output.as_ref().and_then(|output| {
        match reply.artifacts.get(&0).filter(|_| is_artifact) {
            Some(whole) => serde_json::from_slice(whole).ok(),
            None => Some(&*output.0),
        }
    });
    if args.json {
        let log: Option<&RawValue> = serde_json::from_slice(&reply.call.log).ok();
        let row: Option<&RawValue> = serde_json::from_slice(&reply.call.row).ok();
        out.document(&PluginRunDocument { v: VERSION, row, output, said: log });
    } else {
        if let Some(output) = output {
            let text = Json::of(output).map_or(output.to_string(), |output| format!("{output:#}"));
            out.data(&visible(&text));
        }
        let said = serde_json::from_slice(&reply.call.log).unwrap_or_default();
        if args.from.is_some() {
            // Denials of a run's trial advise grants of the scenario. `--grant` cannot change them.
            row.seq = Some(0);
        }
        let remedy = "`--json` has all";
        let extent = Extent { columns: None, is_full: false, remedy, known: None };
        out.talk(&trials::page(&row, call_sections(&row, &said), extent));
        if let (Some(base), Some(_)) = (&reply.base, &row.workspace) {
            print_changes(&row, reply, base, out)?;
        }
        if args.from.is_some() && !row.denied.is_empty() {
            out.hint("`--from` repeats the trial with its stored grants: change the scenario, then run it again");
        }
    }
    if let Some(folder) = &args.artifacts {
        write_artifacts(&row, reply, folder)?;
    }
    let is_good = matches!(row.outcome, Outcome::Passed | Outcome::Skipped);
    let is_good = is_good && row.verdict != Some(Verdict::Fail);
    Ok(if is_good { Exit::Success } else { Exit::Bad })
}

/// Prints the changes in the workspace of a call.
fn print_changes(
    row: &RowRef<'_>,
    reply: &Reply,
    base: &Base,
    out: &Out,
) -> Result<(), CommandError> {
    let artifact = |name: &str| {
        let named = (0..).zip(&row.artifacts).filter(|(_, artifact)| *artifact.name == *name);
        let Some((index, artifact)) = named.last() else { return Ok(&[][..]) };
        let content = reply.artifacts.get(&index).map_or(&[][..], Vec::as_slice);
        if digest(content) == artifact.sha256 {
            Ok(content)
        } else {
            Err(CommandError::failed(format!("the artifact `{name}` is incomplete")))
        }
    };
    let (changes, contents) = (artifact(CHANGES)?, artifact(CONTENTS)?);
    let tree = Tree::rebuild(&base.lines, changes).map_err(CommandError::failed)?;
    let read = |left: &LeftEntry| {
        let bytes = left.entry.bytes;
        if let Some(at) = left.at {
            let content = contents.get(at as usize..at.saturating_add(bytes) as usize);
            let lost = || io::Error::other("it is not in the changes");
            return content.map(<[u8]>::to_vec).ok_or_else(lost).map_err(|source| {
                RecordError::Io { what: "read", path: (&*left.entry.path).into(), source }
            });
        }
        let mut files = base.files.iter().filter(|(sha256, _)| Some(*sha256) == left.entry.sha256);
        let path = files.next().map(|(_, file)| file.path.clone()).unwrap_or_default();
        let read = read_regular(&path, bytes);
        read.map_err(|source| RecordError::Io { what: "read", path, source })
    };
    Ok(changes::print(&tree.changes, &read, out)?)
}

/// Prints the answer of a grader as a run reads it.
fn print_grade(args: &Args, reply: &Reply, out: &Out) -> Result<Exit, CommandError> {
    let grade: Grade<'_> = serde_json::from_slice(&reply.call.row)
        .map_err(|error| CommandError::failed(format!("the worker's grade is invalid: {error}")))?;
    if args.json {
        out.document(&GradeDocument { v: VERSION, grade: &grade });
    } else {
        let line = |title: &str, text: &str| out.fact(12, title, text);
        line("verdict", grade.verdict.map_or("none", Verdict::as_str));
        if let Some(error) = &grade.error {
            let class = error.class.map_or(&*error.code, |class| class.as_str());
            line("error", &format!("{class}: {error}"));
            if args.grade && error.class == Some(ErrorClass::Denied) {
                out.hint("grants of this call are arguments, such as `--grant net=URL`");
            }
        }
        if let Some(score) = grade.score {
            let least = grade.min_score.map(|least| format!(" (at least {least} passes)"));
            line("score", &format!("{score}{}", least.unwrap_or_default()));
        }
        if let Some(text) = &grade.explanation {
            line("explanation", text);
        }
        if let Some(log) = grade.own_log() {
            out.talk(&visible(log));
        }
    }
    let is_good = matches!(grade.verdict, Some(Verdict::Pass | Verdict::Skip));
    Ok(if is_good { Exit::Success } else { Exit::Bad })
}

fn write_artifacts(row: &RowRef<'_>, reply: &Reply, folder: &Path) -> Result<(), CommandError> {
    fs::create_dir_all(folder).map_err(|error| CommandError::cannot_write(folder, &error))?;
    for (index, artifact) in (0..).zip(&row.artifacts) {
        let path = folder.join(&*artifact.name);
        let content = reply.artifacts.get(&index).map_or(&[][..], Vec::as_slice);
        let written = if digest(content) == artifact.sha256 {
            write_new(&path, content)
        } else {
            Err(io::Error::other("its content is incomplete"))
        };
        written.map_err(|error| CommandError::cannot_write(&path, &error))?;
    }
    Ok(())
}
