//! [`Policy`]: which runs `prune` is asked to delete. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    time::Duration,
};

use jiff::Timestamp;

use crate::model::Digest;

/// Which runs are to go: those that any of these names.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Those that ended longer ago than this.
    pub older_than: Option<Duration>,
    /// All but so many of the newest.
    pub keep_last: Option<usize>,
    /// The oldest, until what is left is not larger than this.
    pub max_bytes: Option<u64>,
}

/// Why a run is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
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
pub(super) struct Candidate {
    /// When it ended.
    pub(super) ended: Timestamp,
    /// Whether it stays whatever the policy says.
    pub(super) is_spared: bool,
    /// How large its directory is.
    pub(super) bytes: u64,
    /// What it needs of the content store.
    pub(super) content: BTreeSet<Digest>,
}

impl Policy {
    /// Says of every run, newest first, why it is to go; nothing if it stays.
    ///
    /// `sizes` are those of the entries of the content store. Of runs that are spared it says what it would say of others,
    /// except that the size is no reason for them.
    pub(super) fn reasons(
        &self,
        runs: &[Candidate],
        sizes: &HashMap<Digest, u64>,
        now: Timestamp,
    ) -> Vec<Vec<Why>> {
        let mut reasons: Vec<Vec<Why>> = runs
            .iter()
            .enumerate()
            .map(|(place, run)| self.own_reasons(place, run, now))
            .collect();
        if let Some(max_bytes) = self.max_bytes {
            shrink(runs, sizes, max_bytes, &mut reasons);
        }
        reasons
    }

    /// The reasons that do not depend on other runs' sizes.
    fn own_reasons(&self, place: usize, run: &Candidate, now: Timestamp) -> Vec<Why> {
        let age = Duration::try_from(now.duration_since(run.ended)).unwrap_or_default();
        let is_old = self.older_than.is_some_and(|limit| age > limit);
        let is_surplus = self.keep_last.is_some_and(|count| place >= count);
        [(is_old, Why::Old), (is_surplus, Why::Surplus)]
            .into_iter()
            .filter_map(|(holds, why)| holds.then_some(why))
            .collect()
    }
}

/// Lets the oldest runs go until the rest fits.
fn shrink(
    runs: &[Candidate],
    sizes: &HashMap<Digest, u64>,
    max_bytes: u64,
    reasons: &mut [Vec<Why>],
) {
    let stays = |(run, reasons): &(&Candidate, &mut Vec<Why>)| run.is_spared || reasons.is_empty();
    let mut left = Left::new(sizes);
    for (run, _) in runs.iter().zip(reasons.iter_mut()).filter(stays) {
        left.add(run);
    }
    for (run, reasons) in runs.iter().zip(reasons.iter_mut()).filter(stays).rev() {
        if left.bytes <= max_bytes {
            break;
        }
        if !run.is_spared {
            reasons.push(Why::Size);
            left.remove(run);
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

    use super::{Candidate, Policy, Why};
    use crate::model::Digest;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const SHARED: u64 = 1000;

    /// Four runs of 100 bytes, 0 to 3 days old, which share 1000 bytes; the oldest alone has 50 more.
    fn reasons(policy: &Policy, spared: &[usize]) -> Vec<Vec<Why>> {
        let now: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
        let (shared, own) = (Digest::of(b"shared"), Digest::of(b"own"));
        let runs: Vec<Candidate> = (0..4)
            .map(|days| Candidate {
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
        assert_eq!(reasons(&Policy::default(), &[]), [[]; 4]);
    }

    #[test]
    fn a_run_goes_if_any_policy_names_it() {
        let policy = Policy {
            older_than: Some(DAY),
            keep_last: Some(3),
            max_bytes: None,
        };
        let expected = [vec![], vec![], vec![Why::Old], vec![Why::Old, Why::Surplus]];
        assert_eq!(reasons(&policy, &[]), expected);
        // Those that stay anyway count among the newest as well.
        assert_eq!(reasons(&policy, &[0, 1, 2, 3]), expected);
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits_with_what_it_shares() {
        let going = |max_bytes, spared: &[usize]| {
            let policy = Policy {
                max_bytes: Some(max_bytes),
                ..Policy::default()
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
    fn a_run_that_ended_in_the_future_is_not_old() {
        let now: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
        let run = Candidate {
            ended: now + SignedDuration::from_hours(1),
            is_spared: false,
            bytes: 1,
            content: [].into(),
        };
        let policy = Policy {
            older_than: Some(Duration::ZERO),
            ..Policy::default()
        };
        assert_eq!(policy.reasons(&[run], &HashMap::new(), now), [[]]);
    }
}
