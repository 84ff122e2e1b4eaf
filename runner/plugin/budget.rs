//! [`MemoryBudget`]: what the guests of one executor may hold together, where not all of them can have all that they may.
//!
//! An attempt is admitted with less than its limit, as much as others of its provider have held. What it grows beyond that
//! comes from the rest of the budget, and where there is none it waits, as does whoever is to be admitted. So that they
//! never all wait for each other, something is given away only if all can still end one after the other, the oldest first,
//! each with all that it may have (this is the banker's algorithm with the order fixed). So the oldest never waits.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use super::clock::Moment;

/// The memory of one executor's guests; its clones are one.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Mutex<Ledger>>);

/// What one attempt holds of a budget; it is given back when this is dropped.
#[derive(Debug)]
pub struct MemoryLease {
    budget: MemoryBudget,
    id: u64,
}

/// Who holds how much. All sizes are in bytes.
#[derive(Debug)]
struct Ledger {
    free: u64,
    /// The oldest first.
    tenants: BTreeMap<u64, Tenant>,
    next: u64,
    /// Whether it was said that somebody waits.
    is_told: bool,
}

#[derive(Debug)]
struct Tenant {
    held: u64,
    /// What it may have in all.
    limit: u64,
    /// How much it wants to hold, and since when.
    wanted: Option<(u64, Moment)>,
    waker: Option<Waker>,
    /// How long it has waited after it was admitted.
    waited: Duration,
    is_admitted: bool,
}

