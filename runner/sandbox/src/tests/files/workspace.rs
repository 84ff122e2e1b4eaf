//! Workspaces: guests see a plain copy of the base, and never change the base.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::Path,
    sync::Arc,
    time::Duration,
};

use runner_model::{
    Digest, ErrorClass, Time, digest,
    grants::FsMode,
    workspace::{Change, ChangeKind, EntryKind, TreeEntry},
};
use serde_json::{Value, json};

use super::{ENTRY, MIB, World, error, output};
use crate::tests::{random::Numbers, support::wait_for_removal};
use crate::{Base, Call, CallWorkspace, Ended, Ending, LeftContent, LeftWorkspace, Plugin};

/// More than is copied within a call.
const LARGE: usize = 200 * 1024;

/// A tree as text: kinds, contents, targets, and whether files are executable.
type Tree = BTreeMap<String, String>;

/// Creates the folder that workspaces start as.
fn fill(folder: &Path) {
    let path = |name: &str| folder.join(name);
    for name in ["src", "src/deep", "src/deep/er", "empty", "ünïcode"] {
        fs::create_dir(path(name)).unwrap();
    }
    for (name, content) in [
        ("a", "alpha"),
        ("b", "beta"),
        ("src/c", "gamma"),
        ("src/deep/d", ""),
        ("src/deep/er/e", "epsilon"),
        ("ünïcode/ﬁle", "zeta"),
        ("large", &"0123456789".repeat(LARGE / 10)),
    ] {
        fs::write(path(name), content).unwrap();
    }
    let mut script = fs::OpenOptions::new();
    script.write(true).create(true).mode(0o755).open(path("script")).unwrap();
    for (target, name) in
        [("a", "link"), ("src/deep", "to-folder"), ("gone", "dangling"), ("loop", "loop")]
    {
        symlink(target, path(name)).unwrap();
    }
}

/// Reads a folder as the entries of a base. `blobs` gets the contents.
fn read_entries(folder: &Path, blobs: &Path) -> Vec<TreeEntry<'static>> {
    let mut entries = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(parent) = folders.pop() {
        for entry in fs::read_dir(folder.join(&parent)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
            let kind = entry.file_type().unwrap();
            let mut read = TreeEntry {
                path: path.clone().into(),
                kind: EntryKind::Folder,
                mode: 0,
                bytes: 0,
                sha256: None,
                target: None,
            };
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                read.kind = EntryKind::Link;
                read.target = Some(target.to_str().unwrap().to_owned().into());
            } else {
                let content = fs::read(entry.path()).unwrap();
                read.kind = EntryKind::File;
                read.mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                read.bytes = content.len() as u64;
                read.sha256 = Some(digest(&content));
                fs::write(blobs.join(digest(&content).to_string()), content).unwrap();
            }
            entries.push(read);
        }
    }
    entries.sort_by(|left, right| left.path.cmp(&right.path));
    entries
}

fn read_tree(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(parent) = folders.pop() {
        for entry in fs::read_dir(parent).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let path = entry.path();
            let shown = if kind.is_dir() {
                folders.push(path.clone());
                "folder".to_owned()
            } else if kind.is_symlink() {
                format!("link {}", fs::read_link(&path).unwrap().display())
            } else {
                let mode = entry.metadata().unwrap().permissions().mode() & 0o100;
                format!("file {mode:o} {}", digest(&fs::read(&path).unwrap()))
            };
            let path = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            tree.insert(path, shown);
        }
    }
    tree
}

/// A world with a base, whose folder is `base`.
struct Workspaces {
    world: World,
    base: Arc<Base>,
    entries: Vec<TreeEntry<'static>>,
    keeps: bool,
}

impl Workspaces {
    fn new() -> Self {
        Self::of(fill)
    }

