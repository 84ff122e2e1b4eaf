//! Tests of [`super::Source`], with real tools in temporary folders.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fs_err as fs;
use tempfile::TempDir;

use super::{BuildWatch, Built, Language, Source, SourceError, SourceKind, SourceState, Starter};

fn folder(manifest: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("plugin.toml"), manifest).unwrap();
    folder
}

/// The folder of a plugin that a shell script builds; a program that does nothing lies in it as `command.wasm`.
fn scripted(script: &str) -> TempDir {
    let folder = folder(&format!(
        "name = \"x\"\nkind = \"command\"\ncommand = [\"sh\", \"-c\", {script:?}]\n"
    ));
    fs::write(folder.path().join("command.wasm"), command()).unwrap();
    folder
}

fn command() -> Vec<u8> {
    wat::parse_str("(module (func (export \"_start\")))").unwrap()
}

fn open(folder: &Path) -> Source {
    Source::open(folder).unwrap()
}

fn build(folder: &Path) -> (Result<Built, SourceError>, Vec<String>) {
    let mut lines = Vec::new();
    let result = open(folder).build(&mut BuildWatch {
        on_line: &mut |line| lines.push(line.to_owned()),
        is_stopped: &|| false,
    });
    (result, lines)
}

fn refusal(manifest: &str) -> SourceError {
    Source::open(folder(manifest).path()).unwrap_err()
}

#[test]
fn a_manifest_says_what_the_plugin_is() {
    let folder = folder("name = \"echo\"\nlanguage = \"rust\"\nkind = \"component\"\n");
    let source = open(folder.path());
    assert_eq!(source.name(), "echo");
    assert_eq!(source.kind(), SourceKind::Component);
    assert_eq!(source.state(&|| false).unwrap(), SourceState::Missing);
}

#[test]
fn a_folder_without_manifest_is_no_plugin() {
    let folder = TempDir::new().unwrap();
    let error = Source::open(folder.path()).unwrap_err();
    assert!(matches!(error, SourceError::NoManifest(_)), "{error}");
    assert!(error.help().unwrap().contains("plugin.toml"));
}

#[test]
fn an_unknown_language_is_refused_with_what_is_supported() {
    let error = refusal("name = \"x\"\nlanguage = \"cobol\"\nkind = \"command\"\n");
    assert!(error.to_string().contains("`cobol`"), "{error}");
    let help = error.help().unwrap();
    assert!(
        help.contains("`rust`, `python`") && help.contains("command ="),
        "{help}"
    );

    let error = refusal("name = \"x\"\nkind = \"command\"\n");
    assert!(matches!(error, SourceError::NoRecipe(_)), "{error}");
}

#[test]
fn a_mistake_in_a_manifest_is_pointed_at() {
    for (manifest, expected) in [
        ("name = ", "line 1, column 8"),
        (
            "name = \"x\"\nlanguage = \"rust\"\n",
            "missing field `kind`",
        ),
        (
            "name = \"x\"\nlanguage = \"rust\"\nkind = \"module\"\n",
            "unknown variant `module`",
        ),
        (
            "name = \"x\"\nlanguages = \"rust\"\nkind = \"command\"\n",
            "unknown field `languages`",
        ),
    ] {
        let error = refusal(manifest);
        assert!(
            error.to_string().ends_with("plugin.toml` is not valid"),
            "{error}"
        );
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(expected), "{cause}");
    }
}

