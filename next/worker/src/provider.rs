//! [`LoadedProvider`]: a plugin that was loaded, with its settings in the form that each call needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    rc::Rc,
    sync::Arc,
};

use runner_model::{
    Digest, ErrorClass, Grants,
    prepare::{Prepare, Problem, SecretValues},
    protocol::FromWorker,
    provider::{Description, PluginKind, PreparedProvider, Protocol, Provider, Stdin},
    row::RowError,
    template::{MissingKey, Template},
};
use runner_sandbox::{
    Access, AttachedFile, CommandCall, Engines, LoadError, Network, Plugin, Secrets, failure,
};
use serde_json::{Value, value::RawValue};

use crate::{schema::Schema, shared::WorkerState};

const UNREADABLE: &str =
    "was compiled and cannot be read back from the cache; is its disk full or damaged?";

/// A provider that can be called.
pub struct LoadedProvider {
    pub settings: Provider,
    pub plugin: Rc<Plugin>,
    /// Its configuration as compact JSON.
    pub config: String,
    pub access: Access,
    /// What the plugin takes as input, if it was asked and says so.
    pub input_schema: Option<Schema>,
    /// What `secret` stands for in environment variables.
    secrets: Value,
}

/// What of a call depends on the test's input.
#[derive(Default)]
pub struct Filled {
    pub command: Option<CommandCall>,
    pub env: Vec<(String, String)>,
}

/// Reads an attachment that is standard input: a test is checked without any.
pub type Read = fn(&Path) -> io::Result<Vec<u8>>;

/// Loaded plugins by their digests; those that cannot be loaded with why.
pub type Plugins = BTreeMap<Digest, Loaded>;
/// None if it was compiled and cannot be read back.
type Loaded = Result<Option<Rc<Plugin>>, LoadError>;

/// Loads the plugins of all providers. Those that are missing in the cache are all asked for, and then waited for.
pub async fn load_plugins(
    prepare: &Prepare,
    engines: &Engines,
    shared: &WorkerState,
) -> io::Result<Plugins> {
    let cache = Path::new(&prepare.cache);
    let load = |digest: &Digest| Ok(engines.load(cache, digest)?.map(Rc::new));
    let digests = prepare.providers.iter().map(|provider| provider.digest);
    let mut plugins: Plugins = digests.map(|digest| (digest, load(&digest))).collect();
    let missing = plugins.iter_mut().filter(|(_, plugin)| matches!(plugin, Ok(None)));
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

impl LoadedProvider {
    /// Prepares a provider. What its plugin says of itself is in `description` afterwards, if `prepare` asks for that.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub async fn new(
        prepare: &Prepare,
        prepared: &PreparedProvider,
        plugin: &Loaded,
        description: &mut Option<Description>,
    ) -> Result<Self, Problem> {
        let plugin = plugin.as_ref();
        let plugin = plugin.map_err(|error| refused(error.code, error.message.clone()))?;
        let plugin = plugin.clone().ok_or_else(|| refused("cache", UNREADABLE.to_owned()))?;
        let settings = prepared.provider.clone();
        let mut input_schema = None;
        if prepare.describe {
            let described = plugin.describe(settings.protocol, &settings.limits).await;
            *description = described.map_err(|error| {
                let class = error.class.unwrap_or(ErrorClass::Internal);
                let message = format!("failed in `describe`: {}", error.message);
                problem(class, &error.code, message)
            })?;
        }
        if let Some(description) = description {
            check_config(description.config_schema.as_ref(), &settings.config)?;
            input_schema = compile("input", description.input_schema.as_ref())?;
        }
        let is_command = plugin.kind() == PluginKind::Command;
        let secrets = secrets(&settings.grants, is_command, &prepare.secrets);
        let known = settings.grants.secrets_in_env().into_iter();
        let known = known.filter_map(|name| Some((name.clone(), secrets.get(&name)?.into())));
        Ok(Self {
            config: settings.config.to_string(),
            input_schema,
            secrets: Value::Object(known.collect()),
            access: Access {
                network: Network::new(settings.grants.net.clone()),
                secrets: Arc::new(secrets),
                mounts: prepared.mounts.clone(),
                scratch: prepare.scratch.clone().into(),
            },
            plugin,
            settings,
        })
    }

    fn is_command(&self) -> bool {
        self.plugin.kind() == PluginKind::Command
    }

    /// Tells whether it is a command that is called as it is, which has an exit code.
    pub fn is_plain(&self) -> bool {
        self.is_command() && self.settings.protocol == Protocol::Plain
    }

    /// Fills in what an attempt is called with. `read` reads the attachment that is standard input.
    ///
    /// # Errors
    ///
    /// What `input` does not fill in, or cannot be used.
    pub fn fill(
        &self,
        input: &RawValue,
        files: &[AttachedFile],
        read: Read,
    ) -> Result<Filled, RowError<'static>> {
        let env = &self.settings.grants.env;
        if env.is_empty() && !self.is_command() {
            return Ok(Filled::default());
        }
        let input: Value = serde_json::from_str(input.get())
            .map_err(|error| invalid("template", format!("cannot read the input: {error}")))?;
        let mut roots = vec![("input", &input), ("config", &self.settings.config)];
        let is_command = self.is_command();
        let command = is_command.then(|| command(&self.settings, &roots, files, read));
        roots.push(("secret", &self.secrets));
        let env = env.iter().map(|(name, template)| {
            let value = fill(template, &roots, &format!("`env.{name}`"))?;
            Ok((name.clone(), value))
        });
        Ok(Filled { command: command.transpose()?, env: env.collect::<Result<_, _>>()? })
    }
}

