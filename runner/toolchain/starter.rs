//! [`Starter`]: a new plugin as `runner plugin new` writes it.
//!
//! It is made from a template, a folder in `templates`, of which the binary has a copy. `.template` at the end of a name
//! keeps a file from the tools that look after this repository, and is taken off.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use fs_err as fs;
use include_dir::{Dir, include_dir};
use regex::Regex;

use super::{kind::SourceKind, language::Language};

static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/runner/toolchain/templates");

/// The crate that providers in Rust are written with. It is on no registry, so a plugin in Rust carries it.
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/plugins/sdk");

/// What the SDK has of the pages in this repository.
const PAGES: &str = "/// The examples of the pages, tested.\n#[cfg(doctest)]\nmod pages;\n\n";

const SDK_NAME: &str = "runner-sdk";

/// The workspace that the SDK inherits from, while it is here.
const WORKSPACE: &str = include_str!("../../Cargo.toml");

const CONTRACT: &str = include_str!("../../schemas/provider.wit");

const README_TAIL: &str = include_str!("templates/README-tail.md.template");

const COMPONENT_GRANTS: &str = include_str!("templates/component-grants.md.template");

const COMMAND_GRANTS: &str = include_str!("templates/command-grants.md.template");

/// What a new plugin begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Starter {
    language: Language,
    kind: SourceKind,
}

/// Why there is no new plugin.
#[derive(Debug, thiserror::Error)]
pub enum StarterError {
    /// Nobody makes such plugins of the language.
    #[error("there is no template for a {} in {}: {why}", kind.as_str(), language.name())]
    Kind {
        /// The language.
        language: Language,
        /// The kind that was asked for.
        kind: SourceKind,
        /// Why not.
        why: &'static str,
    },
    /// The last part of the path cannot be a name.
    #[error(
        "`{0}` cannot be a plugin's name: it has lower-case letters, digits and `-`, begins with a letter, and is at most \
         64 long"
    )]
    Name(String),
    /// The name is that of the crate that the plugin is written with.
    #[error(
        "`{SDK_NAME}` cannot be the name of a plugin in Rust: the crate that it is written with is called so"
    )]
    Taken,
    /// There is something already.
    #[error("`{0}` is there already, and is not an empty folder")]
    Exists(PathBuf),
    /// What the folder is to be made in is none.
    #[error("no folder can be made in `{0}`, which is a file")]
    NoFolder(PathBuf),
    /// A file cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Starter {
    /// Chooses a template; without a `kind` it is the usual one of the language.
    pub fn new(language: Language, kind: Option<SourceKind>) -> Result<Self, StarterError> {
        let kind = kind.unwrap_or(language.usual_kind());
        let why = match (language, kind) {
            (Language::C | Language::Go, SourceKind::Component) => {
                "its tools make modules, and a command with the JSON protocol has typed errors and a log as well"
            }
            (Language::Python | Language::JavaScript, SourceKind::Command) => {
                "its tools make components, which need no protocol on standard input"
            }
            _ => return Ok(Self { language, kind }),
        };
        Err(StarterError::Kind {
            language,
            kind,
            why,
        })
    }

    /// What is made of it.
    pub fn kind(self) -> SourceKind {
        self.kind
    }

    /// Writes a new plugin into `folder`, whose name is the plugin's, and answers the files, relative to it.
    pub fn write(self, folder: &Path) -> Result<Vec<PathBuf>, StarterError> {
        let name = name(folder)?;
        if self.has_sdk() && name == SDK_NAME {
            return Err(StarterError::Taken);
        }
        check_free(folder)?;
        let files = self.files(&name);
        for (path, text) in &files {
            let path = folder.join(path);
            let parent = path.parent().expect("it is inside the folder");
            fs::create_dir_all(parent)
                .and_then(|()| fs::write(&path, text))
                .map_err(|source| StarterError::Write { path, source })?;
        }
        Ok(files.into_iter().map(|(path, _)| path).collect())
    }

    /// The commands that follow, each to be run in the plugin's folder: those that install what is needed, then the test.
    pub fn steps(self) -> &'static [&'static str] {
        match (self.language, self.kind) {
            (Language::Rust, _) => &["cargo test"],
            (Language::Python, _) => &[
                "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
                ".venv/bin/componentize-py --wit-path wit --world plugin bindings .bindings",
                "python3 -m unittest",
            ],
            (Language::JavaScript, _) => &["npm install", "npm test"],
            (Language::C, _) => &[
                "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
                "sh test.sh",
            ],
            (Language::Go, _) => &["go test"],
        }
    }

    /// The files of a plugin, in order, with their texts.
    fn files(self, name: &str) -> Vec<(PathBuf, String)> {
        let mut files = Vec::new();
        for folder in ["any", self.folder()] {
            let dir = TEMPLATES.get_dir(folder);
            collect(dir.expect("every template has a folder"), &mut files);
        }
        files.push(("wit/provider.wit".into(), CONTRACT.to_owned()));
        if self.has_sdk() {
            files.extend(sdk());
        }

        for (_, text) in &mut files {
            *text = self.render(text, name);
        }
        files.sort();
        files
    }

    fn has_sdk(self) -> bool {
        (self.language, self.kind) == (Language::Rust, SourceKind::Component)
    }

    fn folder(self) -> &'static str {
        match (self.language, self.kind) {
            (Language::Rust, SourceKind::Command) => "rust-command",
            (language, _) => language.as_str(),
        }
    }

    /// Fills in what differs from plugin to plugin.
    fn render(self, text: &str, name: &str) -> String {
        let (call, touch) = match self.kind {
            SourceKind::Component => ("", COMPONENT_GRANTS),
            SourceKind::Command => ("protocol = \"json\"\n", COMMAND_GRANTS),
        };
        text.replace("{{more}}\n", README_TAIL)
            .replace("{{call}}", call)
            .replace("{{touch}}\n", touch)
            .replace("{{crash}}", self.language.crash())
            .replace("{{crate}}", &name.replace('-', "_"))
            .replace("{{name}}", name)
    }
}

