//! Inside a room, too, who knows whom goes in one direction: no file knows one that knows it, over however many others.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use walkdir::WalkDir;

/// A module of the program, by its path below `runner`, as in `["run", "dispatcher", "work"]`.
type Module = Vec<String>;

#[test]
fn no_files_of_a_room_know_each_other() {
    let program = Program::read();
    let graph = program.graph();
    let mut circles = circles(&graph);
    circles.sort();
    assert_eq!(circles, Vec::<Vec<String>>::new());
}

/// The rooms inside `record`, and its files beside them, from the bottom up.
const RECORD: [&str; 9] = [
    "failpoint",
    "error",
    "disk",
    "format",
    "reading",
    "store",
    "writing",
    "merging",
    "upkeep",
];

#[test]
fn a_room_inside_record_knows_only_those_below_it() {
    let program = Program::read();
    let place = |module: &Module| {
        let found = RECORD.iter().position(|room| module[1] == **room);
        found.unwrap_or_else(|| panic!("{module:?} is in no room of the list"))
    };
    let mut offences = Vec::new();
    for (module, known) in program.graph() {
        let above = known
            .into_iter()
            .filter(|other| module[0] == "record" && other.len() > 1)
            .filter(|other| place(other) > place(module));
        offences.extend(above.map(|other| (module.join("/"), other.join("/"))));
    }
    assert_eq!(offences, []);
}

#[test]
fn a_circle_is_found() {
    let sources = [
        ("a", "pub use b::B;\nuse d::D;"),
        ("a/b", "use super::c::C;"),
        ("a/c", "fn f(_: super::B) {}"),
        ("a/d", "use crate::a::{b::B as Other, c::{self, C}};"),
    ];
    let program = Program::of(sources.map(|(path, text)| (path.to_owned(), text.to_owned())));
    assert_eq!(circles(&program.graph()), [["a", "b", "c"]]);
}

/// What is known of each module.
struct Program {
    modules: BTreeMap<Module, Paths>,
}

/// The paths that stand in a module.
#[derive(Default)]
struct Paths {
    used: Vec<Vec<String>>,
    /// Those of its imports, by the last name.
    imports: BTreeMap<String, Vec<String>>,
}

impl Program {
    fn read() -> Self {
        let files = WalkDir::new("runner").into_iter().map(Result::unwrap);
        let sources = files.filter_map(|entry| {
            let path = entry.path().strip_prefix("runner").unwrap().to_str()?;
            let name = path.rsplit('/').next()?;
            let is_for_tests = ["tests.rs", "testing.rs", "fuzzing.rs"].contains(&name);
            let is_for_tests = is_for_tests || path.contains("/tests/");
            if !name.ends_with(".rs") || is_for_tests || path.contains("/templates/") {
                return None;
            }
            let text = fs_err::read_to_string(entry.path()).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next()?.to_owned();
            let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
            Some((module.to_owned(), text))
        });
        Self::of(sources)
    }

    fn of(sources: impl IntoIterator<Item = (String, String)>) -> Self {
        let texts: BTreeMap<Module, String> = sources
            .into_iter()
            .map(|(path, text)| (path.split('/').map(str::to_owned).collect(), text))
            .collect();
        let modules = texts.iter().map(|(module, text)| {
            let inside = texts
                .keys()
                .filter(|other| other.len() == module.len() + 1 && other.starts_with(module));
            let inside = inside.filter_map(|child| child.last().cloned()).collect();
            (module.clone(), Paths::in_text(text, &inside))
        });
        Self {
            modules: modules.collect(),
        }
    }

    /// Which modules of its own room each module knows.
    fn graph(&self) -> BTreeMap<&Module, BTreeSet<&Module>> {
        let known = |module: &Module, paths: &Paths| -> BTreeSet<&Module> {
            let found = paths
                .used
                .iter()
                .filter_map(|path| self.find(module, path, 0));
            found
                .filter(|other| *other != module && other[0] == module[0])
                .collect()
        };
        // What a room's first file declares and hands on is no knowledge of it.
        self.modules
            .iter()
            .filter(|(module, _)| module.len() > 1)
            .map(|(module, paths)| (module, known(module, paths)))
            .collect()
    }

