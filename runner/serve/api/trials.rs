//! Trials: pages of them, and one of them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::route::ApiAnswer;
use crate::serve::{
    request::{RunPath, filter},
    server::{Server, find},
};
use crate::{
    serve::problem::HttpProblem,
    session::{self, AskedTrial, AskedTrials, TrialOrder},
    view::{TrialPage, TrialsPage},
};

/// How many trials a page has where nobody says so, and at most.
const PAGE: usize = 200;
const MAX_PAGE: usize = 1_000;

/// Which trials are asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TrialsQuery {
    /// Those that this means, in the language of `runner show -E`.
    filter: Option<String>,
    /// `plan` (the default), `ended`, `duration` or `outcome`; with `-` in front the other way round.
    sort: Option<String>,
    /// The state of the run that is meant, as an answer has it; the newest where it is not said.
    rev: Option<u64>,
    /// How many to pass over.
    offset: Option<usize>,
    /// How many: 200 where it is not said, 1,000 at most.
    limit: Option<usize>,
}

/// The names in the path of a trial.
#[derive(Deserialize)]
pub(super) struct TrialPath {
    run: String,
    trial: String,
}

/// Which attempt of a trial is meant.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TrialQuery {
    /// Its number, from 1; the one that settles the trial where it is not said.
    attempt: Option<u32>,
}

pub(super) fn list(
    server: &Server,
    path: &RunPath,
    query: &TrialsQuery,
) -> Result<ApiAnswer<TrialsPage>, HttpProblem> {
    let asked = query.asked()?;
    let run = find(server, &path.run)?;
    let followed = server.runs.followed(&run.dir)?;
    let page = followed.list().page(&asked)?;
    Ok(page.into())
}

impl TrialsQuery {
    fn asked(&self) -> Result<AskedTrials, HttpProblem> {
        let sort = self.sort.as_deref().unwrap_or("plan");
        let (is_reversed, sort) = match sort.strip_prefix('-') {
            Some(sort) => (true, sort),
            None => (false, sort),
        };
        let order = match sort {
            "plan" => TrialOrder::Plan,
            "ended" => TrialOrder::Ended,
            "duration" => TrialOrder::Duration,
            "outcome" => TrialOrder::Outcome,
            other => {
                return Err(HttpProblem::bad_request(format!(
                    "`sort` is `plan`, `ended`, `duration` or `outcome`, and not `{other}`"
                )));
            }
        };
        Ok(AskedTrials {
            filter: filter(self.filter.as_deref())?,
            order,
            is_reversed,
            rev: self.rev,
            offset: self.offset.unwrap_or(0),
            limit: self.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE),
        })
    }
}

pub(super) fn show(
    server: &Server,
    path: &TrialPath,
    query: &TrialQuery,
) -> Result<ApiAnswer<TrialPage>, HttpProblem> {
    Ok(page(server, &path.run, &path.trial, query.attempt)?.into())
}

/// The page of a trial by its id.
pub(super) fn page(
    server: &Server,
    run: &str,
    trial: &str,
    attempt: Option<u32>,
) -> Result<TrialPage, HttpProblem> {
    let run = find(server, run)?;
    let asked = AskedTrial {
        name: trial,
        attempt,
    };
    session::trial_page(&run.dir, asked, |_| ()).map_err(|error| match error.status {
        crate::error::ExitStatus::NothingSelected => HttpProblem::not_found(error.to_string()),
        _ => error.into(),
    })
}
