//! Imports among the files of a crate and among crates, and the number of entries of folders.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    slice,
    sync::LazyLock,
};

use regex::Regex;

use super::entries;
use crate::support::guests::root;

const MAX_ENTRIES: usize = 24;

static COMMENT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"//[^\n]*").unwrap());
static IMPORT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?use ([\w:{}, \n*]+);").unwrap());
/// A module that a file declares in braces. Its own files are in the folder of its name.
static INLINE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?ms)^(?:pub(?:\([^)]*\))? )?mod (\w+) \{\n(.*?)^\}\n").unwrap());
static PATH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b(?:crate|super|self)(?:::\w+)+").unwrap());
static CALL: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(\w+)::\w").unwrap());

/// A file of a crate, as the path of its module: empty for `lib.rs` and `main.rs`.
type Module = Vec<String>;

/// The modules that each module of a crate imports from.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// Also compares the first comment of each `lib.rs`.
#[test]
fn crates_know_only_what_the_table_allows() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let table: BTreeMap<_, _> = rows.collect();
    for folder in crates() {
        let name = folder.file_name().unwrap().to_str().unwrap();
        let (allowed, _) = table[name].split_once(" | ").unwrap();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let known = |kind| -> BTreeSet<_> {
            let table = manifest.get(kind).and_then(|table| table.as_table()).into_iter().flatten();
            let crates = table.filter_map(|(name, _)| name.strip_prefix("runner-"));
            // Only third-party crates.
            crates.filter(|name| *name != "features").collect()
        };
        for other in
            ["dependencies", "dev-dependencies", "build-dependencies"].map(known).iter().flatten()
        {
            let is_allowed = allowed == "all" || allowed.split(", ").any(|name| name == *other);
            assert!(is_allowed, "`{name}` may not know `{other}`");
        }
        let Ok(source) = fs::read_to_string(folder.join("src/lib.rs")) else { continue };
        let comment = source.replace("\n//! ", " ");
        let (_, sentence) = comment.split_once("Depends on ").unwrap();
        let (sentence, _) = sentence.split_once('.').unwrap();
        let named = sentence.split('`').skip(1).step_by(2).collect();
        assert_eq!(known("dependencies"), named, "the first comment of `{name}`");
    }
}

#[test]
fn no_folder_has_over_24_entries() {
    let sources = crates().into_iter().map(|folder| folder.join("src"));
    let mut full = Vec::new();
    for folder in sources.chain([root().join("tests")]).flat_map(|top| folders(&top)) {
        let count = entries(&folder).len();
        if count > MAX_ENTRIES {
            full.push((folder, count));
        }
    }
    assert_eq!(full, []);
}

#[test]
fn no_files_of_a_crate_know_each_other() {
    let mut arrows = Vec::new();
    for folder in crates() {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let texts = texts(&folder.join("src"));
        let mut graph = graph(&texts);
        // The arguments of a command are in its file, and clap wants all commands in one enum.
        for (module, known) in &mut graph {
            if texts[module].contains("#[derive(Subcommand)]") {
                known.retain(|other| other[0] != "commands");
            }
        }
        arrows.extend(circular(&graph).into_iter().map(|arrow| format!("{name}: {arrow}")));
    }
    assert!(arrows.is_empty(), "imports that close a circle:\n{}", arrows.join("\n"));
}

#[test]
fn circle_is_found() {
    let texts = [
        ("", "pub use a::B;\nmod e {\n    mod g;\n    pub use self::f::F;\n}\n"),
        ("a", "pub use b::B;\nuse d::D;"),
        ("a/b", "use super::c::C;"),
        ("a/c", "fn f(_: crate::B) {}"),
        ("a/d", "use crate::a::{b::B as Other, c::{self, C}};"),
        ("e/f", "use crate::e::g::G;"),
        ("e/g", "use crate::e::F;"),
    ];
    let mut texts = texts.map(|(path, text)| (module(path), text.to_owned())).into_iter().collect();
    separate_inline(&mut texts);
    let found = circular(&graph(&texts));
    assert_eq!(found, ["a/b -> a/c", "a/c -> a/b", "e/f -> e/g", "e/g -> e/f"]);
}

/// Returns the folders of the crates.
fn crates() -> Vec<PathBuf> {
    let mut folders = entries(&root().join("runner"));
    folders.retain(|folder| folder.join("src").is_dir());
    folders
}

/// Returns the folder and all below it, without the templates of plugins.
fn folders(top: &Path) -> Vec<PathBuf> {
    let mut found = vec![top.to_owned()];
    let mut at = 0;
    while let Some(folder) = found.get(at) {
        let inside = entries(folder).into_iter();
        found.extend(inside.filter(|entry| entry.is_dir() && !entry.ends_with("templates")));
        at += 1;
    }
    found
}

fn module(path: &str) -> Module {
    path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Returns the source of each module of a crate, without tests.
fn texts(src: &Path) -> BTreeMap<Module, String> {
    let files = folders(src).into_iter().flat_map(|folder| entries(&folder));
    let mut texts = BTreeMap::new();
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let path = file.strip_prefix(src).unwrap().with_extension("");
        let path = path.to_str().unwrap();
        let name = path.rsplit('/').next().unwrap();
        if ["tests", "testing", "fuzzing"].contains(&name)
            || path.split('/').any(|part| part == "tests")
        {
            continue;
        }
        let path = if matches!(path, "lib" | "main") { "" } else { path.trim_end_matches("/mod") };
        let text = fs::read_to_string(&file).unwrap();
        let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        texts.insert(module(path), product.to_owned());
    }
    separate_inline(&mut texts);
    texts
}

