//! [`PrunePolicy`]: which runs `prune` is asked to delete. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    model::{Digest, RunStatus},
    record::disk::layout::RunId,
};

/// Which runs are to go: those that any of these names.
#[derive(Clone, Debug, Default)]
pub struct PrunePolicy {
    /// These, whatever the rest says.
    pub runs: BTreeSet<RunId>,
    /// The rest speaks of runs with one of these statuses alone; of all, if there is none here. Where there is no rest, they
    /// all go.
    pub statuses: Vec<RunStatus>,
    /// Those that ended longer ago than this.
    pub older_than: Option<Duration>,
    /// All but so many of the newest that the policy speaks of.
    pub keep_last: Option<usize>,
    /// The oldest, until what is left is not larger than this.
    pub max_bytes: Option<u64>,
}

/// Why a run is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Somebody named it.
    Named,
    /// It has the status that was asked for.
    Status,
    /// It ended too long ago.
    Old,
    /// There are enough newer ones.
    Surplus,
    /// The results are too large.
    Size,
}

impl Why {
    /// The word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Status => "status",
            Self::Old => "older-than",
            Self::Surplus => "keep-last",
            Self::Size => "max-size",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What decides whether a run goes.
#[derive(Clone, Debug)]
pub(in crate::record) struct Candidate {
    pub(in crate::record) id: RunId,
    pub(in crate::record) status: RunStatus,
    /// When it ended.
    pub(in crate::record) ended: Timestamp,
    /// Whether it stays whatever the policy says.
    pub(in crate::record) is_spared: bool,
    /// How large its directory is.
    pub(in crate::record) bytes: u64,
    /// What it needs of the content store.
    pub(in crate::record) content: BTreeSet<Digest>,
}

impl PrunePolicy {
    /// Says of every run, newest first, why it is to go; nothing if it stays.
    ///
    /// `sizes` are those of the entries of the content store. Of runs that are spared it says what it would say of others,
    /// except that the size is no reason for them.
    pub(in crate::record) fn reasons(
        &self,
        runs: &[Candidate],
        sizes: &HashMap<Digest, u64>,
        now: Timestamp,
    ) -> Vec<Vec<Why>> {
        let mut newer = 0;
        let mut reasons: Vec<Vec<Why>> = Vec::with_capacity(runs.len());
        for run in runs {
            reasons.push(self.own_reasons(newer, run, now));
            newer += usize::from(self.speaks_of(run));
        }
        if let Some(max_bytes) = self.max_bytes {
            self.shrink(runs, sizes, max_bytes, &mut reasons);
        }
        reasons
    }

    /// The reasons that do not depend on other runs' sizes; `newer` runs that the policy speaks of come before this one.
    fn own_reasons(&self, newer: usize, run: &Candidate, now: Timestamp) -> Vec<Why> {
        let is_named = self.runs.contains(&run.id);
        let speaks = self.speaks_of(run);
        let age = Duration::try_from(now.duration_since(run.ended)).unwrap_or_default();
        let is_old = speaks && self.older_than.is_some_and(|limit| age > limit);
        let is_surplus = speaks && self.keep_last.is_some_and(|count| newer >= count);
        let has_status = speaks && !self.statuses.is_empty() && !self.has_rule();
        [
            (is_named, Why::Named),
            (has_status, Why::Status),
            (is_old, Why::Old),
            (is_surplus, Why::Surplus),
        ]
        .into_iter()
        .filter_map(|(holds, why)| holds.then_some(why))
        .collect()
    }

    fn speaks_of(&self, run: &Candidate) -> bool {
        self.statuses.is_empty() || self.statuses.contains(&run.status)
    }

    /// Tells whether it names any runs, or says anything of them.
    pub fn says_anything(&self) -> bool {
        !self.runs.is_empty() || !self.statuses.is_empty() || self.has_rule()
    }

    /// Tells whether there is more than names and statuses.
    fn has_rule(&self) -> bool {
        self.older_than.is_some() || self.keep_last.is_some() || self.max_bytes.is_some()
    }

    /// Lets the oldest runs go until the rest fits.
    fn shrink(
        &self,
        runs: &[Candidate],
        sizes: &HashMap<Digest, u64>,
        max_bytes: u64,
        reasons: &mut [Vec<Why>],
    ) {
        let stays =
            |(run, reasons): &(&Candidate, &mut Vec<Why>)| run.is_spared || reasons.is_empty();
        let mut left = Left::new(sizes);
        for (run, _) in runs.iter().zip(reasons.iter_mut()).filter(stays) {
            left.add(run);
        }
        for (run, reasons) in runs.iter().zip(reasons.iter_mut()).filter(stays).rev() {
            if left.bytes <= max_bytes {
                break;
            }
            if !run.is_spared && self.speaks_of(run) {
                reasons.push(Why::Size);
                left.remove(run);
            }
        }
    }
}

/// How large the runs that are left are, with what they share.
struct Left<'a> {
    sizes: &'a HashMap<Digest, u64>,
    bytes: u64,
    users: HashMap<Digest, u64>,
}

impl<'a> Left<'a> {
    fn new(sizes: &'a HashMap<Digest, u64>) -> Self {
        Self {
            sizes,
            bytes: 0,
            users: HashMap::new(),
        }
    }

