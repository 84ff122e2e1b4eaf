//! The child process that compiles, and the cache of what it made.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::support::{
    engine::{Bench, Interrupt, LinkError, MIB, PluginFile},
    guests::guest,
    wait::wait_until,
};

#[test]
fn a_compiled_plugin_is_kept_and_loaded_again() {
    let bench = Bench::new();
    bench.link(&guest("stuck")).unwrap();
    let entry = only_entry(&bench);
    let kept = fs_err::metadata(&entry).unwrap().modified().unwrap();

    // The second engine has no compiler that it could call.
    let cache = bench.cache();
    let without = Bench::with(|options| {
        options.compiler = "/nowhere".into();
        options.cache = cache;
    });
    without.link(&guest("stuck")).unwrap();
    assert_eq!(fs_err::metadata(&entry).unwrap().modified().unwrap(), kept);
}

#[test]
fn a_damaged_entry_of_the_cache_is_a_miss() {
    let bench = Bench::new();
    bench.link(&guest("stuck")).unwrap();
    let entry = only_entry(&bench);
    let good = fs_err::read(&entry).unwrap();

    let truncated = &good[..good.len() / 2];
    let zeroed = vec![0; good.len()];
    for bad in [b"".as_slice(), b"no artefact", truncated, &zeroed] {
        fs_err::remove_file(&entry).unwrap();
        fs_err::write(&entry, bad).unwrap();
        bench.link(&guest("stuck")).unwrap();
        assert_eq!(fs_err::read(&entry).unwrap().len(), good.len());
        assert_eq!(only_entry(&bench), entry);
    }
}

#[test]
fn a_cache_that_cannot_be_used_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();

    let file = folder.path().join("file");
    fs_err::write(&file, "").unwrap();
    let shared = folder.path().join("shared");
    fs_err::create_dir(&shared).unwrap();
    fs_err::set_permissions(&shared, Permissions::from_mode(0o777)).unwrap();
    for cache in [file.join("cache"), shared.clone()] {
        let bench = Bench::with(|options| options.cache = cache);
        bench.link(&guest("stuck")).unwrap();
    }
    assert_eq!(fs_err::read_dir(&shared).unwrap().count(), 0);
}

#[test]
fn a_new_cache_is_private() {
    let bench = Bench::new();
    bench.link(&guest("stuck")).unwrap();
    let cache = fs_err::metadata(bench.cache()).unwrap();
    assert_eq!(cache.permissions().mode() & 0o777, 0o700);
}

#[test]
fn compiling_ends_in_time() {
    let bench = Bench::with(|options| options.compile_timeout = Duration::from_millis(1));
    let error = bench.link(&guest("hostile")).unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(reason, "it took longer than 0.001 s");
    assert!(fs_err::read_dir(bench.cache()).unwrap().next().is_none());
}

#[test]
fn the_compiling_child_has_no_environment_and_works_in_the_root() {
    let tools = tempfile::tempdir().unwrap();
    let script = tools.path().join("compiler");
    fs_err::write(&script, "#!/bin/sh\n{ /usr/bin/env; pwd; } >&2\nexit 1\n").unwrap();
    fs_err::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let bench = Bench::with(|options| options.compiler = script);
    let error = bench.link(&guest("stuck")).unwrap_err();
    let said = std::error::Error::source(&error).unwrap().to_string();
    // What is left is what a shell makes for itself.
    let names = said.lines().filter_map(|line| line.split_once('='));
    let names: std::collections::BTreeSet<_> = names.map(|(name, _)| name).collect();
    let known = ["OLDPWD", "PWD", "RAYON_NUM_THREADS", "SHLVL", "_"];
    assert!(names.iter().all(|name| known.contains(name)), "{said}");
    assert_eq!(said.lines().last(), Some("/"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_limits_itself_before_it_reads_anything() {
    for argument in ["__compile", "__schema"] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_runner"))
            .arg(argument)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", child.id());
            fs_err::read_to_string(path).unwrap()
        };
        let is_limited = |name: &str, limit: Option<&str>| {
            let limits = read("limits");
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
            let most = line[name.len()..].split_whitespace().nth(1).unwrap();
            limit.map_or(most != "unlimited", |limit| most == limit)
        };
        wait_until("it has set the last of its limits", || {
            is_limited("Max data size", None)
        });
        assert!(is_limited("Max core file size", Some("0")));
        assert!(is_limited("Max open files", Some("32")));
        assert!(is_limited("Max cpu time", None));
        assert!(is_limited("Max file size", None));
        assert!(read("status").contains("NoNewPrivs:\t1"));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[test]
fn an_interrupt_ends_compiling_at_once_and_leaves_no_process() {
    let compiler = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/never-compiles.sh");
    let bench = Bench::with(|options| options.compiler = compiler);
    let cache = bench.cache();
    let file = PluginFile::read(&guest("stuck"), MIB).unwrap();
    let interrupt = Interrupt::default();

    let (error, pid, interrupted_at) = bench.wait(async {
        let interrupt_once_compiling = async {
            let pid = loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                if let Some(pid) = written_pid(&cache) {
                    break pid;
                }
            };
            interrupt.now();
            (pid, Instant::now())
        };
        let link = bench.start_linking(&file, &interrupt);
        let (linked, (pid, at)) = tokio::join!(link, interrupt_once_compiling);
        (linked.unwrap_err(), pid, at)
    });
    assert!(matches!(error, LinkError::Cancelled), "{error:?}");
    assert!(interrupted_at.elapsed() < Duration::from_secs(1));
    assert_eq!(
        rustix::process::test_kill_process(pid),
        Err(rustix::io::Errno::SRCH)
    );
}

#[test]
fn a_compiler_that_cannot_be_run_or_dies_is_named() {
    let reason = |compiler: PathBuf| {
        let bench = Bench::with(|options| options.compiler = compiler);
        let error = bench.link(&guest("stuck")).unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    };
    assert_eq!(
        reason("/nowhere".into()),
        "cannot run the compiler `/nowhere`"
    );
    assert_eq!(
        reason("/bin/false".into()),
        "the compiler ended with exit status: 1"
    );
}

fn only_entry(bench: &Bench) -> PathBuf {
    let entries = fs_err::read_dir(bench.cache()).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(paths.len(), 1, "{paths:?}");
    paths.remove(0)
}

/// What the compiler that never ends has written to the draft of its artefact.
fn written_pid(cache: &Path) -> Option<rustix::process::Pid> {
    let draft = fs_err::read_dir(cache).ok()?.next()?.ok()?;
    let text = fs_err::read_to_string(draft.path()).ok()?;
    rustix::process::Pid::from_raw(text.strip_suffix('\n')?.parse().ok()?)
}
