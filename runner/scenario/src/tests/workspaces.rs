//! Bases of workspaces.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{ffi::OsStr, fs, path::Path};

use insta::assert_snapshot;
use runner_files::DigestCache;
use runner_model::{Selected, digest, test::Test};
use tempfile::TempDir;

use crate::suites::{folder, lines, refused, select, try_resolve};
use crate::{Selection, Suite, load, resolve_selected};

/// A scenario whose provider `p` starts in `from`, and whose test has the input `task`.
fn scenario(from: &str, task: &str) -> String {
    format!(
        "providers.p.workspace.from = '{from}'\ntests = [{{ id = 'a', input.task = '{task}', providers = ['p'] }}]\n"
    )
}

/// A folder with such a scenario, and `fixtures/a/x.txt` and `fixtures/b/x.txt`.
fn with_fixtures(from: &str, task: &str) -> TempDir {
    let files = [("fixtures/a/x.txt", "ax"), ("fixtures/b/x.txt", "bx"), ("fixtures/.c/x", "")];
    folder(&scenario(from, task), &files)
}

/// Returns the first line of a message, and its help.
fn problem(folder: &TempDir) -> String {
    let message = refused(folder, &Selection::default());
    let message = message.replace(folder.path().to_str().unwrap(), "FOLDER");
    let help = message.lines().find(|line| line.contains("help:")).unwrap_or_default();
    format!("{}\n{}", message.lines().next().unwrap_or_default(), help.trim())
}

