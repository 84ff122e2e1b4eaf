//! The plugin of a test list: prints records in the way that its configuration, on standard input, says.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufWriter, Read as _};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io, path::Path, process::exit};

use serde_json::{Map, Value, json};

fn main() {
    let config: Value = serde_json::from_reader(io::stdin()).expect("the host sends JSON");
    let mut out = BufWriter::new(io::stdout().lock());
    match config["do"].as_str().expect("`do` is a string") {
        "front-matter" => front_matter(Path::new("/suite"), &mut out),
        "cat" => {
            let mut text = String::new();
            let mut file = fs::File::open("/files/list.jsonl").expect("the file is attached");
            file.read_to_string(&mut text).expect("the file is a text");
            print(&mut out, &text);
        }
        "count" => {
            let count = config["count"].as_u64().expect("`count` is a number");
            let pad = "x".repeat(config["pad"].as_u64().unwrap_or_default() as usize);
            for number in 0..count {
                print(&mut out, &format!("{{\"id\": \"n{number:07}\", \"input\": \"{pad}\"}}\n"));
            }
        }
        "flood" => loop {
            print(&mut out, "{\"id\": \"same\"}\n");
        },
        "spin" => loop {
            std::hint::black_box(());
        },
        "random" => {
            let random = RandomState::new().hash_one(0);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_nanos();
            print(&mut out, &format!("{{\"id\": \"random\", \"input\": \"{random} {now}\"}}\n"));
        }
        "say" => print(&mut out, config["text"].as_str().expect("`text` is a string")),
        "panic" => panic!("the plugin's own words"),
        "exit" => {
            eprintln!("no suite in /suite");
            exit(3);
        }
        other => panic!("cannot do {other:?}"),
    }
    if let Some(text) = config["stderr"].as_str() {
        eprintln!("{text}");
    }
}

fn print(out: &mut impl io::Write, text: &str) {
    out.write_all(text.as_bytes()).expect("standard output takes all");
}

/// Prints a record for each file with front matter, as test262 has: YAML between `/*---` and `---*/`.
fn front_matter(folder: &Path, out: &mut impl io::Write) {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("the folder is granted")
        .map(|entry| entry.expect("the entry is readable").path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            front_matter(&path, out);
            continue;
        }
        let source = fs::read_to_string(&path).expect("the test is a text");
        let Some((_, rest)) = source.split_once("/*---") else { continue };
        let (yaml, _) = rest.split_once("---*/").expect("the front matter ends");
        let facts = yaml_of(yaml);
        let list =
            |key: &str| facts.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let name = path.strip_prefix("/suite").expect("it is in the suite").with_extension("");
        let tags = [list("flags"), list("features")].concat();
        let record = json!({
            "name": name,
            "description": facts.get("description"),
            "negative": facts.get("negative").map_or(Value::from("no"), |of| of["type"].clone()),
            "tags": tags,
            "source": source,
        });
        print(out, &format!("{record}\n"));
    }
}

/// Reads the part of YAML that front matter uses: texts, also folded ones, lists in one line, and tables of texts.
fn yaml_of(yaml: &str) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut last = String::new();
    for line in yaml.lines().filter(|line| !line.trim().is_empty()) {
        let inner = line.trim();
        if line.starts_with(' ') {
            let of = facts.entry(last.clone()).or_insert(Value::Null);
            match inner.split_once(": ") {
                Some((key, value)) if !of.is_string() => {
                    of.as_object_mut().map(|map| map.insert(key.into(), value.into()));
                    if of.is_null() {
                        *of = json!({ key: value });
                    }
                }
                _ => *of = [of.as_str().unwrap_or_default(), inner].join(" ").trim().into(),
            }
            continue;
        }
        let (key, value) = inner.split_once(':').expect("a key has a value");
        last = key.to_owned();
        let value = match value.trim() {
            "" => continue,
            ">" | "|" => "".into(),
            list if list.starts_with('[') => {
                let items = list.trim_matches(['[', ']']).split(',').map(str::trim);
                items.filter(|item| !item.is_empty()).map(Value::from).collect()
            }
            text => text.into(),
        };
        facts.insert(last.clone(), value);
    }
    facts
}
