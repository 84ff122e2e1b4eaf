//! Owners and probes.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use runner_model::Time;

use super::{Lock, is_held};
use crate::{
    RecordError,
    disk::{beneath::Dir, fault::now},
    tests::{dead_run, folder},
};

#[test]
fn lock_names_its_owner_until_dropped() {
    let folder = folder();
    let dir = Dir::open(folder.path()).unwrap();
    assert!(!is_held(&dir), "a missing lock is free");
    let begun = now();
    let lock = Lock::take(&dir, "r").unwrap();
    assert!(is_held(&dir));
    let error = Lock::take(&dir, "r").unwrap_err();
    let pid = std::process::id();
    assert!(matches!(&error, RecordError::Held { holder, .. } if holder.pid == pid), "{error}");
    let message = error.to_string();
    assert!(message.contains(&format!("process {pid} on ")), "{message}");
    // Midnight may have passed since.
    let is_since = |time: Time| message.contains(&format!(" since {}", &time.to_string()[..11]));
    assert!(is_since(begun) || is_since(now()), "{message}");
    let path = folder.path().join("lock");
    assert_eq!(fs::metadata(&path).unwrap().len(), super::RESERVE);
    lock.release_reserve();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(&format!("pid {pid}\nhost ")), "{text}");
    drop(lock);
    assert!(!is_held(&dir));
    Lock::take(&dir, "r").unwrap();
    assert_ne!(fs::read_to_string(&path).unwrap(), text, "each holding has its own token");
}

#[test]
fn a_lock_that_was_replaced_is_taken_anew() {
    let folder = folder();
    let dir = Dir::open(folder.path()).unwrap();
    let first = Lock::take(&dir, "r").unwrap();
    fs::remove_file(folder.path().join("lock")).unwrap();
    assert!(super::check(&dir, &first.stamp).is_err());
    let second = Lock::take(&dir, "r").unwrap();
    super::check(&dir, &second.stamp).unwrap();
    drop(first);
    assert!(is_held(&dir));
}

#[test]
fn lock_that_is_not_a_file_is_free() {
    let folder = folder();
    let dir = Dir::open(folder.path()).unwrap();
    fs::create_dir(folder.path().join("lock")).unwrap();
    assert!(!is_held(&dir));
    let error = Lock::take(&dir, "r").unwrap_err().to_string();
    assert!(error.contains("folder"), "{error}");
}

#[test]
fn claim_succeeds_while_readers_probe() {
    let folder = folder();
    let (root, run) = dead_run(folder.path(), 2, 1);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    run.truth().unwrap();
                }
            });
        }
        for _ in 0..50 {
            drop(root.claim(&run).unwrap());
        }
        is_over.store(true, Ordering::Relaxed);
    });
}
