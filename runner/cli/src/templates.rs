//! Templates that `plugin new` creates plugins from. Everything about one language is in the folder of its template.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use include_dir::{Dir, include_dir};
use runner_model::provider::PluginKind;
use serde::Deserialize;

static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");
/// The crate `runner-sdk` for providers in Rust. It is on no registry, so each plugin in Rust gets a copy.
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../plugins/sdk");
const CONTRACT: &str = include_str!("../../../plugins/sdk/wit/provider.wit");

/// The folder of texts that several templates share.
const SHARED: &str = "shared";
/// The file that describes a template. It is not copied into plugins.
const MANIFEST: &str = "template.toml";

pub struct Template {
    /// The folder's name: the language, followed by `-` and the kind for the less usual kinds of a language.
    folder: &'static str,
    pub manifest: TemplateManifest,
}

/// A `template.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateManifest {
    /// The language's name, such as `JavaScript`.
    pub language: String,
    pub kind: PluginKind,
    /// The folder of a template whose files are used if this one lacks them.
    base: Option<String>,
    /// The cause of a crash, such as `a panic`, for the README.
    crash: String,
    /// Commands to type in the folder of a new plugin before it can be built.
    pub steps: Vec<String>,
    /// Whether plugins get a copy of the SDK.
    #[serde(default)]
    pub sdk: bool,
    #[serde(default)]
    pub tools: Vec<Tool>,
}

/// A tool that builds plugins.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    pub name: String,
    /// A line for `sh` that prints the version, and fails if the tool is not on `PATH`. Absent for tools that are never on `PATH`.
    pub check: Option<String>,
    /// Places of the tool in a plugin's folder.
    #[serde(default)]
    pub files: Vec<String>,
    /// Instruction for installing the tool, an imperative clause.
    pub install: String,
}

impl Template {
    /// Returns all templates, sorted by folder.
    pub fn all() -> Vec<Self> {
        let mut folders: Vec<_> = TEMPLATES.dirs().collect();
        folders.sort_by_key(|folder| folder.path());
        folders
            .into_iter()
            .filter_map(|folder| {
                let file = folder.get_file(folder.path().join(MANIFEST))?;
                let manifest = toml::from_str(file.contents_utf8()?);
                Some(Self {
                    folder: folder.path().to_str()?,
                    manifest: manifest.expect("a test reads every template"),
                })
            })
            .collect()
    }

    /// Returns the language as a word of the command line, such as `javascript`.
    pub fn language(&self) -> &'static str {
        self.folder.split('-').next().unwrap_or(self.folder)
    }

    /// Returns the kind as a word of the command line: that of the plugin, or `agent`.
    pub fn kind(&self) -> &'static str {
        if self.is_agent() { "agent" } else { self.manifest.kind.as_str() }
    }

    fn is_agent(&self) -> bool {
        self.folder.ends_with("-agent")
    }

    /// Returns whether a build line runs one of the template's tools.
    pub fn builds(&self, line: &str) -> bool {
        let mut words =
            line.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'));
        words.any(|word| self.manifest.tools.iter().any(|tool| tool.name == word))
    }

    /// Returns the files of a plugin with this name, sorted by path, with their texts.
    pub fn files(&self, name: &str) -> Vec<(PathBuf, String)> {
        let mut files = BTreeMap::new();
        for folder in self.manifest.base.as_deref().into_iter().chain([self.folder]) {
            files.extend(collect(TEMPLATES.get_dir(folder).expect("it is listed")));
        }
        files.remove(Path::new(MANIFEST));
        let scenario = if self.is_agent() { "agent-scenario.toml" } else { "scenario.toml" };
        files.insert("scenario.toml".into(), shared(scenario).to_owned());
        for text in files.values_mut() {
            *text = self.render(text, name);
        }
        files.insert("wit/provider.wit".into(), CONTRACT.to_owned());
        if self.manifest.sdk {
            let sdk = collect(&SDK).into_iter();
            files.extend(sdk.map(|(path, text)| (Path::new("sdk").join(path), text)));
        }
        files.into_iter().collect()
    }

    /// Replaces the placeholders of a template's text.
    fn render(&self, text: &str, name: &str) -> String {
        let (call, grants) = match self.manifest.kind {
            PluginKind::Component => ("", "component-grants.md"),
            PluginKind::Command => ("protocol = \"json\"\n", "command-grants.md"),
        };
        text.replace("{{shared tail.md}}\n", shared("tail.md"))
            .replace("{{shared agent-tail.md}}\n", shared("agent-tail.md"))
            .replace("{{shared grants}}\n", shared(grants))
            .replace("{{call}}", call)
            .replace("{{crash}}", &self.manifest.crash)
            .replace("{{crate}}", &name.replace('-', "_"))
            .replace("{{name}}", name)
    }
}

/// Returns the parser of `--lang`.
pub fn languages() -> PossibleValuesParser {
    let mut languages: Vec<_> = Template::all().iter().map(Template::language).collect();
    languages.dedup();
    languages.into()
}

fn shared(name: &str) -> &'static str {
    let file = TEMPLATES.get_file(Path::new(SHARED).join(name));
    file.and_then(|file| file.contents_utf8()).unwrap_or_default()
}

/// Returns the files below a folder, with their paths in it. The ending `.template` is removed: it keeps files from cargo and
/// go, which would take their folders for packages of this repository.
fn collect(root: &Dir<'_>) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut pending = vec![root];
    while let Some(folder) = pending.pop() {
        pending.extend(folder.dirs());
        for file in folder.files() {
            let path = file.path().strip_prefix(root.path()).ok();
            let (Some(path), Some(text)) = (path.and_then(Path::to_str), file.contents_utf8())
            else {
                continue;
            };
            let path = path.strip_suffix(".template").unwrap_or(path);
            files.push((path.into(), text.to_owned()));
        }
    }
    files
}
