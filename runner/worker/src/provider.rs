//! [`LoadedProvider`]: a loaded plugin, with its settings in the form that calls need.

use std::collections::{BTreeMap, BTreeSet};
use std::{io, path::Path, sync::Arc};

use runner_model::prepare::{Prepare, Problem, RefusedPart, SecretValues};
use runner_model::provider::{
    Arguments, Description, GRADED_ROOTS, OutputForm, PluginKind, PreparedProvider, Protocol,
    Provider, Stdin,
};
use runner_model::template::{MissingKey, Template, fill, find};
use runner_model::{
    Digest, ErrorClass, Grants, TrialId, cache::CodeForm, protocol::FromWorker, row::Hint,
    row::RowError, row::panic, test::Test,
};
use runner_sandbox::{
    Access, AttachedFile, CommandCall, Engines, ListedTool, LoadError, Network, Plugin, SecretUse,
    Secrets, failure, too_large,
};
use serde_json::{Value, json, value::RawValue};

use crate::schema::{Refusal, Schema};
use crate::worker_state::WorkerState;

const UNREADABLE: &str =
    "was compiled but cannot be read from the cache: check its disk for space and errors";

pub struct LoadedProvider {
    pub settings: Provider,
    pub plugin: Arc<Plugin>,
    /// The configuration as compact JSON.
    pub config: String,
    pub access: Access,
    /// `None` if this worker does not describe plugins, or the plugin has no schema.
    input_schema: Option<Schema>,
    /// Values of the root `secret` in templates of environment variables: an object.
    secrets: Value,
    /// Values of the root `run` in templates: an object.
    run: Value,
    /// Summary by the plugin's `describe`.
    summary: Option<String>,
    /// The tools that the provider's guests may call. `None` without any.
    pub tools: Option<Arc<Tools>>,
}

/// The tools of a provider, as its guests see them.
pub struct Tools {
    loaded: Vec<Arc<LoadedProvider>>,
    listed: Vec<ListedTool>,
}

/// The parts of a call that templates produce.
#[derive(Default)]
pub struct Filled {
    /// `None` for a component.
    pub command: Option<CommandCall>,
    pub env: Vec<(String, String)>,
}

/// Reads the attachment that is standard input.
pub type Read = fn(&Path) -> io::Result<Vec<u8>>;

pub type Plugins = BTreeMap<PluginKey, LoadResult>;
/// A digest, the form of the code, and the bytes of guests' stacks.
type PluginKey = (Digest, CodeForm, u64);
/// `None` if the cache has no entry that can be read.
type LoadResult = Result<Option<Arc<Plugin>>, LoadError>;

pub fn plugin_key(prepare: &Prepare, prepared: &PreparedProvider) -> PluginKey {
    (prepared.digest, prepared.code_form(prepare.quick), prepared.provider.limits.stack)
}

/// Loads the plugins of all providers. Requests all that are missing in the cache before it waits for the first.
pub async fn load_plugins(
    prepare: &Prepare,
    engines: &Engines,
    state: &WorkerState,
) -> io::Result<Plugins> {
    let cache = Path::new(&prepare.cache);
    let load = |(digest, form, stack): &PluginKey| {
        Ok(engines.load(cache, digest, *form, *stack)?.map(Arc::new))
    };
    let keys = prepare.providers.iter().map(|prepared| plugin_key(prepare, prepared));
    let mut plugins: Plugins = keys.map(|key| (key, load(&key))).collect();
    let missing: Vec<_> =
        plugins.iter_mut().filter(|(_, plugin)| matches!(plugin, Ok(None))).collect();
    let digests: BTreeSet<_> = missing.iter().map(|((digest, ..), _)| *digest).collect();
    for digest in &digests {
        state.send(&FromWorker::NeedPlugin(*digest))?;
    }
    for (key, plugin) in missing {
        state.wait_for(&key.0).await;
        *plugin = load(key);
    }
    Ok(plugins)
}

impl Tools {
    pub fn new(loaded: Vec<Arc<LoadedProvider>>) -> Self {
        let listed = loaded.iter().map(|tool| tool.listed()).collect();
        Self { loaded, listed }
    }

    /// Returns the tools in the order of the grants.
    pub fn listed(&self) -> &[ListedTool] {
        &self.listed
    }