    fn of(fill: impl FnOnce(&Path)) -> Self {
        let world = World::new().scratch(64 * MIB);
        let (source, blobs) = (world.path("source"), world.path("blobs"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&blobs).unwrap();
        fill(&source);
        let entries = read_entries(&source, &blobs);
        let blob = |sha256: &Digest| blobs.join(sha256.to_string());
        let base = Arc::new(Base::copy(&entries, &world.path("base"), blob).unwrap());
        Self { world, base, entries, keeps: true }
    }

    fn call<'a>(&'a self, plugin: &Plugin, acts: &'a str) -> Call<'a> {
        let base = Some(Arc::clone(&self.base));
        let workspace = workspace(base, "/work", self.keeps);
        Call { workspace: Some(workspace), ..self.world.call(plugin, acts) }
    }

    #[track_caller]
    fn run(&self, plugin: &Plugin, acts: &Value) -> Ended {
        let before = read_tree(&self.world.path("base"));
        let acts = acts.to_string();
        let call = self.call(plugin, &acts);
        let ended = self.world.bench.runtime.block_on(plugin.run(&mut None, call));
        assert_eq!(read_tree(&self.world.path("base")), before, "the base has changed");
        wait_for_removal(&self.world.path("scratch"));
        ended
    }

    /// Runs acts whose guest then sleeps, until the end of one `is_right`. The first timeout may be too short for the acts on
    /// a busy machine.
    #[track_caller]
    fn assert_timeout(&mut self, kind: usize, acts: &Value, is_right: impl Fn(&Ended) -> bool) {
        let mut all = Vec::new();
        for millis in [300, 3_000, 30_000] {
            self.world.bench.timeout = Duration::from_millis(millis);
            let (kind, plugin) = self.world.all()[kind];
            let ended = self.run(plugin, acts);
            assert!(matches!(ended.ending, Ending::Timeout), "{kind}: {ended:?}");
            if is_right(&ended) {
                return;
            }
            all.push(ended);
        }
        panic!("{all:?}");
    }

    /// Returns the changes after acts, which no kind of guest makes in another way.
    #[track_caller]
    fn changes(&self, acts: &Value) -> Vec<String> {
        let mut all = self.world.all().map(|(kind, plugin)| {
            let ended = self.run(plugin, acts);
            let left = ended.workspace.as_ref().unwrap_or_else(|| panic!("{kind}: {ended:?}"));
            show(left)
        });
        assert_eq!(all[0], all[1]);
        assert_eq!(all[0], all[2]);
        std::mem::take(&mut all[0])
    }

    /// Returns the tree that an attempt left, from the base and its changes.
    fn rebuild(&self, left: &LeftWorkspace) -> Tree {
        let mode = |mode: u32| mode & 0o100;
        let file = |bits, sha256| format!("file {:o} {sha256}", mode(bits));
        let mut tree: Tree = Tree::new();
        for entry in &self.entries {
            let shown = match entry.kind {
                EntryKind::Folder => "folder".to_owned(),
                EntryKind::Link => format!("link {}", entry.target.as_deref().unwrap()),
                EntryKind::File => file(entry.mode, entry.sha256.unwrap()),
            };
            tree.insert(entry.path.to_string(), shown);
        }
        let contents = content(left);
        for change in read_changes(left) {
            let path = change.path.to_string();
            if let Some(at) = change.at {
                let end = at + change.bytes;
                let content = &contents[at as usize..end as usize];
                assert_eq!(Some(digest(content)), change.sha256, "{path}");
            }
            let shown = match change.kind {
                EntryKind::Folder => "folder".to_owned(),
                EntryKind::Link => format!("link {}", change.target.as_deref().unwrap_or("-")),
                EntryKind::File => file(change.mode, change.sha256.unwrap_or(digest(b""))),
            };
            let before = match change.change {
                ChangeKind::Removed => tree.remove(&path),
                _ => tree.insert(path.clone(), shown),
            };
            assert_eq!(before.is_some(), change.change != ChangeKind::Added, "{change:?}");
        }
        tree
    }
}

fn workspace(base: Option<Arc<Base>>, mount: &str, keeps: bool) -> CallWorkspace<'_> {
    CallWorkspace { base, mount, overlay: None, is_read_only: false, keeps }
}

