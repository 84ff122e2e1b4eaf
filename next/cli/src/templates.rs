//! [`Template`]: the folders of templates that `plugin new` makes plugins of. All that is about one language stands in its
//! folder.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use runner_model::provider::PluginKind;
use serde::Deserialize;

static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");
/// The crate that providers in Rust are written with. It is on no registry, so a plugin in Rust carries it.
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../plugins/sdk");
const CONTRACT: &str = include_str!("../../../plugins/sdk/wit/provider.wit");

/// What the folder of a template has for parts that several templates share.
const SHARED: &str = "shared";
/// Describes a template, and is no part of a plugin.
const DESCRIPTION: &str = "template.toml";

/// A template: its folder, and what its `template.toml` says.
pub struct Template {
    /// The folder's name: the language, and `-` and the kind if that is not the usual one.
    pub folder: &'static str,
    /// What is said of it.
    pub about: Description,
}

/// A `template.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Its language's name.
    pub language: String,
    /// What is made of it.
    pub kind: PluginKind,
    crash: String,
    /// What to type in the folder of a new plugin before it can be built.
    pub steps: Vec<String>,
    /// Whether it has a copy of the SDK.
    #[serde(default)]
    pub sdk: bool,
    /// The tools of its language.
    #[serde(default)]
    pub tools: Vec<Tool>,
}

/// A tool that builds plugins of a language.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// What people call it.
    pub name: String,
    /// A line for `sh` that prints its version, if it is there.
    pub check: String,
    /// How it is installed, as an imperative.
    pub install: String,
}

impl Template {
    /// All templates, by the names of their folders.
    pub fn all() -> Vec<Self> {
        let mut folders: Vec<_> = TEMPLATES.dirs().collect();
        folders.sort_by_key(|folder| folder.path());
        let templates = folders.into_iter().filter_map(|folder| {
            let file = folder.get_file(folder.path().join(DESCRIPTION))?;
            let about = toml::from_str(file.contents_utf8()?);
            Some(Self {
                folder: folder.path().to_str()?,
                about: about.expect("a test reads every template"),
            })
        });
        templates.collect()
    }

    /// The word for its language on the command line.
    pub fn word(&self) -> &'static str {
        self.folder.split('-').next().unwrap_or(self.folder)
    }

    /// The files of a plugin, in order, with their texts.
    pub fn files(&self, name: &str) -> Vec<(PathBuf, String)> {
        let mut files = Vec::new();
        let own = TEMPLATES.get_dir(self.folder);
        collect(own.expect("it is listed"), &mut files);
        files.retain(|(path, _)| path != Path::new(DESCRIPTION));
        files.push(("scenario.toml".into(), shared("scenario.toml").to_owned()));
        for (_, text) in &mut files {
            *text = self.render(text, name);
        }
        files.push(("wit/provider.wit".into(), CONTRACT.to_owned()));
        if self.about.sdk {
            let mut sdk = Vec::new();
            collect(&SDK, &mut sdk);
            let sdk = sdk.into_iter();
            files.extend(sdk.map(|(path, text)| (Path::new("sdk").join(path), text)));
        }
        files.sort();
        files
    }

    /// Fills in what differs from plugin to plugin.
    fn render(&self, text: &str, name: &str) -> String {
        let (call, grants) = match self.about.kind {
            PluginKind::Component => ("", "component-grants.md"),
            PluginKind::Command => ("protocol = \"json\"\n", "command-grants.md"),
        };
        text.replace("{{shared tail.md}}\n", shared("tail.md"))
            .replace("{{shared grants}}\n", shared(grants))
            .replace("{{call}}", call)
            .replace("{{crash}}", &self.about.crash)
            .replace("{{crate}}", &name.replace('-', "_"))
            .replace("{{name}}", name)
    }
}

fn shared(name: &str) -> &'static str {
    let file = TEMPLATES.get_file(Path::new(SHARED).join(name));
    file.and_then(|file| file.contents_utf8()).unwrap_or_default()
}

/// The files below a folder, with their places relative to it. `.template` at the end of a name keeps a file from tools that
/// look after this repository.
fn collect(root: &Dir<'_>, files: &mut Vec<(PathBuf, String)>) {
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
}