    fn add(&mut self, run: &Candidate) {
        self.bytes += run.bytes;
        for digest in &run.content {
            let users = self.users.entry(*digest).or_default();
            if *users == 0 {
                self.bytes += self.sizes.get(digest).copied().unwrap_or_default();
            }
            *users += 1;
        }
    }

    fn remove(&mut self, run: &Candidate) {
        self.bytes -= run.bytes;
        for digest in &run.content {
            let users = self.users.entry(*digest).or_default();
            *users = users.saturating_sub(1);
            if *users == 0 {
                self.bytes -= self.sizes.get(digest).copied().unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use jiff::{SignedDuration, Timestamp};

    use super::{Candidate, PrunePolicy, Why};
    use crate::{
        model::{Digest, RunStatus},
        record::disk::layout::RunId,
    };

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const SHARED: u64 = 1000;

    /// Four runs of 100 bytes, 0 to 3 days old, which share 1000 bytes; the oldest alone has 50 more.
    fn reasons(policy: &PrunePolicy, spared: &[usize]) -> Vec<Vec<Why>> {
        let now: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
        let (shared, own) = (Digest::of(b"shared"), Digest::of(b"own"));
        let runs: Vec<Candidate> = (0..4)
            .map(|days| Candidate {
                id: RunId::of_directory(&format!("run-{days}")),
                status: [RunStatus::Completed, RunStatus::Cancelled][days % 2],
                ended: now - SignedDuration::from_hours(24 * days as i64),
                is_spared: spared.contains(&days),
                bytes: 100,
                content: [shared]
                    .into_iter()
                    .chain((days == 3).then_some(own))
                    .collect(),
            })
            .collect();
        let sizes = HashMap::from([(shared, SHARED), (own, 50)]);
        policy.reasons(&runs, &sizes, now)
    }

    #[test]
    fn no_policy_names_no_run() {
        assert_eq!(reasons(&PrunePolicy::default(), &[]), [[]; 4]);
    }

    #[test]
    fn a_run_goes_if_any_policy_names_it() {
        let policy = PrunePolicy {
            older_than: Some(DAY),
            keep_last: Some(3),
            ..PrunePolicy::default()
        };
        let expected = [vec![], vec![], vec![Why::Old], vec![Why::Old, Why::Surplus]];
        assert_eq!(reasons(&policy, &[]), expected);
        // Those that stay anyway count among the newest as well.
        assert_eq!(reasons(&policy, &[0, 1, 2, 3]), expected);
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits_with_what_it_shares() {
        let going = |max_bytes, spared: &[usize]| {
            let policy = PrunePolicy {
                max_bytes: Some(max_bytes),
                ..PrunePolicy::default()
            };
            let is_going = |reasons: Vec<Why>| reasons == [Why::Size];
            reasons(&policy, spared)
                .into_iter()
                .map(is_going)
                .collect::<Vec<_>>()
        };
        assert_eq!(going(SHARED + 450, &[]), [false; 4]);
        assert_eq!(going(SHARED + 449, &[]), [false, false, false, true]);
        assert_eq!(going(SHARED + 300, &[]), [false, false, false, true]);
        assert_eq!(going(SHARED + 100, &[]), [false, true, true, true]);
        assert_eq!(going(99, &[]), [true; 4]);
        assert_eq!(going(0, &[1, 3]), [true, false, true, false]);
    }

    #[test]
    fn a_status_narrows_the_rest_and_without_a_rest_names_all_that_have_it() {
        let cancelled = PrunePolicy {
            statuses: vec![RunStatus::Cancelled],
            ..PrunePolicy::default()
        };
        let named = |policy: &PrunePolicy, why: Why| {
            let is_going = |reasons: Vec<Why>| reasons == [why];
            let reasons = reasons(policy, &[]);
            reasons.into_iter().map(is_going).collect::<Vec<_>>()
        };
        assert_eq!(named(&cancelled, Why::Status), [false, true, false, true]);
        let newest = PrunePolicy {
            keep_last: Some(1),
            ..cancelled.clone()
        };
        assert_eq!(named(&newest, Why::Surplus), [false, false, false, true]);
        let old = PrunePolicy {
            older_than: Some(2 * DAY),
            ..cancelled.clone()
        };
        assert_eq!(named(&old, Why::Old), [false, false, false, true]);
        let large = PrunePolicy {
            max_bytes: Some(0),
            ..cancelled
        };
        assert_eq!(named(&large, Why::Size), [false, true, false, true]);
    }

    #[test]
    fn a_run_that_is_named_goes_and_no_other() {
        let policy = PrunePolicy {
            runs: [RunId::of_directory("run-2")].into(),
            ..PrunePolicy::default()
        };
        let expected = [vec![], vec![], vec![Why::Named], vec![]];
        assert_eq!(reasons(&policy, &[]), expected);
    }

    #[test]
    fn a_run_that_ended_in_the_future_is_not_old() {
        let now: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
        let run = Candidate {
            id: RunId::of_directory("run"),
            status: RunStatus::Completed,
            ended: now + SignedDuration::from_hours(1),
            is_spared: false,
            bytes: 1,
            content: [].into(),
        };
        let policy = PrunePolicy {
            older_than: Some(Duration::ZERO),
            ..PrunePolicy::default()
        };
        assert_eq!(policy.reasons(&[run], &HashMap::new(), now), [[]]);
    }
}