fn content(left: &LeftWorkspace) -> Vec<u8> {
    match &left.contents.content {
        LeftContent::Memory(content) => content.clone(),
        LeftContent::File(file) => {
            use std::os::unix::fs::FileExt as _;
            let mut content = vec![0; left.contents.bytes as usize];
            file.read_exact_at(&mut content, 0).unwrap();
            content
        }
    }
}

fn read_changes(left: &LeftWorkspace) -> Vec<Change<'_>> {
    let lines = left.changes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// Shows each change with its content, and the numbers at the end.
fn show(left: &LeftWorkspace) -> Vec<String> {
    let contents = content(left);
    let mut shown: Vec<String> = read_changes(left)
        .iter()
        .map(|change| {
            let (kind, path) = (change.kind.as_str(), &*change.path);
            let mut shown = format!("{} {kind} {path}", change.change.as_str());
            if change.mode != 0 {
                shown += &format!(" {:o} {}", change.mode, change.bytes);
            }
            if let Some(target) = &change.target {
                shown += &format!(" -> {}", &**target);
            }
            if let Some(at) = change.at {
                let end = (at + change.bytes) as usize;
                shown += &format!(" {:?}", String::from_utf8_lossy(&contents[at as usize..end]));
            }
            shown
        })
        .collect();
    shown.push(format!("{} {} {}", left.added, left.changed, left.removed));
    shown
}

#[test]
fn changes_of_each_kind_are_found() {
    let workspaces = Workspaces::new();
    let nothing = json!([["read", "/work/src/c"], ["open", "x", "/work/a", "rw"]]);
    assert_eq!(workspaces.changes(&nothing), ["0 0 0"]);
    // Written again with the same content, by name and by a new file.
    let same = json!([
        ["write", "/work/a", "alpha"],
        ["write", "/work/new", "beta"],
        ["rename", "/work/new", "/work/b"],
        ["remove", "/work/link"],
        ["symlink", "a", "/work/link"],
    ]);
    assert_eq!(workspaces.changes(&same), ["0 0 0"]);
    let edits = json!([
        ["write", "/work/a", "other"],
        ["append", "/work/src/deep/d", "more"],
        ["remove", "/work/b"],
        ["write", "/work/new", "new"],
        ["write", "/work/same-as-new", "new"],
        ["write", "/work/as-base", "gamma"],
        ["mkdir", "/work/ünïcode/größer"],
        ["write", "/work/ünïcode/größer/é\n\"", "ü"],
        ["symlink", "../a", "/work/src/up"],
        ["remove", "/work/dangling"],
        ["symlink", "elsewhere", "/work/dangling"],
    ]);
    assert_eq!(
        workspaces.changes(&edits),
        [
            "changed file a 644 5 \"other\"",
            "added file as-base 644 5",
            "removed file b",
            "changed link dangling -> elsewhere",
            "added file new 644 3 \"new\"",
            "added file same-as-new 644 3 \"new\"",
            "changed file src/deep/d 644 4 \"more\"",
            "added link src/up -> ../a",
            "added folder ünïcode/größer",
            "added file ünïcode/größer/é\n\" 644 2 \"ü\"",
            "6 3 1",
        ]
    );
}

