use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use runner_model::prepare::{Prepare, SecretValues};
use runner_model::{Limits, Micros};
use runner_prepare::mounts::FolderReader;
use runner_record::{PluginCache, Scratch};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::{ProcessShape, WorkerStore};
use crate::ceiling::Ceiling;

const SHAPE: ProcessShape = ProcessShape { slots: 2, memory: 1 << 30 };

/// Creates a store with a file of secrets, and folders of its own.
fn store(folder: &TempDir, ceiling: &[&str]) -> WorkerStore {
    let root = fs::canonicalize(folder.path()).unwrap();
    for name in ["cache", "store", "data"] {
        fs::create_dir_all(root.join(name)).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    let secrets = root.join("secrets");
    fs::write(&secrets, "KEY=value of the worker\nOTHER=another value\n").unwrap();
    let words: Vec<_> = ceiling.iter().map(|word| (*word).to_owned()).collect();
    WorkerStore {
        ceiling: Ceiling::parse(&words).unwrap(),
        secret_files: vec![secrets],
        cache: PluginCache::open_at(&root.join("cache")).unwrap(),
        folder: root.join("store"),
        compiled: Mutex::default(),
        folders: std::sync::Mutex::default(),
    }
}

/// Returns the setup that a hostile coordinator sends.
fn prepare(providers: Value) -> Prepare {
    Prepare {
        run: "run".to_owned(),
        session: 3,
        cache: "/theirs/cache".to_owned(),
        blobs: "/theirs/blobs".to_owned(),
        scratch: "/theirs/scratch".to_owned(),
        slots: 1_000,
        grader_slots: 7,
        memory: u64::MAX,
        grace: Micros(5),
        describe: true,
        quick: true,
        providers: serde_json::from_value(providers).unwrap(),
        secrets: SecretValues([("KEY".to_owned(), "value of the coordinator".to_owned())].into()),
    }
}

fn provider(grants: &Value, mounts: &Value) -> Value {
    json!({
        "provider": {
            "name": "p", "plugin": "bundled:echo", "config": {}, "limits": Limits::default(), "grants": grants,
        },
        "digest": "00".repeat(32),
        "kind": "component",
        "mounts": mounts,
    })
}

fn mount(host: &Path, mode: &str) -> Value {
    json!({"host": host, "guest": "/data", "mode": mode, "device": 1, "inode": 2})
}

#[test]
fn nothing_of_the_coordinators_machine_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder, &[]);
    let filled = store.fill(prepare(json!([provider(&json!({}), &json!([]))])), SHAPE).unwrap();
    assert_eq!(Path::new(&filled.cache), store.cache.path());
    assert_eq!((filled.slots, filled.grader_slots, filled.memory), (2, 0, 1 << 30));
    assert_eq!((filled.describe, filled.quick), (false, false));
    assert_eq!(filled.secrets, SecretValues::default());
    let text = serde_json::to_string(&filled).unwrap();
    assert!(!text.contains("/theirs") && !text.contains("value of"), "{text}");
}

#[test]
fn secrets_come_from_the_worker_below_its_ceiling() {
    let folder = tempfile::tempdir().unwrap();
    let grants = json!({"env": [["A", "{{secret.KEY}}"]]});
    let fill = |words: &[&str], grants: &Value| {
        store(&folder, words).fill(prepare(json!([provider(grants, &json!([]))])), SHAPE)
    };
    fill(&[], &grants).unwrap_err();
    fill(&["secret=OTHER"], &grants).unwrap_err();
    let filled = fill(&["secret=KEY", "secret=OTHER"], &grants).unwrap();
    let expected = [("KEY".to_owned(), "value of the worker".to_owned())];
    assert_eq!(filled.secrets, SecretValues(expected.into()));
    let missing = fill(&["all"], &json!({"secrets": ["NO_SUCH_SECRET"]})).unwrap_err();
    assert_eq!(
        missing,
        "secret `NO_SUCH_SECRET` has no value on the worker's machine; set it there, or add `--secret-file`"
    );
}

#[test]
fn graders_get_nothing_on_a_workers_machine() {
    let folder = tempfile::tempdir().unwrap();
    let grants = json!({"secrets": ["KEY"], "net": ["https://a.example.com"]});
    let mut grader = provider(&grants, &json!([mount(Path::new("/"), "rw")]));
    grader["provider"]["grading"] = json!({"timeout": 1});
    let ceiling = ["all", "memory=64MiB"];
    let filled = store(&folder, &ceiling).fill(prepare(json!([grader])), SHAPE).unwrap();
    let prepared = &filled.providers[0];
    assert!(prepared.provider.grants.is_empty() && prepared.mounts.is_empty());
    assert_eq!(prepared.provider.limits.memory, 64 << 20);
    assert_eq!(filled.secrets, SecretValues::default());
}

