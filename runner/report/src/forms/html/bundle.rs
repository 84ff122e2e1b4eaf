//! The pages of `runner serve` as one script and one style, and data for the script, for a file that needs no other one.

use std::io;

use serde::Serialize;

use crate::{WEB, json::visible_json};

/// The module that starts a report.
const ENTRY: &str = "report.js";

/// Returns the styles of all pages.
pub(super) fn style() -> String {
    [file("app.css"), file("pages.css")].concat()
}

/// Joins [`ENTRY`] and all modules that it needs. Each becomes a function that returns its exports.
pub(super) fn script() -> String {
    let mut script = "'use strict';\nconst modules = {};\n".to_owned();
    add(ENTRY, &mut Vec::new(), &mut script);
    script
}

fn file(name: &str) -> &'static str {
    let file = WEB.iter().find(|(known, _)| *known == name);
    file.and_then(|(_, bytes)| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Adds a module after those that it imports. Imports and exports are lines of the forms that the pages use.
fn add(name: &str, known: &mut Vec<String>, script: &mut String) {
    if known.iter().any(|known| known == name) {
        return;
    }
    known.push(name.to_owned());
    let (mut body, mut exports) = (String::new(), Vec::new());
    for line in file(name).lines() {
        let import = line.strip_prefix("import ").and_then(|line| line.split_once(" from "));
        if let Some((names, path)) = import {
            let path = resolve(name, path.trim_matches(['\'', ';']));
            add(&path, known, script);
            body += &format!("const {} = modules['{path}'];\n", names.replace(" as ", ": "));
            continue;
        }
        let export = line.strip_prefix("export ");
        let mut words = export.into_iter().flat_map(|line| line.split([' ', '(']));
        exports.extend(words.find(|word| !["async", "class", "const", "function"].contains(word)));
        body += export.unwrap_or(line);
        body.push('\n');
    }
    let exports = exports.join(", ");
    *script += &format!("modules['{name}'] = (() => {{\n{body}return {{ {exports} }};\n}})();\n");
}

/// Returns the path that a module imports, from the folder of all of them.
fn resolve(from: &str, path: &str) -> String {
    match (path.strip_prefix("../"), from.rsplit_once('/')) {
        (Some(path), _) => path.to_owned(),
        (None, Some((folder, _))) => format!("{folder}/{}", path.trim_start_matches("./")),
        (None, None) => path.trim_start_matches("./").to_owned(),
    }
}

/// Serializes a value for an element `script`, which no text of the value can end, and without characters that hide text or
/// commands of jobs.
pub(super) fn data(value: &impl Serialize) -> io::Result<String> {
    let json = serde_json::to_string(value)?;
    Ok(visible_json(&json).replace('<', r"\u003c"))
}

#[cfg(test)]
mod tests {
    use super::{script, style};

    #[test]
    fn script_has_no_import_or_end() {
        let script = script();
        for line in script.lines() {
            assert!(!line.starts_with("import ") && !line.starts_with("export "), "{line}");
        }
        for module in ["report.js", "pages/run.js", "pages/trial.js", "base/words.js"] {
            assert_eq!(script.matches(&format!("modules['{module}'] = ")).count(), 1, "{module}");
        }
        assert!(script.contains("return { duration, ") || script.contains(", duration, "));
        for end in ["</script", "<!--", "</style"] {
            assert!(!script.contains(end) && !style().contains(end), "{end}");
        }
    }
}