#[test]
fn moved_and_replaced_entries_are_found() {
    let workspaces = Workspaces::new();
    let moved = json!([
        ["rename", "/work/a", "/work/empty/a"],
        ["rename", "/work/script", "/work/tool"],
        ["rename", "/work/src/deep", "/work/empty/deep"],
    ]);
    assert_eq!(
        workspaces.changes(&moved),
        [
            "removed file a",
            "added file empty/a 644 5",
            "added folder empty/deep",
            "added file empty/deep/d 644 0",
            "added folder empty/deep/er",
            "added file empty/deep/er/e 644 7",
            "removed file script",
            "removed folder src/deep",
            "removed file src/deep/d",
            "removed folder src/deep/er",
            "removed file src/deep/er/e",
            "added file tool 755 0",
            "6 0 6",
        ]
    );
    let kinds = json!([
        ["remove", "/work/a"],
        ["mkdir", "/work/a"],
        ["write", "/work/a/in", "x"],
        ["remove", "/work/src/c"],
        ["symlink", "deep", "/work/src/c"],
        ["rmdir", "/work/empty"],
        ["write", "/work/empty", "y"],
        ["rename", "/work/ünïcode", "/work/moved"],
        ["write", "/work/ünïcode", "z"],
        ["remove", "/work/link"],
        ["write", "/work/link", ""],
    ]);
    assert_eq!(
        workspaces.changes(&kinds),
        [
            "changed folder a",
            "added file a/in 644 1 \"x\"",
            "changed file empty 644 1 \"y\"",
            "changed file link 644 0",
            "added folder moved",
            "added file moved/ﬁle 644 4",
            "changed link src/c -> deep",
            "changed file ünïcode 644 1 \"z\"",
            "removed file ünïcode/ﬁle",
            "3 5 1",
        ]
    );
    // A new file is not executable. The content is that of the base.
    let mode = json!([["remove", "/work/script"], ["write", "/work/script", ""]]);
    assert_eq!(workspaces.changes(&mode), ["changed file script 644 0", "0 1 0"]);
}

#[test]
fn numbers_alone_are_kept_on_request() {
    let mut workspaces = Workspaces::new();
    workspaces.keeps = false;
    workspaces.world.bench.limits.workspace = 0;
    let acts =
        json!([["write", "/work/a", "other"], ["write", "/work/new", ""], ["remove", "/work/b"]]);
    assert_eq!(workspaces.changes(&acts), ["1 1 1"]);
    let mut many = vec![json!(["remove", "/work/b"])];
    many.extend((0..40).map(|number| json!(["symlink", "x", format!("/work/{number}")])));
    assert_eq!(workspaces.changes(&json!(many)), ["40 0 1"]);
}

#[test]
fn workspace_without_base_starts_empty() {
    let world = World::new().scratch(MIB);
    for (kind, plugin) in world.all() {
        let acts = json!([["list", "/here"], ["write", "/here/a", "x"]]).to_string();
        let workspace = workspace(None, "/here", true);
        let call = Call { workspace: Some(workspace), ..world.call(plugin, &acts) };
        let ended = world.bench.runtime.block_on(plugin.run(&mut None, call));
        assert_eq!(
            show(ended.workspace.as_ref().unwrap()),
            ["added file a 644 1 \"x\"", "1 0 0"],
            "{kind}"
        );
        assert_eq!(output(ended), json!([{"ok": []}, {"ok": null}]), "{kind}");
    }
}

#[test]
fn too_large_changes_end_the_attempt() {
    let mut workspaces = Workspaces::new();
    workspaces.world.bench.limits.workspace = 10;
    let fits = json!([
        ["write", "/work/x", "01234"],
        ["write", "/work/y", "01234"],
        ["rename", "/work/large", "/work/moved"],
    ]);
    assert_eq!(workspaces.changes(&fits).last().unwrap(), "3 0 1");
    // Equal contents count for each path, because each is read and may be written.
    let more = json!([["write", "/work/x", "012345"], ["write", "/work/y", "012345"]]);
    for (kind, plugin) in workspaces.world.all() {
        let ended = workspaces.run(plugin, &more);
        assert!(ended.workspace.is_none(), "{kind}");
        let lost = ended.lost.unwrap();
        assert_eq!((lost.class, &*lost.code), (Some(ErrorClass::Limit), "workspace"));
        assert!(lost.message.ends_with("more than `limits.workspace`, 10 B"), "{}", lost.message);
    }
}

#[test]
fn too_many_changes_end_the_attempt() {
    let mut workspaces = Workspaces::of(|_| {});
    workspaces.world.bench.limits.scratch = 20_000 * ENTRY;
    let plugin = workspaces.world.component();
    // Stops at the limit of scratch.
    let flood = json!([["flood", "/work"]]);
    assert_eq!(workspaces.run(plugin, &flood).workspace.unwrap().added, 20_000);
    workspaces.world.bench.limits.scratch += ENTRY;
    let lost = workspaces.run(workspaces.world.component(), &flood).lost.unwrap();
    assert_eq!((lost.class, &*lost.code), (Some(ErrorClass::Limit), "workspace"));
    assert_eq!(*lost.message, *"more than 20000 files of the workspace were changed");
}