    /// Returns the largest memory limit of a tool, in bytes.
    pub fn most_memory(&self) -> u64 {
        self.loaded.iter().map(|tool| tool.settings.limits.memory).max().unwrap_or(0)
    }

    /// Returns a tool by its place in the list.
    pub fn loaded(&self, tool: usize) -> &LoadedProvider {
        &self.loaded[tool]
    }
}

impl LoadedProvider {
    /// Prepares a provider. Calls `describe` if `prepare` requests that, and stores the reply in `description`.
    ///
    /// # Errors
    ///
    /// The reason why the provider cannot be used.
    pub async fn new(
        prepare: &Prepare,
        prepared: &PreparedProvider,
        plugin: &LoadResult,
        description: &mut Option<Description>,
    ) -> Result<Self, Problem> {
        let plugin = plugin
            .as_ref()
            .map_err(|error| protocol_problem(error.code, error.message.clone()))?
            .clone()
            .ok_or_else(|| protocol_problem("cache", UNREADABLE.to_owned()))?;
        let settings = prepared.provider.clone();
        let mut input_schema = None;
        let mut summary = None;
        // The callers of a tool see its description in each worker.
        if prepare.describe || settings.tool.is_some() {
            let described = plugin.describe(settings.protocol, &settings.limits).await;
            *description = described.map_err(|error| {
                let class = error.class.unwrap_or(ErrorClass::Internal);
                let message = format!("failed in `describe`: {}", one_line(&error));
                problem(class, &error.code, message)
            })?;
        }
        if let Some(description) = description {
            summary = Some(description.summary.clone());
            check_config(description.config_schema.as_ref(), &settings.config)?;
            input_schema = compile("input", description.input_schema.as_ref())?;
            if let (Some(schema), Some(grading)) = (&input_schema, &settings.grading) {
                check_graded_input(schema, grading.input.as_ref(), &settings.name)?;
            }
        }
        if let Some(schema) = settings.tool.as_ref().and_then(|tool| tool.input_schema.as_ref()) {
            let schema = Schema::new(schema.clone()).map_err(|reason| {
                let message = format!("has an `input_schema` that {reason}");
                protocol_problem("input-schema", message)
            })?;
            input_schema = Some(schema);
        }
        let is_command = plugin.kind() == PluginKind::Command;
        let all = || prepare.providers.iter().map(|prepared| &prepared.provider);
        let tool_names = all().filter(|tool| tool.tool.is_some()).map(|tool| tool.name.to_string());
        // Results and errors of a tool are in the files of its caller's attempt.
        let tools = settings.tools(all()).map(|place| &prepare.providers[place].provider);
        let hidden = tools.flat_map(|tool| tool.grants.secret_names()).collect();
        let secrets = secrets(&settings.grants, hidden, is_command, &prepare.secrets);
        let in_env = settings
            .grants
            .secrets_in_env()
            .into_iter()
            .filter_map(|name| Some((name.clone(), secrets.get(&name)?.into())));
        Ok(Self {
            config: settings.config.to_string(),
            input_schema,
            secrets: Value::Object(in_env.collect()),
            run: json!({"id": prepare.run}),
            access: Access {
                network: Network::new(settings.grants.net.clone()),
                secrets: Arc::new(secrets),
                mounts: prepared.mounts.clone(),
                prices: Arc::new(settings.prices.clone()),
                scenario_tools: tool_names.collect(),
                scratch: prepare.scratch.clone().into(),
            },
            summary,
            tools: None,
            plugin,
            settings,
        })
    }

    /// Returns the memory limit of an attempt with that of its largest tool, in bytes.
    pub fn memory(&self) -> u64 {
        let tools = self.tools.as_ref().map_or(0, |tools| tools.most_memory());
        self.settings.limits.memory.saturating_add(tools)
    }

    /// Returns the tool's entry in the lists of its callers.
    pub fn listed(&self) -> ListedTool {
        let tool = self.settings.tool.as_deref();
        let written = tool.and_then(|tool| tool.description.clone());
        ListedTool {
            name: self.settings.name.to_string(),
            description: written.or_else(|| self.summary.clone()).unwrap_or_default(),
            input_schema: self.input_schema.as_ref().map(|schema| schema.value.to_string()),
        }
    }