impl MemoryBudget {
    /// A budget of so many bytes, of which nobody has any.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(Ledger {
            free: bytes,
            tenants: BTreeMap::new(),
            next: 0,
            is_told: false,
        })))
    }

    /// Waits until there are `reserved` bytes for an attempt that may hold `limit`. Who asks first is admitted first.
    pub async fn admit(&self, reserved: u64, limit: u64) -> MemoryLease {
        let lease = MemoryLease {
            id: self.lock().join(reserved, limit),
            budget: self.clone(),
        };
        lease.granted().await;
        lease
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // What is changed under the lock is changed whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryLease {
    /// Waits until so many bytes in all are the attempt's own; it never has less than before.
    pub(super) async fn hold(&self, bytes: u64) {
        self.budget.lock().want(self.id, bytes);
        self.granted().await;
    }

    /// How long the attempt has waited since it was admitted.
    pub(super) fn waited(&self) -> Duration {
        let ledger = self.budget.lock();
        let Some(tenant) = ledger.tenants.get(&self.id) else {
            return Duration::ZERO;
        };
        let since = tenant.wanted.filter(|_| tenant.is_admitted);
        tenant.waited + since.map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }

    async fn granted(&self) {
        poll_fn(|context| {
            let mut ledger = self.budget.lock();
            match ledger.tenants.get_mut(&self.id) {
                Some(tenant) if tenant.wanted.is_some() => {
                    tenant.waker = Some(context.waker().clone());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
    }
}

impl Drop for MemoryLease {
    fn drop(&mut self) {
        self.budget.lock().leave(self.id);
    }
}

impl Ledger {
    fn join(&mut self, reserved: u64, limit: u64) -> u64 {
        let all = self.free + self.held();
        let id = self.next;
        self.next += 1;
        let tenant = Tenant {
            held: 0,
            // Nobody can have more than there is.
            limit: limit.min(all),
            wanted: Some((reserved.min(limit).min(all), Moment::now())),
            waker: None,
            waited: Duration::ZERO,
            is_admitted: false,
        };
        self.tenants.insert(id, tenant);
        self.settle();
        id
    }

    fn want(&mut self, id: u64, bytes: u64) {
        let Some(tenant) = self.tenants.get_mut(&id) else {
            return;
        };
        let bytes = bytes.min(tenant.limit);
        if bytes > tenant.held {
            tenant.wanted = Some((bytes, Moment::now()));
            self.settle();
        }
    }

    fn leave(&mut self, id: u64) {
        if let Some(tenant) = self.tenants.remove(&id) {
            self.free += tenant.held;
            self.settle();
        }
    }

    /// Gives those that wait what they can have, the oldest first: who is younger does not overtake.
    fn settle(&mut self) {
        while let Some((id, wanted)) = self.first_waiting() {
            if !self.is_safe_with(id, wanted) {
                self.tell();
                return;
            }
            self.grant(id);
        }
    }

    fn first_waiting(&self) -> Option<(u64, u64)> {
        let mut tenants = self.tenants.iter();
        tenants.find_map(|(id, tenant)| Some((*id, tenant.wanted?.0)))
    }

    /// Tells whether all could still end one after the other, each with all that it may have, if one held so much.
    fn is_safe_with(&self, id: u64, wanted: u64) -> bool {
        let held = |of: u64, tenant: &Tenant| if of == id { wanted } else { tenant.held };
        let before = self.tenants.get(&id).map_or(0, |tenant| tenant.held);
        let Some(mut free) = self.free.checked_sub(wanted - before) else {
            return false;
        };
        self.tenants.iter().all(|(of, tenant)| {
            let held = held(*of, tenant);
            let is_served = tenant.limit.saturating_sub(held) <= free;
            free += held;
            is_served
        })
    }

    fn grant(&mut self, id: u64) {
        let Some(tenant) = self.tenants.get_mut(&id) else {
            return;
        };
        if let Some((wanted, since)) = tenant.wanted.take() {
            self.free -= wanted - tenant.held;
            tenant.held = wanted;
            if tenant.is_admitted {
                tenant.waited += since.elapsed();
            }
            tenant.is_admitted = true;
        }
        if let Some(waker) = tenant.waker.take() {
            waker.wake();
        }
    }

    fn held(&self) -> u64 {
        self.tenants.values().map(|tenant| tenant.held).sum()
    }

    fn tell(&mut self) {
        if !self.is_told {
            self.is_told = true;
            let held = self.tenants.values().filter(|tenant| tenant.is_admitted);
            tracing::info!(
                "attempts wait for memory: {} hold all of it that the run may use, or may come to",
                held.count()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::{MemoryBudget, MemoryLease};

    /// What is free, and what each tenant has and wants, the oldest first.
    fn books(budget: &MemoryBudget) -> (u64, Vec<(u64, Option<u64>)>) {
        let ledger = budget.lock();
        let tenants = ledger.tenants.values();
        let tenants = tenants.map(|tenant| (tenant.held, tenant.wanted.map(|(wanted, _)| wanted)));
        (ledger.free, tenants.collect())
    }

    fn admitted(budget: &MemoryBudget, reserved: u64, limit: u64) -> MemoryLease {
        budget
            .admit(reserved, limit)
            .now_or_never()
            .expect("it has room")
    }

    #[test]
    fn what_reserves_its_limit_is_admitted_as_often_as_the_limit_fits() {
        let budget = MemoryBudget::new(250);
        let first = admitted(&budget, 100, 100);
        let _second = admitted(&budget, 100, 100);
        assert!(budget.admit(100, 100).now_or_never().is_none());
        // Who gave up waiting is not there any more.
        assert_eq!(books(&budget), (50, vec![(100, None), (100, None)]));
        drop(first);
        assert!(budget.admit(100, 100).now_or_never().is_some());
    }

    #[test]
    fn growth_waits_for_memory_and_the_oldest_never_does() {
        let budget = MemoryBudget::new(100);
        let oldest = admitted(&budget, 10, 60);
        let second = admitted(&budget, 10, 60);
        let third = admitted(&budget, 10, 60);
        // What the oldest may yet want is not given away.
        let mut growing = Box::pin(third.hold(40));
        assert!(growing.as_mut().now_or_never().is_none());
        assert!(oldest.hold(60).now_or_never().is_some());
        assert!(third.waited() < Duration::from_secs(3600));
        assert_eq!(
            books(&budget),
            (20, vec![(60, None), (10, None), (10, Some(40))])
        );
        drop(oldest);
        assert!(growing.as_mut().now_or_never().is_some());
        drop(growing);
        // Nobody has more than its limit, whatever it asks for, nor less than before.
        assert!(second.hold(20).now_or_never().is_some());
        assert!(second.hold(5).now_or_never().is_some());
        assert_eq!(books(&budget), (40, vec![(20, None), (40, None)]));
    }

    #[test]
    fn an_attempt_that_waits_to_be_admitted_has_not_waited_yet() {
        let budget = MemoryBudget::new(100);
        let first = admitted(&budget, 100, 100);
        let mut waiting = Box::pin(budget.admit(50, 100));
        assert!(waiting.as_mut().now_or_never().is_none());
        std::thread::sleep(Duration::from_millis(20));
        drop(first);
        let lease = waiting.now_or_never().expect("it has room");
        assert_eq!(lease.waited(), Duration::ZERO);
    }

    /// A few numbers that look random.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 33) % end
        }
    }

    /// Whatever attempts want, and in whatever order: no more is held than there is, the oldest is served at once, and all
    /// come to their ends.
    #[test]
    fn whatever_attempts_want_the_oldest_is_served_and_all_come_to_an_end() {
        for seed in 0..500 {
            let mut numbers = Numbers(seed);
            let total = 50 + numbers.below(200);
            let budget = MemoryBudget::new(total);
            // Each with its limit and whether it waits.
            let mut leases: Vec<(MemoryLease, u64)> = Vec::new();
            for _ in 0..200 {
                match numbers.below(4) {
                    0 => {
                        let limit = 1 + numbers.below(total);
                        let reserved = numbers.below(limit + 1);
                        let lease = budget.admit(reserved, limit).now_or_never();
                        assert!(lease.is_some() || !leases.is_empty(), "the first waits");
                        leases.extend(lease.map(|lease| (lease, limit)));
                    }
                    1 if !leases.is_empty() => {
                        let index = numbers.below(leases.len() as u64) as usize;
                        let (lease, limit) = &leases[index];
                        let wanted = numbers.below(limit + 1);
                        // It stays in the books when nobody polls it: as a guest whose thread has more to do.
                        let is_served = lease.hold(wanted).now_or_never().is_some();
                        assert!(is_served || index > 0, "the oldest waits");
                    }
                    2 if !leases.is_empty() => {
                        leases.swap_remove(numbers.below(leases.len() as u64) as usize);
                        leases.sort_by_key(|(lease, _)| lease.id);
                    }
                    _ => {}
                }
                let (free, tenants) = books(&budget);
                let held: u64 = tenants.iter().map(|(held, _)| held).sum();
                assert_eq!(free + held, total);
            }
            // Each takes all that it may have, and ends.
            for (lease, limit) in leases {
                assert!(
                    lease.hold(limit).now_or_never().is_some(),
                    "the oldest waits"
                );
            }
            assert_eq!(books(&budget), (total, Vec::new()));
        }
    }
}