#[test]
fn interrupted_changes_are_partial() {
    let mut workspaces = Workspaces::new();
    let acts = json!([["write", "/work/a", "other"], ["panic"]]);
    let changed = ["changed file a 644 5 \"other\"", "0 1 0"];
    for (kind, plugin) in workspaces.world.all() {
        let ended = workspaces.run(plugin, &acts);
        let left = ended.workspace.as_ref().unwrap();
        assert!(left.is_partial && show(left) == changed, "{kind}: {ended:?}");
        assert_eq!(error(ended).class, Some(ErrorClass::Trap), "{kind}");
    }
    // A program that exits in its own way has ended by itself.
    for (kind, plugin) in workspaces.world.commands() {
        let ended = workspaces.run(plugin, &json!([["write", "/work/a", "other"], ["exit", 3]]));
        assert!(!ended.workspace.unwrap().is_partial, "{kind}");
    }
    workspaces.world.bench.limits.workspace = 5;
    let acts = json!([["write", "/work/a", "other"], ["sleep"]]);
    for kind in 0..3 {
        workspaces.assert_timeout(kind, &acts, |ended| {
            let left = ended.workspace.as_ref();
            left.is_some_and(|left| left.is_partial && show(left) == changed)
        });
    }
    // A timeout remains one even if the changes are lost.
    workspaces.world.bench.limits.workspace = 4;
    workspaces.assert_timeout(0, &acts, |ended| ended.lost.is_some());
}

#[test]
fn secrets_are_removed_from_changes() {
    let mut workspaces = Workspaces::new();
    let values = BTreeMap::from([("KEY".to_owned(), "s3cr3t-v4lue".to_owned())]);
    let secrets = crate::Secrets::new(&values, BTreeMap::new());
    workspaces.world.bench.access.secrets = Arc::new(secrets);
    let acts = json!([
        ["write", "/work/b", "a s3cr3t-v4lue."],
        ["write", "/work/s3cr3t-v4lue", "1"],
        ["write", "/work/[secret KEY]", "2"],
        ["symlink", "to/s3cr3t-v4lue", "/work/z"],
    ]);
    assert_eq!(
        workspaces.changes(&acts),
        [
            "added file [secret KEY] 644 1 \"2\"",
            "added file [secret KEY]-2 644 1 \"1\"",
            "changed file b 644 15 \"a [secret KEY].\"",
            "added link z -> to/[secret KEY]",
            "3 1 0",
        ]
    );
}

