//! The rules by which the other end of a link is dead.

use std::time::{Duration, Instant};

use super::{LifeSigns, absent_for, encode};
use crate::wire::{Control, ExitDocument, MAX_DOCUMENT, Role};

const CONNECTED: Option<Duration> = Some(Duration::from_secs(3_600));

/// Checks every second, with pieces and "no responders" at the seconds for which the functions hold. Returns the second of death.
fn death(
    role: Role,
    connected: impl Fn(u64) -> Option<Duration>,
    piece: impl Fn(u64) -> bool,
    no_responders: impl Fn(u64) -> bool,
) -> Option<u64> {
    let start = Instant::now();
    let mut life = LifeSigns::new(absent_for(role), start);
    (0..200).find(|second| {
        let now = start + Duration::from_secs(*second);
        if piece(*second) {
            life.piece(now);
        }
        if no_responders(*second) {
            life.no_responders(now);
        }
        life.check(now, connected(*second)).is_err()
    })
}

#[test]
fn absent_worker_is_dead_after_four_seconds() {
    let absent = |second: u64| second >= 20 && second.is_multiple_of(2);
    let died = death(Role::Coordinator, |_| CONNECTED, |second| second < 20, absent);
    assert_eq!(died, Some(24));
}

#[test]
fn absent_coordinator_is_dead_after_fifteen_seconds() {
    let died = death(Role::Worker, |_| CONNECTED, |second| second < 20, |second| second >= 20);
    assert_eq!(died, Some(35));
}

#[test]
fn silent_end_is_dead_after_a_minute() {
    let died = death(Role::Worker, |_| CONNECTED, |second| second <= 20, |_| false);
    assert_eq!(died, Some(80));
}

#[test]
fn single_refused_piece_proves_no_death() {
    let died = death(Role::Coordinator, |_| CONNECTED, |second| second < 10, |second| second == 11);
    assert_eq!(died, Some(69));
}

#[test]
fn returning_worker_is_not_dead() {
    let absent = |second: u64| second % 10 >= 7;
    assert_eq!(death(Role::Coordinator, |_| CONNECTED, |second| !absent(second), absent), None);
}

#[test]
fn nothing_counts_until_ten_seconds_after_the_connection() {
    // Disconnected from second 20 to 120, and the worker returns 9 s after that.
    let connected = |second| match second {
        0..20 => CONNECTED,
        20..120 => None,
        _ => Some(Duration::from_secs(second - 120)),
    };
    let (piece, absent) =
        (|second| !(20..129).contains(&second), |second| (120..129).contains(&second));
    assert_eq!(death(Role::Coordinator, connected, piece, absent), None);
    let died = death(Role::Coordinator, connected, |second| second < 20, |second| second >= 120);
    assert_eq!(died, Some(130));
}

#[test]
fn stopped_process_reads_before_it_judges() {
    let start = Instant::now();
    let mut life = LifeSigns::new(absent_for(Role::Coordinator), start);
    life.no_responders(start);
    let later = start + Duration::from_secs(300);
    assert_eq!(life.check(later, CONNECTED), Ok(()));
    assert_eq!(life.absence(), Duration::ZERO);
}

#[test]
fn longest_control_message_fits_a_piece() {
    let exit = ExitDocument {
        started: vec![(u64::MAX, u64::MAX); 4_096],
        died: false,
        stuck: Some(u64::MAX),
        how: "\u{10ffff}\"\\\n".repeat(10_000),
    };
    for control in [Control::Exited(exit), Control::Declined("\u{1f600}\"".repeat(50_000))] {
        let document = encode(control);
        assert!((1..=MAX_DOCUMENT).contains(&document.len()), "{}", document.len());
        assert!(serde_json::from_slice::<Control>(&document).is_ok());
    }
}
