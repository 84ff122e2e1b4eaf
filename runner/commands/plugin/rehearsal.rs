//! From the arguments of `runner plugin run` to a [`Rehearsal`].

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use miette::miette;
use serde_json::{Map, Value};

use super::{file, grants, protected};
use crate::{
    cli::{OutputArg, ProtocolArg, RehearseArgs},
    commands::Surroundings,
    error::Error,
    model::{Grants, Limits, chain, media_type},
    output::{Notices, Output},
    plugin::{
        Access, AttachmentSource, CommandProtocol, Invocation, Kind, Plugin, PluginFile, StdoutForm,
    },
    run::{self, Environment, Rehearsal},
    scenario::{self, Template},
    session::secrets,
};

/// Everything that the command line says of a call, read and found.
pub(super) struct Prepared {
    pub(super) file: PluginFile,
    pub(super) limits: Limits,
    pub(super) grants: Grants,
    pub(super) input: Value,
    pub(super) config: Value,
    pub(super) protocol: CommandProtocol,
    /// Whether its `describe` is to show that a command speaks this protocol, as nothing else says it.
    pub(super) is_presumed: bool,
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
        let (protocol, is_presumed) = called(args, &file)?;
        let secrets = read_secrets(args, &grants, surroundings, output)?;
        let secrets = run::secrets(&grants, file.kind, &secrets);
        let protected = protected::of_rehearsal(args, &path, surroundings);
        let access = grants::access(
            &grants,
            secrets,
            &surroundings.host.scratch_root,
            &protected,
        )?;
        let environment = Environment::new(&grants, &access.secrets);
        let env = environment.render(&input, &config);
        let mut prepared = Self {
            invocation: None,
            files: attachments(&args.attachments)?.into(),
            env: env.map_err(|reason| usage(&reason))?,
            access,
            file,
            limits,
            grants,
            input,
            config,
            protocol,
            is_presumed,
        };
        if protocol == CommandProtocol::Plain {
            prepared.make_plain(args)?;
        }
        Ok(prepared)
    }

    /// Makes it a call by the plain protocol, which must have a use for everything that is given.
    pub(super) fn make_plain(&mut self, args: &RehearseArgs) -> Result<(), Error> {
        self.invocation = Some(invocation(args, &self.input, &self.config)?);
        self.protocol = CommandProtocol::Plain;
        self.is_presumed = false;
        let stdin = args.stdin.iter().filter(|text| named(text).is_none());
        let variables = self.grants.env.iter().map(|(_, text)| text);
        let templates = || stdin.clone().chain(&args.args).chain(variables.clone());
        for (root, value) in [("input", &args.input), ("config", &args.config)] {
            if value.is_some() && !templates().any(|text| grants::uses(text, root)) {
                let help = format!(
                    "a command that speaks the JSON protocol gets it with `--protocol json`, any other with \
                     `--stdin` or as an argument behind `--`: `{{{{{root}}}}}` in it stands for the value"
                );
                return Err(Error::usage(miette!(
                    help = help,
                    "the plain call has no use for `--{root}`"
                )));
            }
        }
        Ok(())
    }

    /// Tells whether the plugin replies with a text, as a plain command does that is not asked for JSON.
    pub(super) fn is_text(&self) -> bool {
        let invocation = self.invocation.as_ref();
        invocation.is_some_and(|invocation| invocation.output != StdoutForm::Json)
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
        None => Value::Object(Map::new()),
    };
    if !config.is_object() {
        return Err(usage("`--config` is an object, as the scenario's `config`"));
    }
    Ok((input, config))
}

/// How the plugin is called, and whether it is yet to show that it can be called so.
fn called(args: &RehearseArgs, file: &PluginFile) -> Result<(CommandProtocol, bool), Error> {
    let only_plain = [
        ("`--stdin` is", args.stdin.is_some()),
        ("`--output` is", args.output.is_some()),
        ("arguments behind `--` are", !args.args.is_empty()),
    ];
    let given = only_plain.into_iter().find(|(_, is_given)| *is_given);
    match (file.kind, args.protocol) {
        (Kind::Component { .. }, Some(_)) => Err(usage(&format!(
            "`--protocol` is for commands, and `{}` is a component",
            file.path.display()
        ))),
        (Kind::Component { .. }, None) => match given {
            Some((what, _)) => Err(usage(&format!(
                "{what} for commands, and `{}` is a component; it gets `--input` and `--config`",
                file.path.display()
            ))),
            None => Ok((CommandProtocol::Json, false)),
        },
        (Kind::Command(_), Some(ProtocolArg::Json)) => match given {
            Some((what, _)) => Err(usage(&format!(
                "{what} for plain commands; the JSON protocol has its own"
            ))),
            None => Ok((CommandProtocol::Json, false)),
        },
        (Kind::Command(_), None) if given.is_none() => Ok((CommandProtocol::Json, true)),
        (Kind::Command(_), Some(ProtocolArg::Plain) | None) => Ok((CommandProtocol::Plain, false)),
    }
}

/// Reads the values of the secrets that are granted, all of which must have one.
fn read_secrets(
    args: &RehearseArgs,
    granted: &Grants,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<BTreeMap<String, String>, Error> {
    let names = run::secret_names(granted);
    let values = secrets::read(
        &names,
        &args.secrets.files,
        surroundings.host.variable,
        &mut Notices(output.clone()),
    )?;
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
    let no_template = |text: &str, reason: String| usage(&format!("template `{text}`: {reason}"));
    let stdin = match args.stdin.as_deref() {
        None => Vec::new(),
        Some(text) => match named(text) {
            Some(source) => source.read("--stdin")?,
            None => template(text)
                .and_then(|template| {
                    let text = template.render_text(&roots);
                    text.map_err(|missing| missing.to_string())
                })
                .map_err(|reason| no_template(text, reason))?
                .into_bytes(),
        },
    };
    let arguments = args.args.iter().map(|text| {
        template(text)
            .and_then(|template| run::fill_argument(&template, &roots))
            .map_err(|reason| no_template(text, reason))
    });
    Ok(Invocation {
        args: arguments.collect::<Result<_, _>>()?,
        stdin,
        output: match args.output {
            Some(OutputArg::Text) | None => StdoutForm::Text,
            Some(OutputArg::Trimmed) => StdoutForm::Trimmed,
            Some(OutputArg::Json) => StdoutForm::Json,
        },
    })
}

/// Reads a template of a plain command's call.
fn template(text: &str) -> Result<Template, String> {
    let template = Template::parse(text).map_err(|error| error.to_string())?;
    template
        .check_roots(&["input", "config"])
        .map_err(|error| error.to_string())?;
    Ok(template)
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

fn attachments(texts: &[String]) -> Result<Vec<AttachmentSource>, Error> {
    let mut files: Vec<AttachmentSource> = Vec::new();
    for text in texts {
        let file = attachment(text)?;
        if files.iter().any(|known| known.name == file.name) {
            return Err(usage(&format!("two `--file` are called `{}`", file.name)));
        }
        files.push(file);
    }
    Ok(files)
}

fn attachment(text: &str) -> Result<AttachmentSource, Error> {
    let (name, path) = text.split_once('=').ok_or_else(|| {
        usage(&format!(
            "`--file {text}` is not understood: it is written `--file NAME=PATH`"
        ))
    })?;
    if let Some(reason) = scenario::attachment_name_error(name) {
        return Err(usage(&format!("`--file {text}` is refused: {reason}")));
    }
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
