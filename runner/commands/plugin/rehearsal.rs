//! From the arguments of `runner plugin run` to a [`Rehearsal`].

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use miette::miette;
use serde_json::{Value, json};

use super::{
    file,
    grants::{self, render},
};
use crate::{
    cli::{OutputArg, ProtocolArg, RehearseArgs},
    commands::{Surroundings, live, secrets},
    error::Error,
    model::{Grants, Limits, chain, media_type},
    output::Output,
    plugin::{
        Access, AttachmentSource, Invocation, Kind, OutputForm, Plugin, PluginFile, Protocol,
    },
    run::{self, Protected, Rehearsal},
};

/// Everything that the command line says of a call, read and found.
pub(super) struct Prepared {
    pub(super) file: PluginFile,
    pub(super) limits: Limits,
    pub(super) grants: Grants,
    pub(super) input: Value,
    pub(super) config: Value,
    pub(super) protocol: Protocol,
    invocation: Option<Invocation>,
    files: Arc<[AttachmentSource]>,
    access: Access,
    env: Vec<(String, String)>,
}

impl Prepared {
    pub(super) fn read(
        args: &RehearseArgs,
        surroundings: &Surroundings,
        output: &Output,
    ) -> Result<Self, Error> {
        let limits = run::set_limits(&args.limits).map_err(Error::usage)?;
        let grants = grants::read(&args.grants, &limits)?;
        let path = file::find(&args.file, output)?;
        let file = PluginFile::read(&path, limits.file).map_err(|error| usage(&chain(&error)))?;

        let (input, config) = values(args)?;
        let (protocol, is_plain) = called(args, &file)?;
        let invocation = is_plain.then(|| invocation(args, &input, &config));
        let secrets = read_secrets(args, &grants, surroundings, output)?;
        let mut protected = live::protected(surroundings, None);
        protected.push(Protected::file("the plugin", &path));
        let files = args.attachments.iter().map(|text| attachment(text));
        Ok(Self {
            invocation: invocation.transpose()?,
            files: files.collect::<Result<_, _>>()?,
            access: grants::access(&grants, &secrets, &surroundings.scratch_root, &protected)?,
            env: grants::environment(&grants, &input, &config, &secrets)?,
            file,
            limits,
            grants,
            input,
            config,
            protocol,
        })
    }

    /// Tells whether the plugin replies with a text, as a plain command does that is not asked for JSON.
    pub(super) fn is_text(&self) -> bool {
        let invocation = self.invocation.as_ref();
        invocation.is_some_and(|invocation| invocation.output != OutputForm::Json)
    }

    /// Makes the calls' common part.
    pub(super) fn rehearsal(self, plugin: Plugin, args: &RehearseArgs) -> Rehearsal {
        Rehearsal {
            plugin,
            input: self.input.to_string().into(),
            config: self.config.to_string().into(),
            seed: args.seed,
            files: self.files,
            invocation: self.invocation,
            limits: self.limits,
            access: self.access,
            env: self.env,
            timeout: args.timeout,
        }
    }
}

/// Reads input and configuration.
fn values(args: &RehearseArgs) -> Result<(Value, Value), Error> {
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
    Ok((input, config))
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

/// Reads the values of the secrets that are granted, all of which must have one.
fn read_secrets(
    args: &RehearseArgs,
    granted: &Grants,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<BTreeMap<String, String>, Error> {
    let names = grants::secret_names(granted);
    let values = secrets::read(&names, &args.secrets, surroundings.variable, output)?;
    let missing = names.iter().filter(|name| !values.contains_key(*name));
    let missing: Vec<_> = missing.map(|name| (name.as_str(), String::new())).collect();
    if missing.is_empty() {
        Ok(values)
    } else {
        Err(secrets::no_value(&missing))
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
