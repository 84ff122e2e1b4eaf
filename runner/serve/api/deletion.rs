//! What keeps a results root in order: deleting runs, pruning, writing down deaths.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::route::ApiAnswer;
use crate::serve::{
    request::{NoQuery, RunPath},
    server::{Server, find, store},
};
use crate::{
    error::{Error, ExitStatus},
    model::RunStatus,
    record::{PrunePolicy, words},
    serve::problem::HttpProblem,
    session::{self, Pruned},
    view::{CleanupReport, DocumentVersion, PruneReport, RetentionPlan, UpkeepMode},
};

/// Whether nothing is deleted.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteBody {
    /// Whether it is only said what would be deleted.
    #[serde(default)]
    dry_run: bool,
}

/// Which runs go.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PruneBody {
    /// Only runs with one of these statuses.
    #[serde(default)]
    statuses: Vec<String>,
    /// Those that ended longer ago than so many hours.
    #[serde(default)]
    older_than_hours: Option<u64>,
    /// All but so many of the newest.
    #[serde(default)]
    keep_last: Option<usize>,
    /// The oldest, until what is left is not larger than this, in bytes.
    #[serde(default)]
    max_bytes: Option<u64>,
    /// Whether it is only said what would be deleted. That is so where it is not said.
    #[serde(default = "yes")]
    dry_run: bool,
}

/// Whether nothing is written.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CleanupBody {
    /// Only runs that began at least so many hours ago.
    #[serde(default)]
    stale_hours: u64,
    /// Whether it is only said what would be written. That is so where it is not said.
    #[serde(default = "yes")]
    dry_run: bool,
}

fn yes() -> bool {
    true
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours.saturating_mul(60 * 60))
}

pub(super) fn delete(
    server: &Server,
    path: &RunPath,
    body: &DeleteBody,
) -> Result<ApiAnswer<PruneReport>, HttpProblem> {
    let run = find(server, &path.run)?;
    let policy = PrunePolicy {
        runs: [run.id.clone()].into(),
        ..PrunePolicy::default()
    };
    let pruned = prune_by(server, &policy, body.dry_run)?;
    if pruned.exit == ExitStatus::Success {
        return Ok(pruned.report.into());
    }
    let because = pruned.report.spared.first().map(|spared| spared.because);
    Err(match because {
        Some(because) => HttpProblem::conflict(format!("run `{}` stays: {because}", run.id)),
        None => HttpProblem::internal("the run could not be deleted")
            .with_help("`runner prune` says why"),
    })
}

pub(super) fn prune(
    server: &Server,
    (): &(),
    body: &PruneBody,
) -> Result<ApiAnswer<PruneReport>, HttpProblem> {
    let status = |text: &String| -> Result<RunStatus, HttpProblem> {
        words::parse(text)
            .ok_or_else(|| HttpProblem::bad_request(format!("`statuses`: there is no `{text}`")))
    };
    let statuses: Result<Vec<_>, _> = body.statuses.iter().map(status).collect();
    let policy = PrunePolicy {
        runs: [].into(),
        statuses: statuses?,
        older_than: body.older_than_hours.map(hours),
        keep_last: body.keep_last,
        max_bytes: body.max_bytes,
    };
    Ok(prune_by(server, &policy, body.dry_run)?.report.into())
}

fn prune_by(server: &Server, policy: &PrunePolicy, is_dry: bool) -> Result<Pruned, HttpProblem> {
    let (store, now) = (store(server)?, (server.host.now)());
    let pruned = session::prune(&store, policy, UpkeepMode::of(!is_dry), now);
    Ok(pruned.map_err(Error::record)?)
}

pub(super) fn retention(
    server: &Server,
    (): &(),
    NoQuery {}: &NoQuery,
) -> Result<ApiAnswer<RetentionPlan>, HttpProblem> {
    let now = (server.host.now)();
    let pruned = session::retain(&store(server)?, UpkeepMode::Dry, now)?;
    Ok(RetentionPlan {
        v: DocumentVersion,
        would_go: pruned.map(|pruned| pruned.report),
    }
    .into())
}

pub(super) fn cleanup(
    server: &Server,
    (): &(),
    body: &CleanupBody,
) -> Result<ApiAnswer<CleanupReport>, HttpProblem> {
    let (store, now) = (store(server)?, (server.host.now)());
    let mode = UpkeepMode::of(!body.dry_run);
    let cleaned = session::cleanup(&store, hours(body.stale_hours), mode, now);
    Ok(cleaned.map_err(Error::record)?.report.into())
}
