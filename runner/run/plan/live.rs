//! A plan from the files as they are now.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    ceiling::Ceiling,
    error::{PlanError, ProviderError},
    planned::{Plan, PlanParts, PlannedGrader, PlannedProvider},
};
use crate::{
    model::Limits,
    plugin::{Kind, PluginFile},
    run::grants,
    scenario::{self, Provider, RunOptions, Scenario, Selection, Suite},
};

impl Plan {
    /// Plans `scenario`, which was read from `path`, with the plugins' files in the order of its providers.
    pub fn new(
        scenario: Scenario,
        path: &Path,
        plugins: &[PathBuf],
        selection: Selection,
        overrides: RunOptions,
    ) -> Result<Self, PlanError> {
        let ceiling = Ceiling::of(&overrides)?;
        let (suite, part) = match selection.shard {
            Some(shard) => {
                let (whole, part) = scenario::normalise_with_part(&scenario, &selection, shard)?;
                (whole, Some(part))
            }
            None => (scenario::normalise(&scenario, &selection)?, None),
        };
        if suite.trial_count() == 0 {
            return Err(nothing_selected(path, &selection));
        }
        let used = used_plugins(&suite, &scenario)?;
        let (providers, graders) = plan_plugins(&scenario, plugins, &used, &ceiling)?;
        // Every shard has the plugins of all, so that they are all of one plan.
        let (suite, whole) = match part {
            Some(part) => (part, Some(suite)),
            None => (suite, None),
        };
        let parts = PlanParts {
            scenario,
            suite,
            whole,
            providers,
            graders,
            overrides,
            selection,
            path: path.into(),
        };
        Self::of_parts(parts, &ceiling)
    }

    /// Plans the graders of `scenario` alone, to judge by its tests what has run: no provider is planned, and `plugins` need
    /// only be those of graders.
    pub fn to_judge(
        scenario: Scenario,
        path: &Path,
        plugins: &[PathBuf],
        suite: Suite,
        overrides: RunOptions,
    ) -> Result<Self, PlanError> {
        let ceiling = Ceiling::of(&overrides)?;
        let mut used = used_plugins(&suite, &scenario)?;
        used[..scenario.providers().len()].fill(false);
        let (providers, graders) = plan_plugins(&scenario, plugins, &used, &ceiling)?;
        let parts = PlanParts {
            scenario,
            suite,
            whole: None,
            providers,
            graders,
            overrides,
            selection: Selection::default(),
            path: path.into(),
        };
        Self::of_parts(parts, &ceiling)
    }
}

/// What is planned of providers, and of graders.
type PlannedPlugins = (Vec<Option<PlannedProvider>>, Vec<Option<PlannedGrader>>);

/// Reads the plugin of every provider that has trials and of every grader that tests name; each file once.
fn plan_plugins(
    scenario: &Scenario,
    plugins: &[PathBuf],
    used: &[bool],
    ceiling: &Ceiling,
) -> Result<PlannedPlugins, PlanError> {
    let mut files = HashMap::new();
    let mut planned = Vec::new();
    let mut problems = Vec::new();
    for (index, definition) in scenario.plugins().enumerate() {
        if !used[index] {
            planned.push(None);
            continue;
        }
        let limits = ceiling.cap(definition.limits);
        let file = read_plugin(&mut files, &plugins[index], definition, &limits);
        let mounts = grants::mounts(&definition.grants, scenario.directory())
            .map_err(|problem| ProviderError::new(&definition.id, problem));
        match file.and_then(|file| Ok((file, mounts?))) {
            Ok((file, mounts)) => planned.push(Some(PlannedProvider {
                definition: definition.clone(),
                file,
                limits,
                mounts,
                secrets: Arc::default(),
            })),
            Err(problem) => problems.push(problem.of(definition.role)),
        }
    }
    if !problems.is_empty() {
        return Err(PlanError::Providers { problems });
    }
    let graders = planned.split_off(scenario.providers().len());
    let graders = graders.into_iter().zip(scenario.graders());
    let graders = graders.map(|(plugin, definition)| {
        Some(PlannedGrader {
            plugin: plugin?,
            definition: definition.clone(),
        })
    });
    Ok((planned, graders.collect()))
}

/// The graders that no test names.
///
/// # Errors
///
/// Fails if the tests cannot be read.
pub fn idle_graders<'s>(scenario: &'s Scenario, suite: &Suite) -> io::Result<Vec<&'s str>> {
    let used = used_plugins(suite, scenario)?;
    let graders = scenario.graders().iter();
    let graders = graders.zip(&used[scenario.providers().len()..]);
    Ok(graders
        .filter(|(_, is_used)| !**is_used)
        .map(|(grader, _)| grader.name())
        .collect())
}

/// Tells of each provider whether a test runs on it, and then of each grader whether a test names it.
fn used_plugins(suite: &Suite, scenario: &Scenario) -> io::Result<Vec<bool>> {
    let providers = scenario.providers().len();
    let mut used = vec![false; providers + scenario.graders().len()];
    let mut reader = suite.reader_of_lane();
    for index in 0..suite.test_count() {
        let test = reader.test(index)?;
        for provider in test.providers.iter() {
            used[provider] = true;
        }
        for name in test.expect.graders() {
            let mut graders = scenario.graders().iter();
            if let Some(place) = graders.position(|grader| grader.name() == name) {
                used[providers + place] = true;
            }
        }
        if used.iter().all(|used| *used) {
            break;
        }
    }
    Ok(used)
}

fn read_plugin(
    files: &mut HashMap<PathBuf, PluginFile>,
    path: &Path,
    definition: &Provider,
    limits: &Limits,
) -> Result<PluginFile, ProviderError> {
    let id = &definition.id;
    let file = match files.get(path) {
        Some(file) if file.size <= limits.file => file.clone(),
        _ => {
            PluginFile::read(path, limits.file).map_err(|error| ProviderError::file(id, &error))?
        }
    };
    files.insert(path.into(), file.clone());

    if let Some(expected) = definition
        .sha256
        .filter(|expected| *expected != file.sha256)
    {
        let (expected, actual) = (expected.to_string(), file.sha256.to_string());
        return Err(ProviderError::digest(id, &expected, &actual));
    }
    let misplaced = match file.kind {
        Kind::Component { .. } => command_key(definition).map(|key| (key, "commands")),
        Kind::Command(_) => definition.reuse.map(|_| ("reuse", "components")),
    };
    match misplaced {
        Some((key, kinds)) => Err(ProviderError::misplaced(id, key, kinds, file.kind)),
        None => Ok(file),
    }
}

/// A key of the provider that only commands have.
fn command_key(definition: &Provider) -> Option<&'static str> {
    if definition.protocol.is_some() {
        return Some("protocol");
    }
    if !definition.args.is_empty() {
        return Some("args");
    }
    if definition.stdin.is_some() {
        return Some("stdin");
    }
    (definition.output != scenario::OutputForm::default()).then_some("output")
}

fn nothing_selected(path: &Path, selection: &Selection) -> PlanError {
    let is_everything = *selection == Selection::default();
    PlanError::NothingSelected {
        scenario: path.into(),
        help: if is_everything {
            "its test lists hold no test".into()
        } else {
            format!(
                "`runner exec {} --dry-run` without a selection lists every test",
                path.display()
            )
        },
    }
}
