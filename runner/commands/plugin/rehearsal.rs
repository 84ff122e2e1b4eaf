//! From the arguments of `runner plugin run` to a [`Rehearsal`].

use std::{
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use miette::miette;
use serde_json::{Value, json};

use super::grants::render;
use crate::{
    cli::{OutputArg, ProtocolArg, RehearseArgs},
    error::Error,
    model::media_type,
    plugin::{AttachmentSource, Invocation, Kind, OutputForm, PluginFile, Protocol},
};

/// What the command line hands to a plugin, read.
pub(super) struct Handed {
    pub(super) input: Value,
    pub(super) config: Value,
    pub(super) files: Arc<[AttachmentSource]>,
    pub(super) protocol: Protocol,
    pub(super) invocation: Option<Invocation>,
}

impl Handed {
    /// Reads what is handed to the plugin in `file`.
    pub(super) fn read(args: &RehearseArgs, file: &PluginFile) -> Result<Self, Error> {
        let from_stdin = [&args.input, &args.config, &args.stdin];
        let from_stdin = from_stdin.into_iter().flatten().filter(|text| *text == "-");
        if from_stdin.count() > 1 {
            return Err(usage("standard input can be read only once"));
        }
        let input = match &args.input {
            Some(text) => read_json("--input", text)?,
            None => Value::Null,
        };
        let config = match &args.config {
            Some(text) => read_json("--config", text)?,
            None => json!({}),
        };
        if !config.is_object() {
            return Err(usage("`--config` is an object, as the scenario's `config`"));
        }
        let (protocol, is_plain) = called(args, file)?;
        let invocation = is_plain.then(|| invocation(args, &input, &config));
        Ok(Self {
            files: args
                .attachments
                .iter()
                .map(|text| attachment(text))
                .collect::<Result<_, _>>()?,
            protocol,
            invocation: invocation.transpose()?,
            input,
            config,
        })
    }
}

/// How the plugin is called, and whether as a plain command.
fn called(args: &RehearseArgs, file: &PluginFile) -> Result<(Protocol, bool), Error> {
    let only_plain = [
        ("--stdin", args.stdin.is_some()),
        ("--output", args.output.is_some()),
        ("arguments behind `--`", !args.args.is_empty()),
    ];
    let given = only_plain.into_iter().find(|(_, is_given)| *is_given);
    match (file.kind, args.protocol) {
        (Kind::Component { .. }, Some(_)) => Err(usage(&format!(
            "`--protocol` is for commands, and `{}` is a component",
            file.path.display()
        ))),
        (Kind::Component { .. }, None) => match given {
            Some((what, _)) => Err(usage(&format!(
                "{what} is for commands, and `{}` is a component; it gets `--input` and `--config`",
                file.path.display()
            ))),
            None => Ok((Protocol::Json, false)),
        },
        (Kind::Command(_), Some(ProtocolArg::Json)) => match given {
            Some((what, _)) => Err(usage(&format!(
                "{what} is for plain commands; the JSON protocol has its own"
            ))),
            None => Ok((Protocol::Json, false)),
        },
        (Kind::Command(_), Some(ProtocolArg::Plain) | None) => Ok((Protocol::Plain, true)),
    }
}

fn invocation(args: &RehearseArgs, input: &Value, config: &Value) -> Result<Invocation, Error> {
    let roots = [("input", input), ("config", config)];
    let fill_in = |text: &str| {
        render(text, &roots).map_err(|reason| usage(&format!("template `{text}`: {reason}")))
    };
    let stdin = match args.stdin.as_deref() {
        None => Vec::new(),
        Some(text) => match named(text) {
            Some(source) => source.read("--stdin")?,
            None => fill_in(text)?.into_bytes(),
        },
    };
    let arguments = args.args.iter().map(|text| fill_in(text));
    Ok(Invocation {
        args: arguments.collect::<Result<_, _>>()?,
        stdin,
        output: match args.output {
            Some(OutputArg::Text) | None => OutputForm::Text,
            Some(OutputArg::Trimmed) => OutputForm::Trimmed,
            Some(OutputArg::Json) => OutputForm::Json,
        },
    })
}

fn read_json(flag: &str, text: &str) -> Result<Value, Error> {
    let bytes = match named(text) {
        Some(source) => source.read(flag)?,
        None => text.as_bytes().to_vec(),
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        let example = format!("{flag} '\"hello\"', {flag} '{{\"key\": 1}}', {flag} @FILE");
        Error::usage(miette!(
            help = format!("for example: {example}"),
            "`{flag}` is no JSON: {error}"
        ))
    })
}

fn attachment(text: &str) -> Result<AttachmentSource, Error> {
    let (name, path) = text.split_once('=').ok_or_else(|| {
        usage(&format!(
            "`--file {text}` is not understood: it is written `--file NAME=PATH`"
        ))
    })?;
    let path = fs_err::canonicalize(path).map_err(|error| usage(&format!("`--file`: {error}")))?;
    let metadata = fs_err::metadata(&path).map_err(|error| usage(&format!("`--file`: {error}")))?;
    if !metadata.is_file() {
        return Err(usage(&format!("`--file {text}` names no file")));
    }
    Ok(AttachmentSource {
        name: name.into(),
        media_type: media_type(name).into(),
        size: metadata.len(),
        path,
    })
}

/// Where a value is, if it is not on the command line itself.
enum Source<'a> {
    Stdin,
    File(&'a Path),
}

fn named(text: &str) -> Option<Source<'_>> {
    match text.strip_prefix('@') {
        Some(path) => Some(Source::File(Path::new(path))),
        None => (text == "-").then_some(Source::Stdin),
    }
}

impl Source<'_> {
    fn read(&self, flag: &str) -> Result<Vec<u8>, Error> {
        let read = match self {
            Self::File(path) => fs_err::read(path),
            Self::Stdin => {
                let mut bytes = Vec::new();
                io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
            }
        };
        read.map_err(|error| usage(&format!("`{flag}`: {error}")))
    }
}

fn usage(message: &str) -> Error {
    Error::usage(miette!("{message}"))
}
