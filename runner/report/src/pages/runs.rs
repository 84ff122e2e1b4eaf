//! [`RunsPage`]: a page of the list of runs.

use std::collections::BTreeMap;

use runner_model::status::{RunState, RunVerdict};
use runner_model::{Reason, Time};
use runner_record::{ResultsRoot, RunHead};
use schemars::JsonSchema;
use serde::Serialize;

use super::actions::RunActions;
use crate::{RunList, RunSummary, Unreadable, VERSION};

/// Runs of a results root that match a query, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunsPage {
    /// Always [`VERSION`].
    pub v: u8,
    /// Time of the answer.
    pub now: Time,
    pub runs: Vec<RunItem>,
    /// Runs whose manifest is damaged or of another format.
    pub unreadable: Vec<Unreadable>,
    /// Numbers of runs by their state, without the query's states.
    pub counts: BTreeMap<String, u64>,
    /// Number of runs that match.
    pub total: u64,
    /// Id of the last run, for `before` of the next page. `null` on the last page.
    pub next: Option<String>,
}

/// A run of a list, with the requests that it accepts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunItem {
    #[serde(flatten)]
    run: RunSummary,
    actions: RunActions,
    /// Present if another user or key made the run: the rest of a sentence about it. Then there are no actions.
    #[serde(skip_serializing_if = "Option::is_none")]
    foreign: Option<String>,
}

/// Selection of a page of runs. Empty lists and `None` select all.
#[derive(Clone, Debug, Default)]
pub struct RunsQuery {
    pub states: Vec<RunState>,
    pub verdicts: Vec<RunVerdict>,
    pub reasons: Vec<Reason>,
    /// A key, with a value or any.
    pub label: Option<(String, Option<String>)>,
    /// The scenario's name.
    pub scenario: Option<String>,
    /// Id of a group, or a part of it.
    pub group: Option<String>,
    /// Part of an id, also of a group, a scenario's name, a user's name, a message or a label.
    pub text: Option<String>,
    /// Earliest start.
    pub since: Option<Time>,
    /// Id of the last run of the page before.
    pub before: Option<String>,
    pub limit: usize,
}

impl RunItem {
    #[must_use]
    pub fn new(root: &ResultsRoot, run: RunSummary, is_read_only: bool) -> Self {
        let foreign = root.find_named(&run.head.id).ok().and_then(|run| run.foreign());
        let actions = RunActions::of(&run.head, is_read_only, foreign.is_some());
        Self { run, actions, foreign }
    }
}

impl RunsPage {
    /// Selects a page of a list. A run of `before` that was removed meanwhile is on no page, so the newest runs follow.
    #[must_use]
    pub fn new(
        root: &ResultsRoot,
        list: RunList,
        query: &RunsQuery,
        is_read_only: bool,
        now: Time,
    ) -> Self {
        let mut counts = BTreeMap::new();
        let mut runs = list.runs;
        runs.retain(|run| query.matches(&run.head));
        for run in &runs {
            *counts.entry(run.state.as_str().to_owned()).or_default() += 1;
        }
        runs.retain(|run| is_in(&query.states, &run.state));
        let total = runs.len() as u64;
        let last = runs.iter().position(|run| Some(&run.head.id) == query.before.as_ref());
        runs.drain(..last.map_or(0, |last| last + 1));
        let has_more = runs.len() > query.limit;
        runs.truncate(query.limit);
        let next = runs.last().filter(|_| has_more).map(|run| run.head.id.clone());
        let runs = runs.into_iter().map(|run| RunItem::new(root, run, is_read_only)).collect();
        Self { v: VERSION, now, runs, unreadable: list.unreadable, counts, total, next }
    }
}

impl RunsQuery {
    fn matches(&self, run: &RunHead) -> bool {
        is_in(&self.verdicts, &run.verdict)
            && (self.reasons.is_empty()
                || run.reason.is_some_and(|one| self.reasons.contains(&one)))
            && self.since.is_none_or(|since| run.started_at >= since)
            && self.label.as_ref().is_none_or(|(key, value)| {
                let own = run.labels.get(key);
                own.is_some_and(|own| value.as_ref().is_none_or(|value| value == own))
            })
            && self.scenario.as_ref().is_none_or(|scenario| run.scenario == *scenario)
            && self
                .group
                .as_ref()
                .is_none_or(|part| run.group.as_ref().is_some_and(|group| group.id.contains(part)))
            && self.text.as_ref().is_none_or(|text| has_text(run, &text.to_lowercase()))
    }
}

fn is_in<T: PartialEq>(wanted: &[T], value: &T) -> bool {
    wanted.is_empty() || wanted.contains(value)
}

fn has_text(run: &RunHead, text: &str) -> bool {
    let labels = run.labels.iter().flat_map(|(key, value)| [key, value]);
    let group = run.group.as_ref().map(|group| &group.id);
    let texts = [&run.id, &run.scenario].into_iter().chain(&run.user).chain(&run.message);
    let mut texts = texts.chain(group).chain(labels);
    texts.any(|one| one.to_lowercase().contains(text))
}