#[test]
fn a_built_plugin_is_fresh_by_whatever_path_its_folder_is_named() {
    let root = TempDir::new().unwrap();
    let library = root.path().join("library");
    fs::create_dir(&library).unwrap();
    fs::write(library.join("lib.rs"), "").unwrap();
    fs::write(library.join("Cargo.toml"), "").unwrap();
    let plugin = root.path().join("plugin");
    fs::rename(
        scripted("mkdir -p dist && cp command.wasm dist/plugin.wasm").keep(),
        &plugin,
    )
    .unwrap();
    let manifest = "[dependencies]\nlibrary = { path = \"../library\" }\n";
    fs::write(plugin.join("Cargo.toml"), manifest).unwrap();
    build(&plugin).0.unwrap();

    let built = |path: &Path| matches!(open(path).state(&|| false).unwrap(), SourceState::Fresh(_));
    assert!(built(&plugin));
    assert!(built(&library.join("../plugin")));
    fs::write(library.join("lib.rs"), "// changed").unwrap();
    assert!(!built(&plugin));
}

#[test]
fn a_built_plugin_is_fresh_until_its_source_changes() {
    let folder = scripted("echo one; echo two >&2; cp command.wasm dist/plugin.wasm");
    let (built, mut lines) = build(folder.path());
    let built = built.unwrap();
    assert_eq!(built.path, folder.path().join("dist/plugin.wasm"));
    assert_eq!(built.size, command().len() as u64);
    lines.sort();
    assert_eq!(lines, ["one", "two"]);

    let state = || open(folder.path()).state(&|| false).unwrap();
    assert_eq!(state(), SourceState::Fresh(built.path.clone()));
    // What was built or installed, is hidden, or uses the plugin, is not source.
    for name in ["target", "node_modules", "__pycache__", "results", ".venv"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("x"), "").unwrap();
    }
    fs::write(folder.path().join(".hidden"), "").unwrap();
    fs::write(folder.path().join("scenario.toml"), "").unwrap();
    let scenario = "[providers.x]\nplugin = \".\"\n";
    fs::write(folder.path().join("nightly.toml"), scenario).unwrap();
    assert_eq!(state(), SourceState::Fresh(built.path.clone()));
    fs::write(folder.path().join("settings.toml"), "x = 1").unwrap();
    assert_eq!(state(), SourceState::Stale(built.path.clone()));
    fs::remove_file(folder.path().join("settings.toml")).unwrap();
    fs::write(folder.path().join("main.c"), "int main;").unwrap();
    assert_eq!(state(), SourceState::Stale(built.path.clone()));

    build(folder.path()).0.unwrap();
    assert_eq!(state(), SourceState::Fresh(built.path.clone()));
    fs::remove_file(folder.path().join("dist/plugin.digest")).unwrap();
    assert_eq!(state(), SourceState::Stale(built.path));
}

#[test]
fn a_crate_named_by_path_is_source_too() {
    let workspace = TempDir::new().unwrap();
    let crate_at = |name: &str, dependencies: &str| {
        let folder = workspace.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("Cargo.toml"), dependencies).unwrap();
        folder
    };
    let plugin = crate_at(
        "plugin",
        "[target.'cfg(unix)'.dependencies]\na = { path = \"../a\" }\n",
    );
    crate_at("a", "[dependencies]\nb = { path = \"../b\" }\n");
    let b = crate_at("b", "[build-dependencies]\na = { path = \"../a\" }\n");
    let digest = || super::digest::of_source(&plugin, &|| false).unwrap();

    let before = digest();
    assert_eq!(digest(), before);
    fs::write(b.join("lib.rs"), "").unwrap();
    assert_ne!(digest(), before);
}

#[test]
fn a_source_larger_than_any_plugins_is_refused_with_what_there_is_too_much_of() {
    let has = |fill: &dyn Fn(&Path)| {
        let folder = TempDir::new().unwrap();
        fill(folder.path());
        match super::digest::of_source(folder.path(), &|| false).unwrap_err() {
            SourceError::TooLarge { has, .. } => has,
            error => panic!("{error}"),
        }
    };
    let sparse = |folder: &Path| {
        let file = fs::File::create(folder.join("model.bin")).unwrap();
        file.set_len(200 << 30).unwrap();
    };
    assert_eq!(has(&sparse), "more than 512.0 MiB of files");
    let named_by_path = |folder: &Path| {
        let beside = folder.join("target/beside");
        fs::create_dir_all(&beside).unwrap();
        sparse(&beside);
        let manifest = "[dependencies]\na = { path = \"target/beside\" }\n";
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    };
    assert_eq!(has(&named_by_path), "more than 512.0 MiB of files");
    let deep = |folder: &Path| fs::create_dir_all(folder.join("d/".repeat(70))).unwrap();
    assert_eq!(has(&deep), "folders nested more than 64 deep");
}

