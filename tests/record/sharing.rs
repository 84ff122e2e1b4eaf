//! Who may read what is recorded.

use std::{
    collections::BTreeSet,
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::support::runner::{CommandExt as _, Ran, Runner};

/// A run that leaves everything that runs leave: artifacts of several kinds, an output too large for its row, logs.
fn runner(grants: &str) -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&format!(
        r#"
        [providers.hostile]
        plugin = "hostile.wasm"
        {grants}
        [[tests]]
        id = "a"
        input = {{ do = "artifact", name = "report.txt" }}
        files = {{ note = "note" }}
        [[tests]]
        id = "b"
        input = {{ do = "echo", value = "{}" }}
        "#,
        "x".repeat(70_000)
    ));
    runner.write("note", "x");
    runner
}

fn with_umask(runner: &Runner, umask: &str, args: &str) -> Ran {
    let mut command = runner.shell(&format!("umask {umask}; exec \"$runner\" {args}"));
    command.env("API_KEY", "a secret of many letters");
    command.run()
}

/// Everything at a path and below it, with its mode.
fn modes(path: &Path) -> Vec<(PathBuf, u32)> {
    let entries = walkdir::WalkDir::new(path).into_iter();
    let entries = entries.map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.into_path(), mode)
        })
        .collect()
}

/// Fails unless all directories have one mode and all files another.
#[track_caller]
fn assert_modes(path: &Path, directory: u32, file: u32) {
    let found = modes(path);
    assert!(!found.is_empty());
    for (path, mode) in found {
        let expected = if path.is_dir() { directory } else { file };
        assert_eq!(mode, expected, "{}: {mode:o}", path.display());
    }
}

#[test]
fn results_are_their_owners_alone_unless_the_umask_lets_others_write() {
    for (umask, directory, file) in [
        ("022", 0o700, 0o600),
        ("077", 0o700, 0o600),
        // Everybody else may read by this mask, and not write.
        ("002", 0o770, 0o660),
        ("007", 0o770, 0o660),
        ("000", 0o777, 0o666),
    ] {
        let runner = runner("");
        with_umask(&runner, umask, "exec scenario.toml").expect(0);
        let root = runner.path("results");
        assert_modes(&root, directory, file);
        let names: BTreeSet<_> = modes(&root)
            .iter()
            .filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned()))
            .collect();
        for made in [
            "runner.db",
            ".lock",
            "store",
            "benchmark.json",
            "index.jsonl",
            "inflight",
            "lock",
            "runner.log",
            "scenario.toml",
            "report.txt",
            "output.json",
        ] {
            assert!(names.contains(made), "{made} is not among {names:?}");
        }
        // Whatever is done to it afterwards leaves it so.
        for args in [
            "resume --from latest --rerun all",
            "pin latest",
            "unpin latest",
            "cleanup --no-dry-run",
            "reindex",
            "list",
        ] {
            with_umask(&runner, umask, args).expect(0);
            assert_modes(&root, directory, file);
        }
    }
}

#[test]
fn a_directory_that_is_there_keeps_its_mode_and_shuts_out_whom_it_did() {
    for (mode, umask, file) in [
        (0o755, "022", 0o600),
        (0o750, "000", 0o660),
        (0o700, "000", 0o600),
    ] {
        let runner = runner("");
        let dir = runner.path("root/run");
        fs_err::create_dir_all(&dir).unwrap();
        fs_err::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
        with_umask(&runner, umask, "exec scenario.toml --into root/run").expect(0);
        for (path, found) in modes(&dir) {
            let expected = match path.is_dir() {
                true if path == dir => mode,
                true => continue,
                false => file,
            };
            assert_eq!(found, expected, "{}: {found:o}", path.display());
        }
    }
}

#[test]
fn a_run_with_secrets_is_its_owners_whatever_the_umask_says() {
    for (grants, into) in [
        (r#"grants = { secrets = ["API_KEY"] }"#, ""),
        (r#"grants = { env = { KEY = "{{secret.API_KEY}}" } }"#, ""),
        (r#"grants = { secrets = ["API_KEY"] }"#, "results/run"),
    ] {
        let runner = runner(grants);
        let mut args = "exec scenario.toml".to_owned();
        if !into.is_empty() {
            fs_err::create_dir_all(runner.path(into)).unwrap();
            args = format!("{args} --into {into}");
        }
        with_umask(&runner, "000", &args).expect(0);
        let run = runner.only_run();
        assert_modes(&run.dir, 0o700, 0o600);
        let id = run.id();
        with_umask(&runner, "000", &format!("resume --from {id} --rerun all")).expect(0);
        with_umask(&runner, "000", &format!("pin {id}")).expect(0);
        assert_modes(&run.dir, 0o700, 0o600);
    }
}

#[test]
fn what_goes_on_in_the_background_is_recorded_for_its_owner() {
    let runner = runner("");
    let id = with_umask(&runner, "022", "exec scenario.toml --detach").expect(0);
    runner.run(&["wait", id.stdout.trim()]).expect(0);
    assert_modes(&runner.path("results"), 0o700, 0o600);
}

#[test]
fn artifacts_of_a_call_are_their_owners_too() {
    let call = r#"plugin run hostile.wasm --input '{"do": "artifact", "name": "report.txt"}' --artifacts out"#;
    for (umask, grant, directory, file) in [
        ("022", "", 0o700, 0o600),
        ("007", "", 0o770, 0o660),
        ("007", "--grant secret=API_KEY", 0o770, 0o600),
    ] {
        let runner = runner("");
        with_umask(&runner, umask, &format!("{call} {grant}")).expect(0);
        assert_modes(&runner.path("out"), directory, file);
    }
}