/// Makes the modules that `lib.rs` declares in braces modules with a text of their own.
fn separate_inline(texts: &mut BTreeMap<Module, String>) {
    let root = texts.remove(&Module::new()).unwrap_or_default();
    let inline = INLINE.captures_iter(&root);
    texts.extend(inline.map(|found| (module(&found[1]), found[2].to_owned())));
    texts.insert(Module::new(), INLINE.replace_all(&root, "").into_owned());
}

/// Returns the imports that lead back to the file that has them, over however many others.
fn circular(graph: &Graph) -> Vec<String> {
    let reaches = |from: &Module, to: &Module| {
        let (mut reached, mut waiting) = (BTreeSet::new(), vec![from]);
        while let Some(module) = waiting.pop() {
            if reached.insert(module) {
                waiting.extend(&graph[module]);
            }
        }
        reached.contains(to)
    };
    let arrows = graph.iter().flat_map(|(from, known)| known.iter().map(move |to| (from, to)));
    arrows
        .filter(|(from, to)| reaches(to, from))
        .map(|(from, to)| format!("{} -> {}", from.join("/"), to.join("/")))
        .collect()
}

/// Returns the modules that each module knows. `lib.rs` and `main.rs` only declare and re-export, so they are left out.
fn graph(texts: &BTreeMap<Module, String>) -> Graph {
    let modules: Modules = texts
        .iter()
        .map(|(module, text)| (module.clone(), Paths::new(module, text, texts)))
        .collect();
    let known = |module: &Module, paths: &Paths| -> BTreeSet<Module> {
        let found = paths.used.iter().filter_map(|path| definition(&modules, module, path, 0));
        found.filter(|other| *other != module && !other.is_empty()).cloned().collect()
    };
    let files = modules.iter().filter(|(module, _)| !module.is_empty());
    files.map(|(module, paths)| (module.clone(), known(module, paths))).collect()
}

type Modules = BTreeMap<Module, Paths>;

/// The paths in a module's text.
struct Paths {
    used: Vec<Vec<String>>,
    /// The paths of `use` declarations, by the name that they bind.
    imports: BTreeMap<String, Vec<String>>,
}

/// Returns the module that defines the item at `path`, a path in the text of `module`. Follows re-exports.
fn definition<'m>(
    modules: &'m Modules,
    module: &Module,
    path: &[String],
    depth: usize,
) -> Option<&'m Module> {
    let path = absolute(modules, module, path)?;
    let length = (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))?;
    let (found, paths) = modules.get_key_value(&path[..length])?;
    let re_export = path.get(length).and_then(|name| paths.imports.get(name));
    let origin = re_export
        // Two modules may import a name from each other by globs.
        .filter(|_| depth < 8)
        .and_then(|path| definition(modules, found, path, depth + 1));
    Some(origin.unwrap_or(found))
}

/// Returns the path from the crate's root. `None` if it leads to another crate.
fn absolute(modules: &Modules, module: &Module, path: &[String]) -> Option<Vec<String>> {
    let above = path.iter().take_while(|name| *name == "super").count();
    let (base, rest) = match path.first()?.as_str() {
        "crate" => (&[][..], &path[1..]),
        "self" => (&module[..], &path[1..]),
        "super" => (&module[..module.len().checked_sub(above)?], &path[above..]),
        _ => (&module[..], path),
    };
    let whole = [base, rest].concat();
    let is_relative = rest.len() == path.len();
    let is_ours = !is_relative || modules.contains_key(&whole[..=module.len()]);
    is_ours.then_some(whole)
}

impl Paths {
    fn new(module: &Module, text: &str, texts: &BTreeMap<Module, String>) -> Self {
        let text = COMMENT.replace_all(text, "");
        let imports: Vec<_> =
            IMPORT.captures_iter(&text).flat_map(|found| expanded(&found[1])).collect();
        let body = IMPORT.replace_all(&text, "");
        let split = |path: &str| path.split("::").map(str::to_owned).collect();
        let children = CALL
            .captures_iter(&body)
            .map(|found| found[1].to_owned())
            .filter(|name| texts.contains_key(&[module.as_slice(), slice::from_ref(name)].concat()))
            .map(|name| vec!["self".to_owned(), name]);
        let used = imports
            .iter()
            .map(|(path, _)| path.clone())
            .chain(PATH.find_iter(&body).map(|found| split(found.as_str())))
            .chain(children)
            .collect();
        Self { used, imports: imports.into_iter().map(|(path, name)| (name, path)).collect() }
    }
}

/// Returns the paths of a `use` tree, each with the name that it binds.
fn expanded(tree: &str) -> Vec<(Vec<String>, String)> {
    let names = |path: &str| -> Vec<String> {
        let names = path.split("::").map(str::trim).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    };
    let mut found = Vec::new();
    for branch in branches(tree) {
        if let Some((head, inner)) = branch.split_once('{') {
            let head = names(head);
            for (path, name) in expanded(inner.trim_end().trim_end_matches('}')) {
                let is_head = path == ["self"];
                let name = if is_head { head.last().cloned().unwrap_or(name) } else { name };
                let path = if is_head { head.clone() } else { [head.as_slice(), &path].concat() };
                found.push((path, name));
            }
        } else {
            let (path, alias) = branch.split_once(" as ").unwrap_or((branch, ""));
            let path = names(path);
            let name = if alias.is_empty() { path.last() } else { Some(&alias.to_owned()) };
            found.push((path.clone(), name.cloned().unwrap_or_default()));
        }
    }
    found
}

/// Splits at the commas that are not in braces.
fn branches(tree: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let parts = tree.split(move |character| {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}