#[test]
fn links_to_the_base_do_not_leave_the_workspace() {
    let mut workspaces = Workspaces::new();
    let open = workspaces.world.path("open");
    workspaces.world = workspaces.world.mount("open", "/data", FsMode::ReadWrite);
    let work = workspaces.world.path("source");
    let before = workspaces.world.everything();
    let acts = json!([
        ["link", "/work/a", "/scratch/a"],
        ["rename", "/work/b", "/scratch/b"],
        ["rename", "/work/src", "/scratch/src"],
        ["rename", "/work/src/c", "/data/c"],
        ["link", "/work/src/c", "/data/c"],
        ["rename", "/work", "/scratch/work"],
        ["write", "/scratch/mine", "mine"],
        ["rename", "/scratch/mine", "/work/mine"],
        ["link", "/scratch/mine", "/work/mine"],
        ["rename", "/scratch/mine", "/data/mine"],
        ["symlink", "/etc", "/work/etc"],
        ["symlink", "../../..", "/work/up"],
        ["write", "/work/up/x", ""],
        ["read", "/work/etc/passwd"],
        ["write", "/work/../x", ""],
        ["read", "/work/loop"],
        ["write", "/work/loop", ""],
        ["write", "/work/dangling", "through"],
        ["write", "/work/link", "through"],
    ]);
    let failed = |error: &str| json!({"err": error});
    let done = json!({"ok": null});
    for (kind, plugin) in workspaces.world.all() {
        let ended = workspaces.run(plugin, &acts);
        let left = show(ended.workspace.as_ref().unwrap());
        let results = output(ended);
        let results = results.as_array().unwrap();
        for crossing in [0, 1, 2, 3, 4, 7, 8] {
            assert_eq!(results[crossing], failed("xdev"), "{kind}: {crossing}: {results:?}");
        }
        // Between the other mounts, files move as they did.
        assert_eq!([&results[6], &results[9]], [&done; 2], "{kind}");
        assert_eq!(results[10..12], [failed("perm"), done.clone()], "{kind}");
        for refused in [5, 12, 13, 14, 15, 16] {
            assert!(results[refused]["err"].is_string(), "{kind}: {refused}: {results:?}");
        }
        assert_eq!(results[17..], [done.clone(), done.clone()], "{kind}");
        assert_eq!(
            left,
            [
                "changed file a 644 7 \"through\"",
                "added file gone 644 7 \"through\"",
                "added link up -> ../../..",
                "2 1 0",
            ],
            "{kind}"
        );
        assert_eq!(fs::read_to_string(open.join("mine")).unwrap(), "mine");
        fs::remove_file(open.join("mine")).unwrap();
        assert_eq!(workspaces.world.everything(), before, "{kind}");
    }
    assert!(work.exists());
}

/// The system returns no path of over 4,095 bytes.
#[test]
fn links_to_the_base_do_not_leave_through_deep_folders() {
    let mut workspaces = Workspaces::new();
    let open = workspaces.world.path("open");
    workspaces.world = workspaces.world.mount("open", "/data", FsMode::ReadWrite);
    let (mut folders, mut deep) = (Vec::new(), "/work".to_owned());
    for _ in 0..16 {
        deep = format!("{deep}/{}", "d".repeat(253));
        folders.push(json!(["mkdir", deep]));
    }
    let (moved, file) = (format!("{deep}/src"), format!("{deep}/src/c"));
    let acts = json!([
        ["rename", "/work/src", moved],
        ["rename", format!("{moved}/deep"), "/data/deep"],
        ["rename", file, "/data/c"],
        ["link", file, "/data/c"],
        ["write", "/data/mine", "mine"],
        ["rename", "/data/mine", format!("{deep}/mine")],
    ]);
    let acts: Value = folders.iter().chain(acts.as_array().unwrap()).cloned().collect();
    let (failed, done) = (json!({"err": "xdev"}), json!({"ok": null}));
    for (kind, plugin) in workspaces.world.all() {
        let results = output(workspaces.run(plugin, &acts));
        let expected = [&done, &failed, &failed, &failed, &done, &failed].map(Clone::clone);
        assert_eq!(results.as_array().unwrap()[16..], expected, "{kind}");
        assert_eq!(read_tree(&open).len(), 3, "{kind}: {:?}", read_tree(&open));
        fs::remove_file(open.join("mine")).unwrap();
    }
    let ended = workspaces.run(workspaces.world.component(), &json!({"leave": "/work"}));
    assert_eq!(
        output(ended),
        json!({
            "into": "name-too-long",
            "same folder": "ok",
            "out": "name-too-long",
            "linked out": "name-too-long",
        })
    );
}