    /// Returns the reason why the tool's schema refuses an input.
    pub fn refusal(&self, input: &str) -> Option<String> {
        let schema = self.input_schema.as_ref()?;
        match serde_json::from_str(input) {
            Ok(input) => schema.refusal(input).map(|refusal| refusal.reasons),
            Err(error) => Some(error.to_string()),
        }
    }

    fn is_command(&self) -> bool {
        self.plugin.kind() == PluginKind::Command
    }

    /// Returns whether attempts have an exit code: the plugin is a command without the JSON protocol.
    pub fn is_plain(&self) -> bool {
        self.is_command() && self.settings.protocol == Protocol::Plain
    }

    /// Returns whether the output is the text that a plain command prints.
    pub fn prints_text(&self) -> bool {
        self.is_plain() && self.settings.output != OutputForm::Json
    }

    /// Returns the key of the provider that makes its output JSON. `None` if it has no such key, or the output is JSON.
    pub fn json_key(&self) -> Option<Hint> {
        let config = self.settings.config.get("output").and_then(Value::as_str);
        let is_model = matches!(&*self.settings.plugin, "bundled:agent" | "bundled:chat");
        let is_text = is_model && config != Some("json");
        if self.prints_text() { Some(Hint::Json) } else { is_text.then_some(Hint::ModelJson) }
    }

    /// Returns the reason if no attempt exits with this code.
    fn never_exits_with(&self, code: i32) -> Option<&'static str> {
        if !self.is_plain() {
            return Some("the provider has no exit code, since it is not a plain command");
        }
        let codes = self.plugin.exit_codes();
        (!codes.contains(&code)).then_some(match codes.end() {
            1 => {
                "the program does not import `exit-with-code`, so it exits with 0 or 1; call that, or build it for WASI preview 1"
            }
            _ => "a program exits with 0 to 255",
        })
    }

    /// Checks a test without a call: its input against the plugin's schema, the templates that the input fills, and the
    /// schema of `expect`.
    pub fn check(
        &self,
        trial: &TrialId,
        test: &Test<'_>,
        files: &[AttachedFile],
        schema: Option<&Result<Schema, String>>,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |code: &str, message: String, refused: RefusedPart| {
            let problem = problem(ErrorClass::InvalidInput, code, message);
            problems.push(Problem { refused, ..problem });
        };
        if let Some(schema) = &self.input_schema {
            let refusal = match serde_json::from_str(test.input.get()) {
                Ok(input) => schema.refusal(input),
                Err(error) => Some(Refusal::new(error.to_string())),
            };
            if let Some(Refusal { reasons, part, .. }) = refusal {
                add("input", format!("refuses the input: {reasons}"), part);
            }
        }
        if let Err(error) = self.fill(test.input, trial, files, |_| Ok(Vec::new())) {
            add(&error.code, error.message.to_string(), RefusedPart::default());
        }
        if let Some(code) = test.expect.exit_code
            && let Some(reason) = self.never_exits_with(code)
        {
            let message = format!("`exit_code` {code} of `expect` can never hold: {reason}");
            add("exit-code", message, RefusedPart::default());
        }
        if let Some(Err(reason)) = schema {
            add("schema", format!("the schema of `expect` {reason}"), RefusedPart::default());
        }
        problems
    }

    /// Fills the templates of a call. A check of a test passes a `read` that reads nothing.
    ///
    /// # Errors
    ///
    /// A key that `input` lacks, or a value that a guest cannot receive.
    pub fn fill(
        &self,
        input: &RawValue,
        trial: &TrialId,
        files: &[AttachedFile],
        read: Read,
    ) -> Result<Filled, RowError<'static>> {
        let env = &self.settings.grants.env;
        if env.is_empty() && !self.is_command() {
            return Ok(Filled::default());
        }
        let input: Value = serde_json::from_str(input.get())
            .map_err(|error| invalid("template", format!("cannot read the input: {error}")))?;
        let trial = json!({"id": trial.to_string()});
        let config = &self.settings.config;
        let mut roots =
            vec![("input", &input), ("config", config), ("run", &self.run), ("trial", &trial)];
        let command = self
            .is_command()
            .then(|| command_call(&self.settings, &roots, files, read))
            .transpose()?;
        roots.push(("secret", &self.secrets));
        let env = env.iter().map(|(name, template)| {
            let value = render(template, &roots, &format!("`env.{name}`"))?;
            Ok((name.clone(), value))
        });
        Ok(Filled { command, env: env.collect::<Result<_, _>>()? })
    }
}

