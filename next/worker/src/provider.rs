//! [`Provider`]: a plugin that was loaded, with its settings in the form that each call needs.

use std::{collections::BTreeMap, io, path::Path, rc::Rc};

use runner_model::{
    Digest, ErrorClass, Limits, Text,
    prepare::{Described, Prepare, Problem},
    protocol::FromWorker,
    provider::{OutputForm, PluginKind, PreparedProvider, Protocol, Stdin},
    row::RowError,
    template::Template,
};
use runner_sandbox::{Access, CommandCall, Engines, LoadError, Plugin};
use serde_json::{Value, value::RawValue};

use crate::shared::Shared;

/// A provider that can be called.
pub struct Provider {
    pub plugin: Rc<Plugin>,
    /// Compact JSON.
    pub config: String,
    pub limits: Limits,
    pub access: Access,
    command: Option<Command>,
}

/// How a command is called, before its templates are filled in.
struct Command {
    program: String,
    config: Value,
    args: Vec<Template>,
    stdin: Option<Stdin>,
    protocol: Protocol,
    output: OutputForm,
}

/// Loaded plugins by their digests; those that cannot be loaded with why.
pub type Plugins = BTreeMap<Digest, Result<Rc<Plugin>, LoadError>>;

/// Loads the plugins of all providers. Those that are missing in the cache are all asked for, and then waited for.
pub async fn load_plugins(
    prepare: &Prepare,
    engines: &Engines,
    shared: &Shared,
) -> io::Result<Plugins> {
    let load = |digest: &Digest| engines.load(Path::new(&prepare.cache), digest).map(Rc::new);
    let digests = prepare.providers.iter().map(|provider| provider.digest);
    let mut plugins: Plugins = digests.map(|digest| (digest, load(&digest))).collect();
    let missing = plugins
        .iter_mut()
        .filter(|(_, plugin)| matches!(plugin, Err(LoadError::Missing)));
    let missing: Vec<_> = missing.collect();
    for (digest, _) in &missing {
        shared.say(&FromWorker::NeedPlugin(**digest))?;
    }
    for (digest, plugin) in missing {
        shared.arrival(digest).await;
        *plugin = load(digest);
    }
    Ok(plugins)
}

impl Provider {
    /// Prepares a provider, and says what its plugin says of itself if `describe`; none if it cannot be used.
    pub async fn new(
        index: usize,
        prepared: PreparedProvider,
        plugin: &Result<Rc<Plugin>, LoadError>,
        describe: bool,
    ) -> (Option<Self>, Described) {
        let provider = prepared.provider;
        let mut described = Described {
            provider: u16::try_from(index).unwrap_or(u16::MAX),
            description: None,
            problem: None,
        };
        let plugin = match plugin {
            Ok(plugin) => plugin.clone(),
            Err(error) => {
                described.problem = Some(load_problem(error));
                return (None, described);
            }
        };
        if describe {
            match plugin.describe(provider.protocol, &provider.limits).await {
                Ok(description) => described.description = description,
                Err(error) => {
                    described.problem = Some(call_problem(&error));
                    return (None, described);
                }
            }
        }
        let command = (plugin.kind() == PluginKind::Command).then(|| Command {
            program: program(&provider.plugin),
            config: provider.config.clone(),
            args: provider.args,
            stdin: provider.stdin,
            protocol: provider.protocol,
            output: provider.output,
        });
        let ready = Self {
            config: provider.config.to_string(),
            limits: provider.limits,
            access: Access::default(),
            plugin,
            command,
        };
        (Some(ready), described)
    }

    /// How the plugin is called with `input`; none for components.
    ///
    /// # Errors
    ///
    /// A template that the input does not fill in.
    pub fn command(&self, input: &RawValue) -> Result<Option<CommandCall>, RowError<'static>> {
        let Some(command) = &self.command else {
            return Ok(None);
        };
        let input: Value = serde_json::from_str(input.get())
            .map_err(|error| invalid_input(format!("cannot read the input: {error}")))?;
        let roots = [("input", &input), ("config", &command.config)];
        let fill = |template: &Template| {
            template
                .render_text(&roots)
                .map_err(|missing| invalid_input(missing.to_string()))
        };
        let args = command.args.iter().map(|template| {
            let argument = fill(template)?;
            if argument.contains('\0') {
                return Err(invalid_input("an argument cannot have a NUL in it".into()));
            }
            Ok(argument)
        });
        Ok(Some(CommandCall {
            program: command.program.clone(),
            args: args.collect::<Result<_, _>>()?,
            stdin: match &command.stdin {
                Some(Stdin::Text(template)) => Some(fill(template)?.into_bytes()),
                Some(Stdin::File { .. }) | None => None,
            },
            protocol: command.protocol,
            output: command.output,
        }))
    }
}

/// The name of a plugin's file: of `bundled:echo`, `echo.wasm`.
fn program(plugin: &str) -> String {
    match plugin.strip_prefix("bundled:") {
        Some(name) => format!("{name}.wasm"),
        None => plugin.rsplit('/').next().unwrap_or(plugin).to_owned(),
    }
}

fn invalid_input(message: String) -> RowError<'static> {
    RowError {
        class: Some(ErrorClass::InvalidInput),
        code: Text::from("template"),
        message: message.into(),
        retry_after_ms: None,
        details: None,
    }
}

/// The messages of problems go on behind "plugin `FILE`".
fn load_problem(error: &LoadError) -> Problem {
    let (code, message) = match error {
        LoadError::Missing => (
            "cache",
            "was compiled and cannot be read back from the cache; is its disk full or damaged?"
                .to_owned(),
        ),
        LoadError::Refused { code, message } => (*code, message.clone()),
    };
    Problem {
        class: ErrorClass::Protocol,
        code: code.to_owned(),
        message,
    }
}

fn call_problem(error: &RowError<'_>) -> Problem {
    Problem {
        class: error.class.unwrap_or(ErrorClass::Internal),
        code: error.code.to_string(),
        message: format!("failed in `describe`: {}", error.message),
    }
}