    /// The module in which the thing at `path` is, as `module` names it; through what others import for it.
    fn find(&self, module: &Module, path: &[String], depth: usize) -> Option<&Module> {
        let path = self.absolute(module, path)?;
        let length = (1..=path.len())
            .rev()
            .find(|length| self.modules.contains_key(&path[..*length]))?;
        let (found, paths) = self.modules.get_key_value(&path[..length])?;
        let handed_on = path.get(length).and_then(|name| paths.imports.get(name));
        let behind = handed_on
            .filter(|_| depth < 8)
            .and_then(|path| self.find(found, path, depth + 1));
        Some(behind.unwrap_or(found))
    }

    fn absolute(&self, module: &Module, path: &[String]) -> Option<Module> {
        let first = path.first()?.as_str();
        let above = path.iter().take_while(|part| *part == "super").count();
        Some(match first {
            "crate" => path[1..].to_vec(),
            "self" => [module, &path[1..]].concat(),
            "super" => [
                module.get(..module.len().checked_sub(above)?)?,
                &path[above..],
            ]
            .concat(),
            _ => {
                let inside = [module.as_slice(), path].concat();
                self.modules
                    .contains_key(&inside[..=module.len()])
                    .then_some(inside)?
            }
        })
    }
}

impl Paths {
    fn in_text(text: &str, children: &BTreeSet<String>) -> Self {
        let comment = Regex::new(r"//[^\n]*").unwrap();
        let import = Regex::new(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?use ([\w:{}, \n*]+);").unwrap();
        let path = Regex::new(r"\b(?:crate|super|self)(?:::\w+)+").unwrap();
        let inside = Regex::new(r"\b(\w+)::\w").unwrap();
        let text = comment.replace_all(text, "");

        let mut paths = Self::default();
        for found in import.captures_iter(&text) {
            for (path, name) in expanded(&found[1]) {
                paths.imports.insert(name, path.clone());
                paths.used.push(path);
            }
        }
        let body = import.replace_all(&text, "");
        let split = |path: &str| path.split("::").map(str::to_owned).collect();
        paths
            .used
            .extend(path.find_iter(&body).map(|found| split(found.as_str())));
        let called = inside.captures_iter(&body).map(|found| found[1].to_owned());
        let called = called.filter(|name| children.contains(name));
        paths
            .used
            .extend(called.map(|name| vec!["self".to_owned(), name]));
        paths
    }
}

/// The paths that a tree of imports stands for, each with the name that it gives.
fn expanded(tree: &str) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    for branch in branches(tree) {
        if let Some((head, inner)) = branch.split_once('{') {
            let head: Vec<_> = head.split("::").map(str::trim).collect();
            let head = head.into_iter().filter(|part| !part.is_empty());
            let head: Vec<_> = head.map(str::to_owned).collect();
            for (path, name) in expanded(inner.trim_end().trim_end_matches('}')) {
                let (path, name) = match path.as_slice() {
                    // The module itself.
                    [this] if this == "self" => (Vec::new(), head.last().cloned().unwrap_or(name)),
                    _ => (path, name),
                };
                found.push(([head.as_slice(), &path].concat(), name));
            }
            continue;
        }
        let (path, name) = branch.split_once(" as ").unwrap_or((branch, ""));
        let path: Vec<_> = path
            .split("::")
            .map(|part| part.trim().to_owned())
            .collect();
        let name = match name.trim() {
            "" => path.last().cloned().unwrap_or_default(),
            name => name.to_owned(),
        };
        found.push((path, name));
    }
    found
}

/// What stands between the commas that are in no braces.
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

/// The sets of modules of which each leads to each other, by the names of the room and of the modules in it.
fn circles(graph: &BTreeMap<&Module, BTreeSet<&Module>>) -> Vec<Vec<String>> {
    let reached = |from: &Module| -> BTreeSet<&Module> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<_> = graph[from].iter().copied().collect();
        while let Some(module) = next.pop() {
            if graph.contains_key(module) && reached.insert(module) {
                next.extend(&graph[module]);
            }
        }
        reached
    };
    let reached: BTreeMap<_, _> = graph
        .keys()
        .map(|module| (*module, reached(module)))
        .collect();
    let mut circles = BTreeSet::new();
    for (module, far) in &reached {
        let circle = far.iter().filter(|other| reached[**other].contains(module));
        let circle: Vec<_> = circle.map(|module| module[1..].join("/")).collect();
        if circle.len() > 1 {
            circles.insert([vec![module[0].clone()], circle].concat());
        }
    }
    circles.into_iter().collect()
}