#[test]
fn a_source_is_read_without_pipes_and_until_it_is_stopped() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a"), "x").unwrap();
    let stopped = super::digest::of_source(folder.path(), &|| true);
    assert!(matches!(stopped, Err(SourceError::Stopped)), "{stopped:?}");

    let pipe = |name: &str| {
        let made = std::process::Command::new("mkfifo")
            .arg(folder.path().join(name))
            .status();
        assert!(made.unwrap().success());
    };
    pipe("pipe");
    super::digest::of_source(folder.path(), &|| false).unwrap();
    pipe("Cargo.toml");
    pipe("plugin.toml");
    let reading = super::digest::of_source(folder.path(), &|| false).unwrap_err();
    assert!(matches!(reading, SourceError::File { .. }), "{reading}");
    let opening = Source::open(folder.path()).err().unwrap();
    assert!(matches!(opening, SourceError::File { .. }), "{opening}");
}

#[test]
fn a_manifest_that_is_a_link_is_not_shown() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("secret"), "root:x:0:0").unwrap();
    std::os::unix::fs::symlink("secret", folder.path().join("plugin.toml")).unwrap();
    let error = Source::open(folder.path()).err().unwrap();
    let text = crate::model::chain(&error);
    assert!(text.ends_with("it is a symbolic link"), "{text}");
}

#[test]
fn a_failed_build_shows_its_lines_once_and_keeps_what_was_built() {
    let folder = scripted("{ seq 100; echo wrong; } >&2; exit 3");
    fs::create_dir(folder.path().join("dist")).unwrap();
    fs::write(folder.path().join("dist/plugin.wasm"), "old").unwrap();
    let (result, lines) = build(folder.path());

    assert_eq!(lines.len(), 101);
    let error = result.unwrap_err();
    let SourceError::Failed { status, tail, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(status.code(), Some(3));
    assert_eq!(tail.lines().count(), 40);
    assert!(tail.contains("wrong"), "{tail}");
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    let old = fs::read_to_string(folder.path().join("dist/plugin.wasm")).unwrap();
    assert_eq!(old, "old");
}

#[test]
fn a_process_that_a_tool_leaves_behind_is_not_waited_for() {
    let folder = scripted("sleep 20 & cp command.wasm dist/plugin.wasm; echo done");
    let start = Instant::now();
    let (built, lines) = build(folder.path());
    assert!(built.is_ok(), "{built:?}");
    assert_eq!(lines, ["done"]);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_was_built_must_be_of_the_promised_kind() {
    let folder = scripted("cp command.wasm dist/plugin.wasm");
    let manifest = folder.path().join("plugin.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"command\"", "\"component\"")).unwrap();
    let error = build(folder.path()).0.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("says `kind = \"component\"`, but what was built is a command"),
        "{error}"
    );
    assert!(error.help().unwrap().contains("`kind = \"command\"`"));
    // It is there, but nobody vouches for it.
    let file = folder.path().join("dist/plugin.wasm");
    assert_eq!(
        open(folder.path()).state(&|| false).unwrap(),
        SourceState::Stale(file)
    );

    let error = build(scripted("echo text > dist/plugin.wasm").path())
        .0
        .unwrap_err();
    assert!(
        error.to_string().ends_with("what was built is not WASM"),
        "{error}"
    );
}