fn command_call(
    settings: &Provider,
    roots: &[(&str, &Value)],
    files: &[AttachedFile],
    read: Read,
) -> Result<CommandCall, RowError<'static>> {
    let args = match &settings.args {
        Arguments::Each(templates) => {
            let each = templates.iter().map(|template| render(template, roots, "an argument"));
            each.collect::<Result<_, _>>()?
        }
        Arguments::List(template) => listed_arguments(template, roots)?,
    };
    let stdin = settings.stdin.as_ref().map(|stdin| match stdin {
        Stdin::Text(template) => template
            .render_text(roots)
            .map(String::into_bytes)
            .map_err(|missing| missing_key(&missing, "`stdin`")),
        Stdin::File { file } => read_attachment(file, files, settings.limits.input, read),
    });
    Ok(CommandCall {
        program: file_name(&settings.plugin),
        args,
        stdin: stdin.transpose()?,
        protocol: settings.protocol,
        output: settings.output,
    })
}

/// Returns the arguments in the list that a placeholder names.
fn listed_arguments(
    template: &Template,
    roots: &[(&str, &Value)],
) -> Result<Vec<String>, RowError<'static>> {
    let path = template.only_path().unwrap_or_default();
    let value = find(roots, path).map_err(|missing| missing_key(&missing, "`args`"))?;
    let argument = |item: &Value| match item {
        Value::String(text) if !text.contains('\0') => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let items = value.as_array().and_then(|items| items.iter().map(argument).collect());
    items.ok_or_else(|| {
        let path = path.join(".");
        invalid(
            "template",
            format!("`{path}` is not a list of texts and numbers, which `args` needs"),
        )
    })
}

/// Renders a text that guests receive as a C string.
fn render(
    template: &Template,
    roots: &[(&str, &Value)],
    place: &str,
) -> Result<String, RowError<'static>> {
    let text = template.render_text(roots).map_err(|missing| missing_key(&missing, place))?;
    if text.contains('\0') {
        return Err(invalid("template", format!("{place} contains a NUL character")));
    }
    Ok(text)
}

fn missing_key(missing: &MissingKey, place: &str) -> RowError<'static> {
    invalid("template", format!("{missing}, which {place} needs"))
}

fn read_attachment(
    name: &str,
    files: &[AttachedFile],
    limit: u64,
    read: Read,
) -> Result<Vec<u8>, RowError<'static>> {
    let file = files.iter().find(|file| file.name == name);
    let file = file.ok_or_else(|| {
        let message = format!("the test has no attachment `{name}` for standard input");
        invalid("attachment", message)
    })?;
    if file.bytes > limit {
        return Err(too_large("standard input", file.bytes, "input", limit));
    }
    read(&file.path).map_err(|error| {
        let message = format!("cannot read attachment `{name}`: {error}");
        failure(ErrorClass::Internal, "attachment", message)
    })
}

/// Returns the secrets that a provider is granted.
///
/// A guest knows those in its environment. A component can also request those that `grants.secrets` lists by name. The
/// others are only in headers that the host adds.
///
/// `hidden` are further names, whose values are only redacted.
fn secrets(
    grants: &Grants,
    hidden: BTreeSet<String>,
    is_command: bool,
    values: &SecretValues,
) -> Secrets {
    let of_env = grants.secrets_in_env();
    let names = grants.secret_names();
    let uses = names.iter().map(|name| {
        let is_listed = grants.secrets.contains(name);
        let allowed = if of_env.contains(name) || is_listed && !is_command {
            SecretUse::Known
        } else if is_listed {
            SecretUse::AnyHeader
        } else {
            let bound = grants.bound_secrets.iter().filter(|bound| bound.name == *name);
            SecretUse::Bound(bound.cloned().collect())
        };
        (name.clone(), allowed)
    });
    let uses = uses.collect();
    let names = names.into_iter().chain(hidden);
    let values = names.filter_map(|name| values.0.get(&name).map(|value| (name, value.clone())));
    Secrets::new(&values.collect(), uses)
}

