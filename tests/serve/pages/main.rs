//! The server's pages in Chromium, the types of their scripts, and the API against its OpenAPI document.
//!
//! Needs Debian's `chromium-headless-shell`, or another Chromium that `CHROMIUM` names, and the tools that `.ci/run` installs
//! into `target/tools`. A missing one is a failure.
//!
//! `PAGES=WORDS` runs only tests of pages with these words in their name. `SCREENS=FOLDER` writes a picture of each page into
//! a folder. `RUNNER_TESTS=full` has a run of 10^6 trials and 10^4 runs.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that unwraps fails, as it should")]

mod contract;
mod fixtures;
#[allow(dead_code, reason = "these tests need only some of it")]
#[path = "../../support/mod.rs"]
mod support;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use fixtures::many_kinds_of_runs;
use support::{guests::root, runner::PROGRAM, running::Running, wait::BUILD};

/// The folder of these tests.
fn folder() -> PathBuf {
    root().join("tests/serve/pages")
}

/// Returns a tool in `target/tools`.
#[track_caller]
fn tool(path: &str) -> PathBuf {
    let tool = root().join("target/tools").join(path);
    assert!(tool.exists(), "{} is missing: `.ci/run` installs it", tool.display());
    tool
}

#[track_caller]
fn succeed(command: &mut Command) {
    let ran = Running::start(command).finish_within(BUILD);
    println!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, Some(0), "{command:?}");
}

#[test]
fn scripts_have_right_types() {
    let project = folder().join("tsconfig.json");
    succeed(Command::new(tool("pages/node_modules/.bin/tsc")).arg("-p").arg(project));
}

#[test]
fn pages_work_in_a_browser() {
    let chromium =
        env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium-headless-shell".to_owned());
    assert!(Path::new(&chromium).exists(), "{chromium} is missing: `.ci/run` installs it");
    let runner = many_kinds_of_runs();
    let files = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let modules = tool("pages/node_modules");
    let mut command = Command::new("node");
    command
        .arg(modules.join("@playwright/test/cli.js"))
        .args(["test", "--config", "playwright.config.js"])
        .current_dir(folder())
        .env("NODE_PATH", modules)
        .env("CHROMIUM", chromium)
        .env("RUNNER", PROGRAM)
        .env("ROOT", runner.path(""))
        .env("OUTPUT", files.join("pages"))
        .env("RUNNER_CACHE", files.join("cache"));
    if env::var_os("HOME").is_none() {
        // The program keeps the user's key there.
        command.env("HOME", files);
    }
    succeed(&mut command);
}