#[test]
fn a_build_without_result_is_an_error() {
    let (result, _) = build(scripted("true").path());
    let error = result.unwrap_err();
    assert!(matches!(error, SourceError::NoPlugin { .. }), "{error}");
}

#[test]
fn a_crate_becomes_a_fresh_plugin_or_an_error_with_the_compilers_words() {
    let folder = folder("name = \"x\"\nlanguage = \"rust\"\nkind = \"command\"\n");
    let package = "[package]\nname = \"x\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(folder.path().join("Cargo.toml"), package).unwrap();
    let main = folder.path().join("src/main.rs");
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(&main, "fn main() {}").unwrap();
    let built = build(folder.path()).0.unwrap();
    assert!(fs::read(&built.path).unwrap().starts_with(b"\0asm"));
    let fresh = SourceState::Fresh(built.path.clone());
    assert_eq!(open(folder.path()).state(&|| false).unwrap(), fresh);

    fs::write(&main, "fn main() { oops }").unwrap();
    let (result, lines) = build(folder.path());
    let error = result.unwrap_err().to_string();
    assert!(
        error.starts_with("`cargo build --target wasm32-wasip2"),
        "{error}"
    );
    let lines = lines.join("\n");
    assert_eq!(
        lines.matches("cannot find value `oops`").count(),
        1,
        "{lines}"
    );
    assert!(!error.contains("oops"), "{error}");
    let stale = SourceState::Stale(built.path);
    assert_eq!(open(folder.path()).state(&|| false).unwrap(), stale);
}

#[test]
fn a_tool_that_is_absent_is_named() {
    let folder = folder("name = \"x\"\nkind = \"command\"\ncommand = [\"no-such-tool\"]\n");
    let error = build(folder.path()).0.unwrap_err();
    assert_eq!(error.to_string(), "cannot start `no-such-tool`");
    let help = super::rust::help_to_install("cargo").unwrap();
    assert!(help.ends_with("rustup target add wasm32-wasip2"), "{help}");
}

#[test]
fn the_templates_have_the_versions_that_the_doctor_installs() {
    for (language, file) in [
        (Language::Python, "requirements.txt"),
        (Language::C, "requirements.txt"),
        (Language::Go, "README.md"),
    ] {
        let parent = TempDir::new().unwrap();
        let folder = parent.path().join("word");
        let starter = Starter::new(language, None).unwrap();
        starter.write(&folder).unwrap();
        let text = fs::read_to_string(folder.join(file)).unwrap();

        let elsewhere = language.needs()[0].install(parent.path());
        let (_, package) = elsewhere.rsplit_once(' ').unwrap();
        assert!(
            text.contains(package),
            "{file} of {language:?} has no {package}"
        );
    }
}

#[test]
fn a_go_that_is_too_old_is_called_so() {
    let tail = "go: unsupported GOOS/GOARCH pair wasip1/wasm\n";
    let help = super::go::help_for_failure(tail).unwrap();
    assert!(
        help.contains("too old") && help.contains("https://go.dev/dl"),
        "{help}"
    );
    assert_eq!(super::go::help_for_failure("main.go:3: syntax error"), None);
}

#[test]
fn a_stop_ends_the_whole_group_even_if_it_does_not_listen() {
    // A child of the tool that ignores TERM and holds the pipes.
    let folder = scripted("(trap '' TERM; echo child; sleep 60; sleep 60) & wait");
    let is_stopped = AtomicBool::new(false);
    let start = Instant::now();
    let result = open(folder.path()).build(&mut BuildWatch {
        on_line: &mut |_| is_stopped.store(true, Ordering::Relaxed),
        is_stopped: &|| is_stopped.load(Ordering::Relaxed),
    });
    assert!(matches!(result, Err(SourceError::Stopped)), "{result:?}");
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(2),
        "killed without grace: {took:?}"
    );
    assert!(
        took < Duration::from_secs(10),
        "waited for the tool: {took:?}"
    );
}
