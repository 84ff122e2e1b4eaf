//! `runner plugin run`.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use miette::miette;
use serde_json::Value;

use crate::{
    cli::{OutputArg, ProtocolArg, RehearseArgs, parse_grants},
    commands::Context,
    error::{Error, ExitStatus},
    output::{self, RehearsalNotices},
    plugin::{CommandProtocol, StdoutForm},
    run::{self, Protected},
    session::{self, GivenFile, Interruptible, PlainStdin, Rehearse},
};

/// Calls a plugin and shows everything that comes of it.
pub(super) fn run(args: RehearseArgs, context: &Context) -> Result<ExitStatus, Error> {
    let is_json = args.json;
    let request = request(args, context)?;
    let mut calls = RehearsalNotices::new(context.notices(), is_json);
    let rehearsed = session::rehearse(&request, &context.session_host()?, &mut calls)?;
    let rehearsed = match rehearsed {
        Interruptible::Done(rehearsed) => rehearsed,
        Interruptible::Interrupted(signal) => return Ok(ExitStatus::Signalled(signal)),
    };
    let report = &rehearsed.report;
    match is_json {
        true => context.output.document(report),
        false => output::print_rehearsal(report, &context.output),
    }
    // Said last: what the plugin replied is there all the same.
    rehearsed.unwritten.map_or(Ok(()), Err)?;
    Ok(match report.is_bad() {
        true => ExitStatus::NotPassed,
        false => ExitStatus::Success,
    })
}

fn request(args: RehearseArgs, context: &Context) -> Result<Rehearse, Error> {
    let limits = run::set_limits(&args.limits).map_err(Error::usage)?;
    let grants = parse_grants(&args.grants, &limits)?;
    let from_stdin = [&args.input, &args.config, &args.stdin].map(Option::as_deref);
    if from_stdin.iter().filter(|text| **text == Some("-")).count() > 1 {
        return Err(usage("standard input can be read only once"));
    }
    let mut values = Values::default();
    let input = values.json("--input", "the input", args.input.as_deref())?;
    let config = values.json("--config", "the configuration", args.config.as_deref())?;
    let config = match config {
        None => None,
        Some(Value::Object(config)) => Some(config),
        Some(_) => {
            return Err(usage("`--config` is an object, as the scenario's `config`"));
        }
    };
    let stdin = match args.stdin {
        None => None,
        Some(text) => Some(match values.read("--stdin", "the standard input", &text)? {
            Some(bytes) => PlainStdin::Bytes(bytes),
            None => PlainStdin::Template(text),
        }),
    };
    let attachments = args.attachments.iter().map(|text| attachment(text));
    Ok(Rehearse {
        plugin: args.file,
        input,
        config,
        attachments: attachments.collect::<Result<_, _>>()?,
        seed: args.seed,
        timeout: args.timeout,
        repeat: args.repeat,
        protocol: args.protocol.map(|protocol| match protocol {
            ProtocolArg::Plain => CommandProtocol::Plain,
            ProtocolArg::Json => CommandProtocol::Json,
        }),
        stdin,
        output: args.output.map(|output| match output {
            OutputArg::Text => StdoutForm::Text,
            OutputArg::Trimmed => StdoutForm::Trimmed,
            OutputArg::Json => StdoutForm::Json,
        }),
        args: args.args,
        grants,
        secret_files: args.secrets.files,
        limits,
        fuel: args.fuel,
        grading: args.grade.then(|| args.min_score.into()),
        artifacts: args.artifacts,
        results: context.results.clone(),
        read: values.files,
    })
}

/// Values that are written on the command line, or where it says.
#[derive(Default)]
struct Values {
    /// The files that were read.
    files: Vec<Protected>,
}

impl Values {
    /// Reads what `@FILE` or `-` stands for; any other text stands for itself.
    fn read(
        &mut self,
        flag: &str,
        what: &'static str,
        text: &str,
    ) -> Result<Option<Vec<u8>>, Error> {
        let read = if let Some(path) = text.strip_prefix('@') {
            self.files.push(Protected::file(what, Path::new(path)));
            fs_err::read(path)
        } else if text == "-" {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        } else {
            return Ok(None);
        };
        let bytes = read.map_err(|error| usage(&format!("`{flag}`: {error}")))?;
        Ok(Some(bytes))
    }

    fn json(
        &mut self,
        flag: &str,
        what: &'static str,
        text: Option<&str>,
    ) -> Result<Option<Value>, Error> {
        let Some(text) = text else { return Ok(None) };
        let bytes = self.read(flag, what, text)?;
        let bytes = bytes.as_deref().unwrap_or(text.as_bytes());
        serde_json::from_slice(bytes).map(Some).map_err(|error| {
            let example = format!("{flag} '\"hello\"', {flag} '{{\"key\": 1}}', {flag} @FILE");
            Error::usage(miette!(
                help = format!("for example: {example}"),
                "`{flag}` is not valid JSON: {error}"
            ))
        })
    }
}

fn attachment(text: &str) -> Result<GivenFile, Error> {
    let (name, path) = text.split_once('=').ok_or_else(|| {
        usage(&format!(
            "`--file {text}` is not understood: it is written `--file NAME=PATH`"
        ))
    })?;
    Ok(GivenFile {
        name: name.into(),
        path: PathBuf::from(path),
    })
}

fn usage(message: &str) -> Error {
    Error::usage(miette!("{message}"))
}