#[test]
fn full_scratch_refuses_changes_of_the_base() {
    let mut workspaces = Workspaces::new();
    let large = LARGE as u64;
    for (room, acts, expected) in [
        // The new file needs a block in addition to its bytes.
        (large + ENTRY - 1, json!([["write-at", "/work/large", 0, "x"]]), "nospc"),
        (ENTRY + 4, json!([["open", "x", "/work/a", "w"]]), "nospc"),
        (ENTRY + 4, json!([["touch", "/work/a"]]), "nospc"),
        (2 * ENTRY + 4, json!([["link", "/work/a", "/work/x"]]), "nospc"),
    ] {
        workspaces.world.bench.limits.scratch = room;
        for (kind, plugin) in workspaces.world.all() {
            let ended = workspaces.run(plugin, &acts);
            let denied = ended.denied.iter().any(|denied| denied.what.contains("limits.scratch"));
            assert!(denied, "{kind}: {ended:?}");
            let left = show(ended.workspace.as_ref().unwrap());
            assert!(acts[0][0] == "link" || left == ["0 0 0"], "{kind}: {left:?}");
            assert_eq!(output(ended), json!([{"err": expected}]), "{kind}: {acts}");
        }
    }
    workspaces.world.bench.limits.scratch = large + ENTRY + 1;
    for (kind, plugin) in workspaces.world.all() {
        let acts = json!([["write-at", "/work/large", 0, "x"], ["size", "/work/large"]]);
        assert_eq!(
            output(workspaces.run(plugin, &acts)),
            json!([{"ok": null}, {"ok": LARGE}]),
            "{kind}"
        );
    }
}

#[test]
fn reading_handle_sees_changes_of_its_file() {
    let workspaces = Workspaces::new();
    let acts = json!([
        ["open", "early", "/work/a", "r"],
        ["held", "early", "read", 2],
        ["held", "early", "stat"],
        ["write", "/work/a", "ALPHABET"],
        ["held", "early", "read", 3],
        ["held", "early", "same", "/work/a"],
        ["held", "early", "stat"],
        ["held", "early", "write", "x"],
        ["held", "early", "size", 1],
        ["remove", "/work/a"],
        ["held", "early", "stat"],
        ["held", "early", "read", 9],
        ["open", "removed", "/work/b", "r"],
        ["remove", "/work/b"],
        ["held", "removed", "stat"],
        ["held", "removed", "times", 1000],
        ["held", "removed", "stat"],
        ["held", "removed", "read", 9],
        ["open", "replaced", "/work/src/c", "r"],
        ["rename", "/work/large", "/work/src/c"],
        ["held", "replaced", "stat"],
        ["held", "replaced", "read", 9],
        ["held", "replaced", "same", "/work/src/c"],
    ]);
    for (kind, plugin) in workspaces.world.all() {
        let results = output(workspaces.run(plugin, &acts));
        let is_error = |index: usize| results[index]["err"].is_string();
        assert!(is_error(7) && is_error(8), "{kind}: {results}");
        let values: Vec<_> = results.as_array().unwrap().iter().map(|found| &found["ok"]).collect();
        let expected = json!([
            null,
            "al",
            ["file", 5, 1, null],
            null,
            "PHA",
            true,
            ["file", 8, 1, null],
            null,
            null,
            null,
            ["file", 8, 0, null],
            "BET",
            null,
            null,
            ["file", 4, 0, null],
            null,
            ["file", 4, 0, 1000],
            "beta",
            null,
            null,
            ["file", 5, 0, null],
            "gamma",
            false,
        ]);
        assert_eq!(json!(values), expected, "{kind}");
    }
}

#[test]
fn deterministic_calls_in_workspaces_are_equal() {
    let acts = json!([
        ["inode", "/work/a"],
        ["open", "x", "/work/large", "r"],
        ["held", "x", "read", 10],
        ["write-at", "/work/large", 5, "-----"],
        ["held", "x", "stat"],
        ["held", "x", "read", 10],
        ["held", "x", "same", "/work/large"],
        ["inode", "/work/large"],
        ["write", "/work/new", "new"],
        ["inode", "/work/new"],
        ["list", "/work"],
        ["modified", "/work/a", ""],
        ["modified", "/work/large", ""],
    ])
    .to_string();
    for index in 0..3 {
        let mut results = [Workspaces::new(), Workspaces::new()].map(|workspaces| {
            let (_, plugin) = workspaces.world.all()[index];
            let deterministic = Some(Time::from_millis(1_577_836_800_000));
            let call = Call { deterministic, ..workspaces.call(plugin, &acts) };
            let ended = workspaces.world.bench.runtime.block_on(plugin.run(&mut None, call));
            let left = show(ended.workspace.as_ref().unwrap());
            (output(ended).to_string(), left)
        });
        assert!(!results[0].0.contains("err"), "{}", results[0].0);
        let [first, second] = &mut results;
        assert_eq!(first, second);
    }
}