#[test]
fn tools_of_providers_need_the_ceiling_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let tool = |memory: u64| {
        let mut tool = provider(&json!({"secrets": ["KEY"]}), &json!([]));
        tool["provider"]["name"] = json!("t");
        tool["provider"]["tool"] = json!({});
        tool["provider"]["limits"]["memory"] = json!(memory);
        tool
    };
    let caller = provider(&json!({"tools": ["t"]}), &json!([]));
    let fill = |words: &[&str], providers: &[&Value]| {
        store(&folder, words).fill(prepare(json!(providers)), SHAPE)
    };
    let refusal = fill(&[], &[&caller, &tool(1)]).unwrap_err();
    assert!(refusal.starts_with("tool `t` needs `secret=KEY`"), "{refusal}");
    let filled = fill(&["secret=KEY"], &[&caller, &tool(1)]).unwrap();
    assert_eq!(filled.secrets.0.len(), 1);
    // The memory of the caller and the tool together is more than that of a process.
    let refusal = fill(&["secret=KEY"], &[&caller, &tool(1_000_000_000)]).unwrap_err();
    assert!(refusal.starts_with("a provider needs 1.2 GiB of memory"), "{refusal}");
    // Graders and their tools run elsewhere.
    let mut grader = caller;
    grader["provider"]["grading"] = json!({"timeout": 1});
    let filled = fill(&[], &[&grader, &tool(1)]).unwrap();
    assert!(filled.providers.iter().all(|one| one.provider.grants.is_empty()));
}

#[test]
fn folders_are_looked_up_on_the_workers_machine() {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    let ceiling = format!("fs={}:rw", root.display());
    let fill = |host: &str, mode: &str| {
        let store = store(&folder, &[&ceiling]);
        symlink("/etc", root.join("link")).ok();
        let grants = json!({"fs": [{"path": "x", "mount": "/data", "mode": mode}]});
        let mounts = json!([mount(&root.join(host), mode)]);
        store.fill(prepare(json!([provider(&grants, &mounts)])), SHAPE)
    };
    let filled = fill("data", "rw").unwrap();
    let (mount, found) = (&filled.providers[0].mounts[0], fs::metadata(root.join("data")).unwrap());
    assert_eq!((mount.device, mount.inode), (found.dev(), found.ino()));
    for (host, mode) in
        [("none", "ro"), ("link", "ro"), ("secrets", "ro"), ("cache", "rw"), ("", "rw")]
    {
        let refusal = fill(host, mode).unwrap_err();
        assert!(refusal.starts_with("on the worker's machine, the folder"), "{host}: {refusal}");
    }
}

#[test]
fn other_files_in_a_granted_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    let store = store(&folder, &["all"]);
    fs::write(root.join("data/file"), "1").unwrap();
    let fill = |content: Option<Value>| {
        let grants = json!({"fs": [{"path": "x", "mount": "/data", "mode": "ro"}]});
        let mut mount = mount(&root.join("data"), "ro");
        if let Some(content) = content {
            mount["content"] = content;
        }
        store.fill(prepare(json!([provider(&grants, &json!([mount]))])), SHAPE)
    };
    // A folder that is too large for the machine of the run is not compared.
    let mut prepared = fill(None).unwrap().providers;
    let notices = FolderReader::new(&store.cache).read_all(&mut prepared, None);
    assert_eq!(notices, [""; 0]);
    let content = serde_json::to_value(&prepared[0].mounts[0].content).unwrap();
    fill(Some(content.clone())).unwrap();
    fs::write(root.join("data/file"), "2").unwrap();
    let refusal = fill(Some(content)).unwrap_err();
    let expected = format!(
        "on the worker's machine, folder {}, `/data` of `providers.p` has other files than on that of the run; copy them",
        root.join("data").display()
    );
    assert_eq!(refusal, expected);
}

#[test]
fn attempts_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let shape = ProcessShape { slots: 1, memory: 128 << 20 };
    let refusal =
        store(&folder, &["all"]).fill(prepare(json!([provider(&json!({}), &json!([]))])), shape);
    assert!(refusal.unwrap_err().contains("needs 256 MiB of memory"));
}

#[test]
fn refused_setup_leaves_the_store_empty() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder, &[]);
    let prepared = provider(&json!({"secrets": ["KEY"]}), &json!([]));
    store.fill(prepare(json!([prepared])), SHAPE).unwrap_err();
    assert_eq!(fs::read_dir(&store.folder).unwrap().count(), 0);
    let made: Scratch = store.new_folder().unwrap();
    assert_eq!(fs::metadata(made.path()).unwrap().mode() & 0o777, 0o700);
    drop(made);
    // On a busy disk, the removal continues for a while.
    let began = Instant::now();
    while fs::read_dir(&store.folder).unwrap().count() > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "it stays");
    }
}