fn check_config(schema: Option<&Value>, config: &Value) -> Result<(), Problem> {
    let schema = compile("configuration", schema)?;
    let Some(refusal) = schema.and_then(|schema| schema.refusal(config.clone())) else {
        return Ok(());
    };
    let message = format!("refuses its `config`: {}", refusal.reasons);
    let problem = problem(ErrorClass::InvalidConfig, "config", message);
    Err(Problem { refused: refusal.part, ..problem })
}

/// Checks the keys of a grader's input: `None` is the default, a table with all roots. The values are those of outputs, so a
/// fault of a value is found only by a call.
fn check_graded_input(
    schema: &Schema,
    written: Option<&Value>,
    grader: &str,
) -> Result<(), Problem> {
    let input = match written {
        Some(Value::Object(_)) => written.cloned().unwrap_or_default(),
        // The type of a placeholder's value is unknown.
        Some(_) => return Ok(()),
        None => GRADED_ROOTS.iter().map(|root| (*root, format!("{{{{{root}}}}}"))).collect(),
    };
    let mut refused = None;
    // A key is refused with any value, and an input without placeholders has only its own.
    for value in [Value::Null, "text".into(), json!({})] {
        let roots: Vec<_> = GRADED_ROOTS.iter().map(|root| (*root, &value)).collect();
        let Ok(sample) = fill(&input, &roots) else { return Ok(()) };
        let is_constant = sample == input;
        match schema.refusal(sample) {
            Some(refusal) if is_constant || refusal.is_of_keys => refused = Some(refusal),
            _ => return Ok(()),
        }
    }
    let Some(Refusal { reasons, part, .. }) = refused else { return Ok(()) };
    let (message, refused) = if written.is_some() {
        (format!("refuses its `input`: {reasons}"), part)
    } else {
        let example = match schema.refusal("text".into()) {
            None => r#"input = "…{{output}}…""#,
            Some(_) => r#"input = { KEY = "{{output}}" }"#,
        };
        let message = format!(
            "refuses the input of a grader without `input`: {reasons}; write `{example}` in `[graders.{grader}]`"
        );
        (message, RefusedPart::default())
    };
    let problem = problem(ErrorClass::InvalidInput, "input", message);
    Err(Problem { refused, ..problem })
}

fn compile(what: &str, schema: Option<&Value>) -> Result<Option<Schema>, Problem> {
    let compiled = schema.cloned().map(Schema::new).transpose();
    compiled.map_err(|reason| {
        protocol_problem("schema", format!("describes a schema of its {what} that {reason}"))
    })
}

/// Returns the file name of a plugin, such as `echo.wasm` for `bundled:echo`. Commands get it as `argv[0]`.
fn file_name(plugin: &str) -> String {
    match plugin.strip_prefix("bundled:") {
        Some(name) => format!("{name}.wasm"),
        None => plugin.rsplit('/').next().unwrap_or(plugin).to_owned(),
    }
}

/// Formats an error as one line: a panic before its message, or the last line of standard error after it.
fn one_line(error: &RowError<'_>) -> String {
    let panic = panic(error).map(|(_, words)| words);
    let stderr = error.stderr.as_ref().filter(|_| panic.is_none());
    let stderr = stderr.and_then(|text| Some(text.lines().next_back()?.to_owned().into()));
    let text = RowError { stderr, ..error.clone() }.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
    match panic {
        // The stack of the trap has only functions of the language's runtime.
        Some(words) => format!("{words}; the guest trapped"),
        None => line,
    }
}

fn invalid(code: &'static str, message: String) -> RowError<'static> {
    failure(ErrorClass::InvalidInput, code, message)
}

fn protocol_problem(code: &str, message: String) -> Problem {
    problem(ErrorClass::Protocol, code, message)
}

/// Returns a problem. `message` completes a sentence that starts with "plugin `FILE`".
fn problem(class: ErrorClass, code: &str, message: String) -> Problem {
    Problem { class, code: code.to_owned(), message, refused: RefusedPart::default() }
}

#[cfg(test)]
#[path = "tests/provider.rs"]
mod tests;
