//! Scenarios as data: the valid ones load, and the invalid ones say what the file beside them says.
//!
//! `UPDATE=1` writes the messages anew.

use std::path::{Path, PathBuf};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use runner::scenario::{self, ScenarioError, Selection, Suite};

/// The program that writes the lists of the conformance scenario.
#[path = "../../scenarios/toml-conformance.rs"]
#[expect(dead_code, reason = "its `main` is not called here")]
mod conformance;

#[test]
fn valid_scenarios_are_accepted() {
    for path in scenarios("valid") {
        if let Err(error) = suite(&path) {
            panic!("{}:\n{}", path.display(), render(&error));
        }
    }
}

#[test]
fn the_examples_are_valid() {
    for path in ["scenarios/basic.toml", "scenarios/tour.toml"] {
        if let Err(error) = suite(Path::new(path)) {
            panic!("{path}:\n{}", render(&error));
        }
    }
}

#[test]
fn the_conformance_scenario_is_valid_with_its_lists() {
    let folder = tempfile::tempdir().unwrap();
    conformance::write(&folder.path().join("toml-conformance")).unwrap();
    let text = fs_err::read_to_string("scenarios/toml-conformance.toml").unwrap();
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
    let path = folder.path().join("toml-conformance.toml");
    fs_err::write(&path, text.replace("../plugins", plugins.to_str().unwrap())).unwrap();

    match suite(&path) {
        Ok(suite) => assert!(suite.trial_count() > 1000),
        Err(error) => panic!("{}", render(&error)),
    }
}

#[test]
fn valid_scenarios_are_valid_by_the_published_schema() {
    let schema = jsonschema::validator_for(&scenario::json_schema()).unwrap();
    for path in scenarios("valid") {
        let text = fs_err::read_to_string(&path).unwrap();
        let value: serde_json::Value = toml::from_str(&text).unwrap();
        let errors: Vec<_> = schema
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
    }
}

#[test]
fn invalid_scenarios_are_refused_with_the_message_beside_them() {
    let is_update = std::env::var_os("UPDATE").is_some();
    for path in scenarios("invalid") {
        let Err(error) = suite(&path) else {
            panic!("{} is accepted", path.display());
        };
        let message = render(&error);
        let expected = path.with_extension("txt");
        if is_update {
            fs_err::write(&expected, &message).unwrap();
        }
        let expected = fs_err::read_to_string(&expected).unwrap();
        assert!(
            expected == message,
            "{}:\n{}",
            path.display(),
            similar::TextDiff::from_lines(&expected, &message).unified_diff()
        );
    }
}

fn suite(path: &Path) -> Result<Suite, ScenarioError> {
    let scenario = scenario::load(path)?;
    scenario::normalise(&scenario, &Selection::default())
}

/// The scenarios of a folder, relative to the repository, so that messages are the same everywhere.
fn scenarios(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/scenarios").join(folder);
    let mut paths: Vec<_> = fs_err::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

fn render(error: &dyn Diagnostic) -> String {
    let mut text = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .render_report(&mut text, error)
        .unwrap();
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}
