//! [`Prepared`]: from a request to a [`Rehearsal`].

use std::sync::Arc;

use miette::miette;
use serde_json::Value;

use super::{
    access::access,
    plain,
    request::{GivenFile, Rehearse},
};
use crate::{
    error::Error,
    model::{chain, media_type},
    plugin::{
        Access, AttachmentSource, CommandProtocol, Invocation, Kind, Plugin, PluginFile, StdoutForm,
    },
    run::{Environment, Rehearsal},
    scenario,
    session::{Host, Observe, plugins::plugin_file},
};

/// Everything that the request says of a call, read and found.
pub(super) struct Prepared {
    pub(super) file: PluginFile,
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
    pub(super) fn new(
        request: &Rehearse,
        host: &Host,
        observe: &mut dyn Observe,
    ) -> Result<Self, Error> {
        let path = plugin_file(&request.plugin, observe)?;
        let file = PluginFile::read(&path, request.limits.file);
        let file = file.map_err(|error| usage(&chain(&error)))?;

        let input = request.input.clone().unwrap_or_default();
        let config = Value::Object(request.config.clone().unwrap_or_default());
        let (protocol, is_presumed) = called(request, &file)?;
        let access = access(request, &path, file.kind, host, observe)?;
        let environment = Environment::new(&request.grants, &access.secrets);
        let env = environment.render(&input, &config);
        let mut prepared = Self {
            invocation: None,
            files: attachments(&request.attachments)?.into(),
            env: env.map_err(|reason| usage(&reason))?,
            access,
            file,
            input,
            config,
            protocol,
            is_presumed,
        };
        if protocol == CommandProtocol::Plain {
            prepared.make_plain(request)?;
        }
        Ok(prepared)
    }

    /// Makes it a call by the plain protocol, which must have a use for everything that is given.
    pub(super) fn make_plain(&mut self, request: &Rehearse) -> Result<(), Error> {
        let invocation = plain::invocation(request, &self.input, &self.config)?;
        self.invocation = Some(invocation);
        self.protocol = CommandProtocol::Plain;
        self.is_presumed = false;
        Ok(())
    }

    /// Tells whether the plugin replies with a text, as a plain command does that is not asked for JSON.
    pub(super) fn is_text(&self) -> bool {
        let invocation = self.invocation.as_ref();
        invocation.is_some_and(|invocation| invocation.output != StdoutForm::Json)
    }

    /// Makes the calls' common part.
    pub(super) fn rehearsal(self, plugin: Plugin, request: &Rehearse) -> Rehearsal {
        Rehearsal {
            plugin,
            input: self.input.to_string().into(),
            config: self.config.to_string().into(),
            seed: request.seed,
            files: self.files,
            invocation: self.invocation,
            limits: request.limits,
            access: self.access,
            env: self.env,
            timeout: request.timeout,
        }
    }
}

/// How the plugin is called, and whether it is yet to show that it can be called so.
fn called(request: &Rehearse, file: &PluginFile) -> Result<(CommandProtocol, bool), Error> {
    let only_plain = [
        ("`--stdin` is", request.stdin.is_some()),
        ("`--output` is", request.output.is_some()),
        ("arguments behind `--` are", !request.args.is_empty()),
    ];
    let given = only_plain.into_iter().find(|(_, is_given)| *is_given);
    match (file.kind, request.protocol) {
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
        (Kind::Command(_), Some(CommandProtocol::Json)) => match given {
            Some((what, _)) => Err(usage(&format!(
                "{what} for plain commands; the JSON protocol has its own"
            ))),
            None => Ok((CommandProtocol::Json, false)),
        },
        (Kind::Command(_), None) if given.is_none() => Ok((CommandProtocol::Json, true)),
        (Kind::Command(_), Some(CommandProtocol::Plain) | None) => {
            Ok((CommandProtocol::Plain, false))
        }
    }
}

fn attachments(named: &[GivenFile]) -> Result<Vec<AttachmentSource>, Error> {
    let mut files: Vec<AttachmentSource> = Vec::new();
    for named in named {
        let file = attachment(named)?;
        if files.iter().any(|known| known.name == file.name) {
            return Err(usage(&format!("two `--file` are called `{}`", file.name)));
        }
        files.push(file);
    }
    Ok(files)
}

fn attachment(GivenFile { name, path }: &GivenFile) -> Result<AttachmentSource, Error> {
    let text = format!("{name}={}", path.display());
    if let Some(reason) = scenario::attachment_name_error(name) {
        return Err(usage(&format!("`--file {text}` is refused: {reason}")));
    }
    let unreadable = |error| usage(&format!("`--file`: {error}"));
    let path = fs_err::canonicalize(path).map_err(unreadable)?;
    let metadata = fs_err::metadata(&path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(usage(&format!("`--file {text}` does not name a file")));
    }
    Ok(AttachmentSource {
        name: name.clone(),
        media_type: media_type(name).into(),
        size: metadata.len(),
        path,
    })
}

fn usage(message: &str) -> Error {
    Error::usage(miette!("{message}"))
}
