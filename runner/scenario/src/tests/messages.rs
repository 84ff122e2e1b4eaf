//! Scenarios with mistakes, in `invalid/`. Each has its expected message in a `.txt` file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use runner_model::visible::steers;

use crate::{Problems, Scenario, Selection, Suite, load, parse_stored, resolve};

fn suite_of(scenario: &Path) -> Result<(Scenario, Suite), Problems> {
    let scenario = load(scenario, &Default::default())?;
    let mut file = tempfile::tempfile().unwrap();
    let suite = resolve(&scenario, &Selection::default(), &mut file)?;
    scenario.known_list(false)?;
    Ok((scenario, suite))
}

/// Returns the message of an invalid scenario, with `/repository` for the path of this checkout.
fn message_of(scenario: &Path) -> String {
    let checkout = fs::canonicalize("../..").unwrap();
    match suite_of(scenario) {
        Ok(_) => panic!("{} is accepted", scenario.display()),
        Err(problems) => {
            problems.render(false, 100).replace(checkout.to_str().unwrap(), "/repository")
        }
    }
}

fn scenarios() -> Vec<PathBuf> {
    let paths_in = |folder: &Path| {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    // Deeper folders hold files that the scenarios name.
    let mut paths: Vec<_> = paths_in(Path::new("src/tests/invalid"))
        .iter()
        .filter(|path| path.is_dir())
        .flat_map(|topic| paths_in(topic))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// `UPDATE=1` of `./update` writes the messages.
#[test]
fn invalid_scenarios_have_the_expected_messages() {
    for path in scenarios() {
        let message = message_of(&path);
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &message).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap();
        assert!(message == expected, "{path:?}: run ./update\n{message}\ninstead of\n{expected}");
        assert!(!message.contains(steers), "{}", path.display());
    }
}

#[test]
fn colours_are_optional() {
    let path = Path::new("src/tests/invalid/keys/duplicate-ids.toml");
    let Err(problems) = load(path, &Default::default()) else { panic!() };
    assert_eq!(problems.count(), 1);
    assert!(problems.render(true, 100).contains("\u{1b}["));
    assert!(!problems.render(false, 100).contains('\u{1b}'));
}

#[test]
fn too_large_scenario_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    let file = fs::File::create(&path).unwrap();
    file.set_len(20 << 20).unwrap();
    assert!(message_of(&path).contains("more than 16 MiB"));
    // The largest file that is read. It is not valid TOML.
    file.set_len(16 << 20).unwrap();
    assert!(message_of(&path).contains("not valid TOML"));
}

#[test]
fn unreadable_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.toml");
    let message = message_of(&path);
    assert!(message.contains("none.toml") && message.contains("does not exist"), "{message}");
    assert!(message_of(folder.path()).contains("directory"));
}

#[test]
fn only_first_mistakes_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    let mistakes = "[[tests]]\n".repeat(5000);
    fs::write(&path, format!("providers.p.plugin = 'bundled:echo'\n{mistakes}")).unwrap();
    let Err(problems) = load(&path, &Default::default()) else { panic!() };
    assert_eq!(problems.count(), 5000);
    let message = problems.render(false, 100);
    assert_eq!(message.matches("error: ").count(), 100);
    assert!(message.contains("the first of 5000 problems; 4900 more"), "{message}");
}

/// Replaces a part of a text.
fn damaged(text: &str, at: prop::sample::Index, length: usize, other: &str) -> String {
    let start = text.floor_char_boundary(at.index(text.len()));
    let end = text.ceil_char_boundary((start + length).min(text.len()));
    [&text[..start], other, &text[end..]].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_scenarios_are_read_or_refused(
        at in any::<prop::sample::Index>(),
        length in 0usize..40,
        other in r#"[\[\]{}="',.\n\u{20ac}a-c0-9{}\-]{0,8}"#,
    ) {
        for file in ["valid/tour.toml", "invalid/file/everything-at-once.toml", "invalid/templates/matrix.toml"] {
            let text = fs::read_to_string(format!("src/tests/{file}")).unwrap();
            if let Err(problems) = parse_stored(&damaged(&text, at, length, &other), "s", &Default::default()) {
                prop_assert!(problems.count() > 0 && !problems.render(false, 100).is_empty());
            }
        }
    }

    #[test]
    fn damaged_lists_are_read_or_refused(
        at in any::<prop::sample::Index>(),
        length in 0usize..20,
        other in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let scenario = "providers.p.plugin = 'bundled:echo'\ntest_lists = [{ files = ['l.*'], id = '{{file.name}}-{{row.n}}', meta = { t = '{{row.t}}' } }]\n";
        fs::write(folder.path().join("s.toml"), scenario).unwrap();
        for (name, text) in [
            ("l.csv", "n,t\n1,\"a \"\"b\"\"\nc\"\n2,d\n"),
            ("l.json", "[{\"n\": 1, \"t\": \"a\"},\n {\"n\": 2, \"t\": true}]\n"),
            ("l.jsonl", "{\"n\": 1, \"t\": \"a\"}\n\n{\"n\": 2, \"t\": 1.5}\n"),
            ("l.toml", "[[tests]]\nn = 1\nt = 'a'\n[[tests]]\nn = 2\nt = 1979-05-27\n"),
        ] {
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            let bytes = [&text.as_bytes()[..start], &other, &text.as_bytes()[end..]].concat();
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        if let Err(problems) = suite_of(&folder.path().join("s.toml")) {
            prop_assert!(problems.count() > 0 && !problems.render(false, 100).is_empty());
        }
    }
}
