//! [`Backoff`]: how long to wait between two attempts.

use std::time::Duration;

/// How long to wait before each next attempt: twice as long as before, and then a part of that by chance, so that many who
/// have failed together do not come back together.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// Waits of about `first`, and of `most` in the end.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// How long to wait this time.
    pub fn wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.most);
        // From a half to the whole.
        let chance = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        whole.mul_f64(0.5 + chance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn waits_grow_to_the_longest_and_differ_by_chance() {
        let millis = Duration::from_millis;
        let mut differ = false;
        for _ in 0..20 {
            let mut backoff = Backoff::new(millis(100), millis(800));
            for whole in [100, 200, 400, 800, 800] {
                let wait = backoff.wait();
                assert!(
                    millis(whole / 2) <= wait && wait <= millis(whole),
                    "{wait:?}"
                );
                differ |= wait != millis(whole);
            }
        }
        assert!(differ);
    }
}