/// How a command is called.
fn command(
    settings: &Provider,
    roots: &[(&str, &Value)],
    files: &[AttachedFile],
    read: Read,
) -> Result<CommandCall, RowError<'static>> {
    let args = settings.args.iter();
    let args = args.map(|template| fill(template, roots, "an argument"));
    let stdin = settings.stdin.as_ref().map(|stdin| match stdin {
        Stdin::Text(template) => {
            let text = template.render_text(roots);
            let text = text.map_err(|missing| missing_in(&missing, "`stdin`"));
            text.map(String::into_bytes)
        }
        Stdin::File { file } => attachment(file, files, settings.limits.input, read),
    });
    Ok(CommandCall {
        program: program(&settings.plugin),
        args: args.collect::<Result<_, _>>()?,
        stdin: stdin.transpose()?,
        protocol: settings.protocol,
        output: settings.output,
    })
}

/// Fills in what a guest gets as a text of C.
fn fill(
    template: &Template,
    roots: &[(&str, &Value)],
    what: &str,
) -> Result<String, RowError<'static>> {
    let text = template.render_text(roots);
    let text = text.map_err(|missing| missing_in(&missing, what))?;
    if text.contains('\0') {
        return Err(invalid("template", format!("{what} cannot have a NUL in it")));
    }
    Ok(text)
}

fn missing_in(missing: &MissingKey, what: &str) -> RowError<'static> {
    invalid("template", format!("{missing}, which {what} needs"))
}

fn attachment(
    name: &str,
    files: &[AttachedFile],
    most: u64,
    read: Read,
) -> Result<Vec<u8>, RowError<'static>> {
    let file = files.iter().find(|file| file.name == name);
    let file = file.ok_or_else(|| {
        let message = format!("the test has no attachment `{name}` for standard input");
        invalid("attachment", message)
    })?;
    if file.bytes > most {
        let bytes = file.bytes;
        let message = format!("the standard input has {bytes} bytes, and `limits.input` is {most}");
        return Err(failure(ErrorClass::Limit, "input", message));
    }
    read(&file.path).map_err(|error| {
        let message = format!("cannot read attachment `{name}`: {error}");
        failure(ErrorClass::Internal, "attachment", message)
    })
}

/// The secrets that a provider is granted. Only a component of the contract can ask for one: what a command is not handed in
/// its environment, nor what is bound to a header, its guest never knows.
fn secrets(grants: &Grants, is_command: bool, values: &SecretValues) -> Secrets {
    let mut known = grants.secrets_in_env();
    if !is_command {
        known.extend(grants.secrets.iter().cloned());
    }
    let names = grants.secret_names();
    let unseen: BTreeSet<_> = names.difference(&known).cloned().collect();
    let unseen = unseen.into_iter().map(|name| {
        // One that is listed by its name, too, may be in any header.
        let is_bound = !grants.secrets.contains(&name);
        let bound = grants.bound_secrets.iter();
        let bound = bound.filter(|bound| is_bound && bound.name == name);
        let bound = bound.cloned().collect();
        (name, bound)
    });
    let values = names.iter().filter_map(|name| {
        let value = values.0.get(name)?.clone();
        Some((name.clone(), value))
    });
    Secrets::new(values.collect(), unseen.collect())
}

fn check_config(schema: Option<&Value>, config: &Value) -> Result<(), Problem> {
    let schema = compile("configuration", schema)?;
    let Some(mismatch) = schema.and_then(|schema| schema.mismatch(config)) else {
        return Ok(());
    };
    let message = format!("refuses its `config`: {mismatch}");
    Err(problem(ErrorClass::InvalidConfig, "config", message))
}

fn compile(what: &str, schema: Option<&Value>) -> Result<Option<Schema>, Problem> {
    let compiled = schema.cloned().map(Schema::new).transpose();
    compiled.map_err(|reason| {
        let message = format!("has a schema of the {what} that {reason}");
        refused("schema", message)
    })
}

/// The name of a plugin's file: of `bundled:echo`, `echo.wasm`.
fn program(plugin: &str) -> String {
    match plugin.strip_prefix("bundled:") {
        Some(name) => format!("{name}.wasm"),
        None => plugin.rsplit('/').next().unwrap_or(plugin).to_owned(),
    }
}

fn invalid(code: &'static str, message: String) -> RowError<'static> {
    failure(ErrorClass::InvalidInput, code, message)
}

fn refused(code: &str, message: String) -> Problem {
    problem(ErrorClass::Protocol, code, message)
}

/// Its message goes on behind "plugin `FILE`".
pub fn problem(class: ErrorClass, code: &str, message: String) -> Problem {
    Problem { class, code: code.to_owned(), message }
}

#[cfg(test)]
#[path = "tests/provider.rs"]
mod tests;