/// Names that random acts use. Some are in the base, some are folders or links.
const NAMES: [&str; 16] = [
    "a",
    "b",
    "src/c",
    "src/deep/d",
    "src/deep/er/e",
    "large",
    "script",
    "link",
    "to-folder/d",
    "dangling",
    "loop",
    "empty/n",
    "n",
    "m",
    "src",
    "src/../b",
];

/// Returns a random act.
fn random_act(numbers: &mut Numbers) -> Value {
    let mut path = || format!("/work/{}", NAMES[numbers.below(NAMES.len())]);
    let (one, other) = (path(), path());
    let held = ["x", "y", "z"][numbers.below(3)];
    let text = &"text of many words"[..numbers.below(18)];
    let mode = ["r", "r", "r", "w", "rw", "a", "wt", "wct", "rwn", "ac"][numbers.below(10)];
    let small = numbers.below(20);
    match numbers.below(26) {
        0 | 1 => json!(["write", one, text]),
        2 => json!(["append", one, text]),
        3 => json!(["write-at", one, small, text]),
        4 => json!(["set-size", one, small]),
        5 => json!(["pwrite", one, small, text]),
        6 => json!(["rename", one, other]),
        7 => json!(["link", one, other]),
        8 => json!(["symlink", other.trim_start_matches("/work/"), one]),
        9 => {
            let follow = ["follow", "nofollow"][numbers.below(2)];
            json!(["set-times", one, 1000 + small, follow])
        }
        10 | 11 => json!(["remove", one]),
        12 => json!(["mkdir", one]),
        13 => json!(["rmdir", one]),
        14 => json!(["read", one]),
        15 => json!(["stat", one]),
        16 => {
            let folder = ["/work", "/work/src", "/work/empty"][numbers.below(3)];
            json!(["list", folder])
        }
        17 | 18 => json!(["open", held, one, mode]),
        19 | 20 => json!(["held", held, "read", small]),
        21 => json!(["held", held, "write", text]),
        22 => json!(["held", held, "stat"]),
        23 => json!(["held", held, "same", one]),
        24 => json!(["held", held, "times", 1000 + small]),
        _ => {
            let act = ["seek", "size", "close"][numbers.below(3)];
            json!(["held", held, act, small])
        }
    }
}

#[test]
fn random_acts_do_the_same_as_in_a_plain_copy() {
    let is_full = std::env::var("RUNNER_TESTS").is_ok_and(|value| value == "full");
    let seeds = if is_full { 0..1_000 } else { 0..12 };
    let workspaces = Workspaces::new();
    for seed in seeds {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ (seed << 7));
        let acts: Vec<_> = (0..80).map(|_| random_act(&mut numbers)).collect();
        let acts = Value::from(acts);
        for (index, (kind, plugin)) in workspaces.world.all().into_iter().enumerate() {
            let plain = World::new().scratch(64 * MIB);
            fs::create_dir(plain.path("work")).unwrap();
            fill(&plain.path("work"));
            let plain = plain.mount("work", "/work", FsMode::ReadWrite);
            let expected = output(plain.run(plain.all()[index].1, &acts));

            let ended = workspaces.run(plugin, &acts);
            let left =
                ended.workspace.as_ref().unwrap_or_else(|| panic!("{seed} {kind}: {ended:?}"));
            let tree = workspaces.rebuild(left);
            let results = output(ended);
            for (number, act) in acts.as_array().unwrap().iter().enumerate() {
                let before = &acts.as_array().unwrap()[..number];
                let (found, expected) = (&results[number], &expected[number]);
                assert_eq!(found, expected, "{seed} {kind}: act {number} {act} after {before:?}");
            }
            assert_eq!(tree, read_tree(&plain.path("work")), "{seed} {kind}: {acts}");
        }
    }
}
