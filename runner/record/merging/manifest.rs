//! The manifest of a merged run, made of those of its shards and of nothing else: the same shards are the same bytes.

use std::collections::BTreeSet;

use super::{look::ShardRun, places::TrialPlaces};
use crate::{
    model::{Counts, Reason, RunStatus, Stage, Verdict, add_to_ranges},
    record::{
        Rerun, RunId,
        format::{
            manifest::{Manifest, ManifestSession, Others, Transition},
            manifest_parts::Metadata,
            shard::{ManifestSource, SessionOrigin},
        },
    },
};

/// Who writes the transitions of a merged run.
const WRITER: &str = "merge";

/// How far the sessions and the rows of the shards before one have come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offset {
    pub(super) sessions: u32,
    pub(super) rows: u64,
}

/// The manifest of a run, called `id`, of these shards in their order; `places` has for each of them the places that its trials
/// have in the whole plan, and `offsets` where its sessions and rows begin.
///
/// # Panics
///
/// If there is no shard.
pub(super) fn merged(
    id: &RunId,
    shards: &[&ShardRun],
    places: &[&TrialPlaces],
    offsets: &[Offset],
    merged_from: Vec<ManifestSource>,
) -> Manifest {
    let first = shards.first().expect("there is a shard");
    let manifests = || shards.iter().map(|shard| &shard.manifest);
    let mut counts = Counts::default();
    for shard in shards {
        counts += shard.counts();
    }
    counts.planned = first.info.planned_test_count;
    let is_whole = counts.done() == counts.planned;
    let status = match is_whole {
        true => RunStatus::Completed,
        false => RunStatus::Incomplete,
    };
    let reason = (!is_whole).then_some(Reason::Holes);
    let started_at = manifests().map(|manifest| manifest.started_at).min();
    let started_at = started_at.unwrap_or(first.manifest.started_at);
    let completed_at = manifests()
        .filter_map(|manifest| manifest.completed_at)
        .max();
    let completed_at = completed_at.unwrap_or(started_at);
    let sessions = shards.iter().zip(places).zip(offsets);
    let sessions = sessions.flat_map(|((shard, places), offset)| {
        let sessions = shard.manifest.sessions.iter();
        sessions.map(|own| session(own, shard, places, *offset))
    });
    let transition = |at, from, to, reason| Transition {
        at,
        from,
        to,
        reason,
        signal: None,
        writer: WRITER.to_owned(),
        by: None,
        others: Others::new(),
    };
    let running = RunStatus::Running;
    let content: BTreeSet<_> = manifests()
        .flat_map(|manifest| manifest.content.iter().copied())
        .collect();
    let mut selection = first.manifest.selection.clone();
    if let Some(selection) = selection.as_object_mut() {
        selection.remove("shard");
    }
    Manifest {
        format: manifests()
            .map(|manifest| manifest.format)
            .max()
            .unwrap_or(first.manifest.format),
        run_id: id.to_string(),
        created_at: manifests()
            .map(|manifest| manifest.created_at)
            .min()
            .unwrap_or(started_at),
        metadata: Metadata {
            planned_test_count: first.info.planned_test_count,
            plan_digest: first.info.plan_digest,
            suite: first.info.suite,
        },
        shard: None,
        merged_from,
        content: content.into_iter().collect(),
        selection,
        status,
        reason,
        signal: None,
        stage: match is_whole {
            true => Stage::Finish,
            false => Stage::Run,
        },
        verdict: match is_whole {
            true => counts.verdict(),
            false => Verdict::None,
        },
        counts: counts.into(),
        started_at,
        completed_at: Some(completed_at),
        sessions: sessions.collect(),
        transitions: vec![
            transition(started_at, None, running, None),
            transition(completed_at, Some(running), status, reason),
        ],
        pinned: None,
        request: None,
        ..first.manifest.clone()
    }
}

/// A session of a shard as one of the merged run.
fn session(
    own: &ManifestSession,
    shard: &ShardRun,
    places: &TrialPlaces,
    offset: Offset,
) -> ManifestSession {
    let place = |ordinal: u64| places.of(ordinal);
    // What counts otherwise in a shard than in the whole is said as the trials that it meant.
    let rerun = own.rerun.as_ref().map(|text| match text.parse() {
        Ok(unchanged @ (Rerun::Judgements | Rerun::Damaged)) => unchanged.to_string(),
        _ => {
            let mut reopened = shard
                .reopened
                .iter()
                .filter(|(session, _)| *session == own.n);
            let ranges = reopened.next().map_or(&[][..], |(_, ranges)| ranges);
            let ordinals = ranges.iter().cloned().flatten().filter_map(place);
            let mut ranges = Vec::new();
            ordinals.for_each(|ordinal| add_to_ranges(&mut ranges, ordinal));
            Rerun::Changed(ranges).to_string()
        }
    });
    let placed = |numbers: &[(u64, u32)]| {
        let numbers = numbers.iter();
        let placed = numbers.filter_map(|(ordinal, other)| Some((place(*ordinal)?, *other)));
        placed.collect()
    };
    ManifestSession {
        n: own.n.saturating_add(offset.sessions),
        from_seq: own.from_seq.saturating_add(offset.rows),
        rerun,
        origin: Some(SessionOrigin {
            run_id: shard.manifest.run_id.clone(),
            session: own.n,
            from_seq: own.from_seq,
        }),
        in_flight: placed(&own.in_flight),
        grading: placed(&own.grading),
        ..own.clone()
    }
}