/// Takes the last part of a path for the name of a plugin.
fn name(folder: &Path) -> Result<String, StarterError> {
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("^[a-z][a-z0-9-]{0,63}$").expect("the expression is valid"));
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    let name = name.to_string_lossy();
    if NAME.is_match(&name) {
        return Ok(name.into_owned());
    }
    Err(StarterError::Name(name.into_owned()))
}

/// Makes sure that the folder is empty, or can be made.
fn check_free(folder: &Path) -> Result<(), StarterError> {
    let exists = || StarterError::Exists(folder.to_owned());
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().map_or(Ok(()), |_| Err(exists())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) if folder.is_file() => Err(exists()),
        Err(source) => match folder.ancestors().find(|path| path.is_file()) {
            Some(file) => Err(StarterError::NoFolder(file.to_owned())),
            None => Err(StarterError::Write {
                path: folder.to_owned(),
                source,
            }),
        },
    }
}

/// The files below a folder of the binary, with their places relative to it.
fn collect(root: &Dir<'_>, files: &mut Vec<(PathBuf, String)>) {
    let mut pending = vec![root];
    while let Some(dir) = pending.pop() {
        pending.extend(dir.dirs());
        for file in dir.files() {
            let path = file.path().strip_prefix(root.path()).expect("it is below");
            let path = path.to_str().expect("our names are UTF-8");
            let path = path.strip_suffix(".template").unwrap_or(path);
            let text = file.contents_utf8().expect("our templates are UTF-8");
            files.push((path.into(), text.to_owned()));
        }
    }
}

/// The SDK's files. What its manifest inherits from the workspace here is written out.
fn sdk() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    collect(&SDK, &mut files);
    files.retain(|(path, _)| path != Path::new("src/pages.rs"));
    for (path, text) in &mut files {
        match path.to_str() {
            Some("Cargo.toml") => *text = without_workspace(text),
            Some("src/lib.rs") => *text = text.replace(PAGES, ""),
            _ => {}
        }
        *path = Path::new("sdk").join(&*path);
    }
    files
}

fn without_workspace(manifest: &str) -> String {
    let workspace: toml::Table = WORKSPACE.parse().expect("our manifest is TOML");
    let package = &workspace["workspace"]["package"];
    let manifest = manifest.replace("[lints]\nworkspace = true\n\n", "");
    let lines = manifest
        .lines()
        .map(|line| match line.strip_suffix(".workspace = true") {
            Some(key) => format!("{key} = {}\n", package[key]),
            None => format!("{line}\n"),
        });
    lines.collect()
}