/// Returns the lines of the only base.
fn only_base(suite: &Suite) -> String {
    assert_eq!(suite.bases().len(), 1);
    let (sha256, base) = suite.bases().first_key_value().unwrap();
    assert_eq!(digest(&base.lines), *sha256);
    String::from_utf8(base.lines.to_vec()).unwrap()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn base_has_files_folders_and_links() {
    let folder = with_fixtures("fixtures/{{input.task}}", "a");
    let base = folder.path().join("fixtures/a");
    fs::create_dir_all(base.join("empty")).unwrap();
    fs::create_dir_all(base.join(".git/deep")).unwrap();
    fs::write(base.join(".git/deep/run.sh"), "run").unwrap();
    fs::write(base.join("a-b"), "ax").unwrap();
    fs::write(base.join("ä \"q\"\n"), "").unwrap();
    set_mode(&base.join(".git/deep/run.sh"), 0o4755);
    set_mode(&base.join("x.txt"), 0o640);
    for name in ["a-b", "ä \"q\"\n"] {
        set_mode(&base.join(name), 0o600);
    }
    set_mode(&base.join("empty"), 0o700);
    symlink("../x.txt", base.join("empty/up")).unwrap();
    symlink("none/yet", base.join("dangling")).unwrap();
    symlink("empty/..", base.join("loop")).unwrap();
    let suite = select(&folder, &Selection::default());
    assert_snapshot!(only_base(&suite), @r#"
    {"path":".git","kind":"folder"}
    {"path":".git/deep","kind":"folder"}
    {"path":".git/deep/run.sh","kind":"file","mode":493,"bytes":3,"sha256":"acba25512100f80b56fc3ccd14c65be55d94800cda77585c5f41a887e398f9be"}
    {"path":"a-b","kind":"file","mode":420,"bytes":2,"sha256":"5e85370e555e95d27df68f93c0ccaa4edfc1da5e281b47a2ebba2649a13ea5f4"}
    {"path":"dangling","kind":"link","target":"none/yet"}
    {"path":"empty","kind":"folder"}
    {"path":"empty/up","kind":"link","target":"../x.txt"}
    {"path":"loop","kind":"link","target":"empty/.."}
    {"path":"x.txt","kind":"file","mode":420,"bytes":2,"sha256":"5e85370e555e95d27df68f93c0ccaa4edfc1da5e281b47a2ebba2649a13ea5f4"}
    {"path":"ä \"q\"\n","kind":"file","mode":420,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    "#);
    let (base_digest, base) = suite.bases().first_key_value().unwrap();
    let mut names: Vec<_> =
        base.files.iter().map(|(_, file)| file.path.file_name().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a-b", "run.sh", "x.txt", "ä \"q\"\n"]);
    for (sha256, file) in base.files.iter() {
        assert_eq!(digest(&fs::read(&file.path).unwrap()), *sha256);
    }
    let own = lines(&suite);
    let test: Test<'_> = serde_json::from_str(&own[0]).unwrap();
    assert_eq!(test.bases.into_iter().collect::<Vec<_>>(), [(0, *base_digest)]);
    assert!(suite.blobs().is_empty());
}

#[test]
fn entries_that_no_workspace_has_are_refused() {
    type Make = fn(&Path);
    let makes: [(&str, Make); 10] = [
        ("link up", |base| symlink("../../s.toml", base.join("l")).unwrap()),
        ("absolute link", |base| symlink(base.join("x.txt"), base.join("l")).unwrap()),
        ("link by another", |base| {
            fs::create_dir_all(base.join("deep/er")).unwrap();
            symlink("deep/er", base.join("d")).unwrap();
            symlink("d/../../../b/x.txt", base.join("l")).unwrap();
        }),
        ("circle", |base| {
            symlink("m", base.join("l")).unwrap();
            symlink("l", base.join("m")).unwrap();
        }),
        ("pipe", |base| {
            let made = Command::new("mkfifo").arg(base.join("pipe")).status();
            assert!(made.unwrap().success());
        }),
        ("socket", |base| drop(UnixListener::bind(base.join("socket")).unwrap())),
        ("name", |base| fs::write(base.join(OsStr::from_bytes(b"a\xff")), "").unwrap()),
        ("target", |base| symlink(OsStr::from_bytes(b"a\xff"), base.join("l")).unwrap()),
        ("run", |base| {
            fs::create_dir_all(base.join("out/run")).unwrap();
            fs::write(base.join("out/.lock"), "").unwrap();
        }),
        ("unreadable", |base| {
            fs::create_dir(base.join("locked")).unwrap();
            fs::write(base.join("locked/x"), "").unwrap();
            set_mode(&base.join("locked"), 0);
        }),
    ];
    let mut messages = String::new();
    for (name, make) in makes {
        let folder = with_fixtures("fixtures/a", "");
        let base = folder.path().join("fixtures/a");
        make(&base);
        // Root reads everything.
        if name == "unreadable" && fs::read_dir(base.join("locked")).is_ok() {
            continue;
        }
        messages += &format!("{name}: {}\n", problem(&folder));
        if name == "unreadable" {
            set_mode(&base.join("locked"), 0o700);
        }
    }
    // Only root may make devices.
    let folder = with_fixtures("/dev", "");
    let reads = "run.reads = ['/dev']\n";
    let text = fs::read_to_string(folder.path().join("s.toml")).unwrap();
    fs::write(folder.path().join("s.toml"), format!("{reads}{text}")).unwrap();
    let message = refused(&folder, &Selection::default());
    assert!(message.contains("workspace `/dev` has "), "{message}");
    assert_snapshot!(messages, @r#"
    link up: error: workspace `fixtures/a` has the link `l` to `../../s.toml`, which leads out of it or in a circle
    = help: use relative links within the folder, or files in their place
    absolute link: error: workspace `fixtures/a` has the link `l` to `FOLDER/fixtures/a/x.txt`, which leads out of it or in a circle
    = help: use relative links within the folder, or files in their place
    link by another: error: workspace `fixtures/a` has the link `l` to `d/../../../b/x.txt`, which leads out of it or in a circle
    = help: use relative links within the folder, or files in their place
    circle: error: workspace `fixtures/a` has the link `l` to `m`, which leads out of it or in a circle
    = help: use relative links within the folder, or files in their place
    pipe: error: workspace `fixtures/a` has `pipe`, which cannot be copied: it is not a regular file

    socket: error: workspace `fixtures/a` has `socket`, which cannot be copied: it is not a regular file

    name: error: workspace `fixtures/a` has `a�`, which cannot be copied: its name or target is not UTF-8

    target: error: workspace `fixtures/a` has `l`, which cannot be copied: its name or target is not UTF-8

    run: error: workspace `fixtures/a` has `out/`, which holds results: move them out of it

    "#);
}

#[test]
fn folders_that_are_no_base_are_refused() {
    let mut messages = String::new();
    for (from, task) in [
        ("fixtures/none", ""),
        ("s.toml", ""),
        ("fixtures/{{input.task}}", "../fixtures/a"),
        ("fixtures/{{input.task}}", ""),
        ("fixtures/{{input.task}}", "."),
        ("fixtures/{{input.task}}", ".c"),
        ("fixtures/{{input.task}}", "none"),
        ("{{input.task}}", "/etc"),
        ("fixtures/x{{input.task}}", "/../a"),
        ("fixtures/{{input.other}}", ""),
    ] {
        messages += &format!("{from} {task}: {}\n", problem(&with_fixtures(from, task)));
    }
    assert_snapshot!(messages, @r#"
    fixtures/none : error: workspace `fixtures/none` does not exist

    s.toml : error: workspace `s.toml` is a file

    fixtures/{{input.task}} ../fixtures/a: error: workspace `fixtures/../fixtures/a` is chosen by its test, and is not a visible folder below `fixtures/`
    = help: state other folders in `from`, before its first placeholder
    fixtures/{{input.task}} : error: workspace `fixtures/` is chosen by its test, and is not a visible folder below `fixtures/`
    = help: state other folders in `from`, before its first placeholder
    fixtures/{{input.task}} .: error: workspace `fixtures/.` is chosen by its test, and is not a visible folder below `fixtures/`
    = help: state other folders in `from`, before its first placeholder
    fixtures/{{input.task}} .c: error: workspace `fixtures/.c` is chosen by its test, and is not a visible folder below `fixtures/`
    = help: state other folders in `from`, before its first placeholder
    fixtures/{{input.task}} none: error: workspace `fixtures/none` does not exist

    {{input.task}} /etc: error: workspace `/etc` is chosen by its test, and is not a visible folder below the scenario's folder
    = help: state other folders in `from`, before its first placeholder
    fixtures/x{{input.task}} /../a: error: workspace `fixtures/x/../a` is chosen by its test, and is not a visible folder below `fixtures/`
    = help: state other folders in `from`, before its first placeholder
    fixtures/{{input.other}} : error: test `a` has no `input.other`
    = help: choose from: `task`
    "#);
    assert!(problem(&with_fixtures("..", "")).contains("workspace `..` leads out of the project"));
    // A link to a folder elsewhere in the project is the user's.
    let folder = with_fixtures("fixtures/{{input.task}}", "l");
    symlink("b", folder.path().join("fixtures/l")).unwrap();
    assert!(only_base(&select(&folder, &Selection::default())).contains("x.txt"));
    fs::remove_file(folder.path().join("fixtures/l")).unwrap();
    symlink("/etc", folder.path().join("fixtures/l")).unwrap();
    assert!(problem(&folder).contains("leads out of the project"));
}

#[test]
fn places_of_a_base_are_its_key_and_test() {
    let folder = with_fixtures("fixtures/{{input.task}}", "none");
    let message = refused(&folder, &Selection::default());
    let message = message.replace(folder.path().to_str().unwrap(), "FOLDER");
    assert_snapshot!(message, @r#"
    error: workspace `fixtures/none` does not exist
     --> FOLDER/s.toml:4:30
      |
    4 | providers.p.workspace.from = 'fixtures/{{input.task}}'
      |                              ^^^^^^^^^^^^^^^^^^^^^^^^^ this folder
    5 | tests = [{ id = 'a', input.task = 'none', providers = ['p'] }]
      |                 --- of this test
    "#);
}

#[test]
fn base_in_results_is_refused() {
    let folder = with_fixtures("results/one/fixture", "");
    fs::create_dir_all(folder.path().join("results/one/fixture")).unwrap();
    fs::write(folder.path().join("results/.lock"), "").unwrap();
    assert_snapshot!(problem(&folder), @"error: workspace `results/one/fixture` is in `FOLDER/results`, which holds results");
}

#[test]
fn each_task_has_its_base_and_equal_ones_are_shared() {
    let text = "
        providers.p.workspace.from = 'fixtures/{{input.task}}'
        providers.q.workspace = {}
        providers.r.workspace.from = 'fixtures/{{input.task}}'
        tests = [
            { id = '1', input.task = 'a' },
            { id = '2', input.task = 'b' },
            { id = '3', input.task = 'same', providers = ['r'] },
        ]
    ";
    let files = [
        ("fixtures/a/x", "a"),
        ("fixtures/b/x", "b"),
        ("fixtures/b/y", "y"),
        ("fixtures/same/x", "a"),
    ];
    let folder = folder(text, &files);
    let bases = |selection: Selected| {
        let suite = select(&folder, &selection.into());
        let lines = lines(&suite);
        let tests = lines.iter().map(|line| serde_json::from_str::<Test<'_>>(line).unwrap().bases);
        let tests: Vec<_> = tests.map(|bases| bases.into_iter().collect::<Vec<_>>()).collect();
        let files: usize = suite.bases().values().map(|base| base.files.len()).sum();
        (tests, suite.bases().len(), files)
    };
    let (tests, count, files) = bases(Selected::default());
    let [(0, a), (2, a_again)] = tests[0][..] else { panic!("{tests:?}") };
    let [(0, b), (2, b_again)] = tests[1][..] else { panic!("{tests:?}") };
    assert_eq!((a, b, tests[2].clone()), (a_again, b_again, vec![(2, a)]));
    assert!(a != b && (count, files) == (2, 3));
    // The bases of tests that a limit leaves out are not part of the suite.
    for (selected, files) in [
        (Selected { first: Some(1), ..Selected::default() }, 1),
        (Selected { tests: vec!["2".to_owned()], ..Selected::default() }, 2),
    ] {
        let (tests, count, found) = bases(selected);
        assert_eq!((tests.len(), count, found), (1, 1, files));
    }
}

#[test]
fn files_of_graders_are_one_base_for_each_test() {
    let text = "
        providers.p.workspace = {}
        graders.g.plugin = 'bundled:echo'
        graders.g.workspace = 'read'
        graders.h = { plugin = 'bundled:echo', workspace = 'read' }
        graders.g.hidden = { '/work/tests' = 'hidden/{{input.task}}', '/work/a/b' = 's.json', '/work/tests-2' = 'same' }
        tests = [
            { id = '1', input.task = 'x', providers = ['p'], expect.graders = ['g', 'h'] },
            { id = '2', input.task = 'y', providers = ['p'], expect.graders = ['g'] },
            { id = '3', input.task = 'x', providers = ['p'], expect.graders = ['h', 'g'] },
            { id = '4', providers = ['p'], expect.graders = ['h'] },
        ]
    ";
    let files = [("hidden/x/deep/f", "f"), ("hidden/y/f", "y"), ("s.json", "1"), ("same/f", "f")];
    let folder = folder(text, &files);
    symlink("deep/f", folder.path().join("hidden/x/l")).unwrap();
    set_mode(&folder.path().join("s.json"), 0o755);
    let suite = select(&folder, &Selection::default());
    let lines = lines(&suite);
    let tests = lines.iter().map(|line| serde_json::from_str::<Test<'_>>(line).unwrap());
    let found: Vec<_> =
        tests.map(|test| test.grader_files.into_iter().collect::<Vec<_>>()).collect();
    let [(grader, x)] = &found[0][..] else { panic!("{found:?}") };
    assert_eq!((&**grader, &found[2], &found[3]), ("g", &found[0], &Vec::new()));
    assert!(found[1][0].1 != *x);
    // The folders that they are made of are no bases of their own.
    assert_eq!(suite.bases().len(), 2);
    let base = &suite.bases()[x];
    assert_eq!(base.files.len(), 3);
    assert_snapshot!(String::from_utf8(base.lines.to_vec()).unwrap(), @r#"
    {"path":"a/b","kind":"file","mode":493,"bytes":1,"sha256":"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"}
    {"path":"tests","kind":"folder"}
    {"path":"tests-2","kind":"folder"}
    {"path":"tests-2/f","kind":"file","mode":420,"bytes":1,"sha256":"252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111"}
    {"path":"tests/deep","kind":"folder"}
    {"path":"tests/deep/f","kind":"file","mode":420,"bytes":1,"sha256":"252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111"}
    {"path":"tests/l","kind":"link","target":"deep/f"}
    "#);
}

#[test]
fn workspace_sets_the_default_of_scratch() {
    let text = "
        providers.p.workspace = {}
        providers.q.workspace = {}
        providers.q.limits.scratch = '1MiB'
        providers.p.grants.fs = [{ path = '.', mount = '/data', mode = 'rw' }]
        graders.g = { plugin = 'bundled:echo', workspace = 'read' }
        graders.h = { plugin = 'bundled:echo', workspace = 'write' }
        tests = [{ id = 'a' }]
    ";
    let folder = folder(text, &[]);
    let scenario = load(&folder.path().join("s.toml"), &Default::default()).unwrap();
    let scratch: Vec<_> = scenario.providers.iter().map(|one| one.limits.scratch).collect();
    assert_eq!(scratch, [64 << 20, 1 << 20, 0, 0, 64 << 20]);
    let workspace = scenario.providers[0].workspace.as_ref().unwrap();
    assert_eq!((&*workspace.mount, &workspace.from), ("/work", &None));
    assert!(try_resolve(folder.path(), &Selection::default()).unwrap().1.bases().is_empty());
}

#[test]
fn bases_are_filled_by_matrix_and_variables() {
    let text = "
        vars.root = 'fixtures'
        providers.p.matrix.kind = ['a', 2]
        providers.p.workspace.from = '{{var.root}}/{{matrix.kind}}{{input.task}}'
        tests = [{ id = 'a', input.task = 'x', providers = ['p*'] }]
    ";
    let folder = folder(text, &[("fixtures/ax/f", "a"), ("fixtures/2x/f", "b")]);
    let suite = select(&folder, &Selection::default());
    assert_eq!(suite.bases().len(), 2);
}

/// The only entry of a cache.
#[derive(Debug, Default)]
struct OneEntry(Mutex<Option<Vec<u8>>>);

impl DigestCache for OneEntry {
    fn read(&self, _: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().clone()
    }

    fn keep(&self, _: &str, entry: &[u8]) {
        *self.0.lock().unwrap() = Some(entry.to_owned());
    }
}

#[test]
fn unchanged_files_of_bases_are_not_read_again() {
    let folder = with_fixtures("fixtures/a", "");
    let cache = Arc::new(OneEntry::default());
    let base = || {
        let mut scenario = load(&folder.path().join("s.toml"), &Default::default()).unwrap();
        let (all, digests) = (Selection::default(), Arc::<OneEntry>::clone(&cache));
        let resolved = resolve_selected(&mut scenario, &all, digests, tempfile::tempfile);
        only_base(&resolved.unwrap().unwrap().0)
    };
    let read = base();
    assert!(read.contains(&digest(b"ax").to_string()), "{read}");
    // The digest of a file that was just changed is not kept.
    let start = Instant::now();
    let mut entry = loop {
        assert_eq!(base(), read);
        match cache.0.lock().unwrap().take() {
            Some(entry) => break entry,
            None => assert!(start.elapsed() < Duration::from_secs(30), "nothing was kept"),
        }
    };
    // Another digest shows that the file itself is not read.
    let records = entry.len() - 32;
    entry[records - 32..records].copy_from_slice(&digest(b"planted").0);
    let sum = digest(&entry[..records]);
    entry[records..].copy_from_slice(&sum.0);
    cache.keep("", &entry);
    assert!(base().contains(&digest(b"planted").to_string()));
    fs::write(folder.path().join("fixtures/a/x.txt"), "bx").unwrap();
    assert!(base().contains(&digest(b"bx").to_string()));
}
