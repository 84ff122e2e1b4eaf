//! The session in which graders speak of stored outputs, and no provider runs: it can be stopped, and it is bounded, as any
//! other.

use std::{
    cell::RefCell,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use super::pass::RescorePass;
use crate::{
    error::Error,
    record::{Claim, Conclusion, History, Opening, Rerun, Store},
    run::{Event, Plan},
    session::{Host, Notice, Observe, live::Live, set_up::SettingUp},
    toolchain::Source,
};

/// How often it is told how far graders have come.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Lets the graders of `plan` speak of what a pass finds, and blocks until the session is over.
///
/// # Errors
///
/// Fails if no session can begin.
pub(super) fn grade(
    claim: Claim,
    history: History,
    plan: &Plan,
    pass: RescorePass,
    (store, host): (&Store, &Host),
    observe: &mut dyn Observe,
) -> Result<(Conclusion, RescorePass), Error> {
    let before = claim.manifest().clone();
    let opening = Opening {
        now: (host.now)(),
        opened_by: "rescore",
        rerun: Some(Rerun::Judgements),
        is_forced: false,
        counts: history.state.counts(),
        options: before.options.clone(),
        replanned: None,
        is_judged_apart: true,
    };
    let pass = Rc::new(RefCell::new(pass));
    let backlog = Rc::clone(&pass);
    let backlog = std::iter::from_fn(move || backlog.borrow_mut().next_unjudged());
    let mut watching = GradingWatch {
        pass: &pass,
        observe,
        told_at: Instant::now(),
        graded: 0,
    };
    let conclusion = thread::scope(|scope| {
        let setting_up = SettingUp::begin(scope, plan, host, store.root());
        let live = Live::begin(plan, store, host, setting_up, &mut watching, |acks| {
            let recorder = claim.open(opening, acks)?;
            recorder.tell_share(plan.share(), store.shares_turn((host.now)()));
            Ok(recorder)
        })?;
        Ok(live.judge(history, Box::new(backlog), &before, &mut watching))
    })?;
    let pass = Rc::into_inner(pass).expect("the session is over");
    Ok((conclusion, pass.into_inner()))
}

/// Sees what graders have said once it is on disk, and tells now and then how far they are.
struct GradingWatch<'a> {
    pass: &'a RefCell<RescorePass>,
    observe: &'a mut dyn Observe,
    told_at: Instant,
    graded: u64,
}

impl Observe for GradingWatch<'_> {
    fn notice(&mut self, notice: &Notice<'_>) {
        self.observe.notice(notice);
    }

    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Judged { trials, .. } => {
                let mut pass = self.pass.borrow_mut();
                trials.iter().for_each(|trial| pass.graded(trial));
                self.graded += trials.len() as u64;
            }
            Event::Progress {
                running, ungraded, ..
            } if self.told_at.elapsed() >= TELL_EVERY => {
                self.told_at = Instant::now();
                self.observe.notice(&Notice::Grading {
                    judged: self.graded,
                    waiting: *ungraded,
                    running: *running,
                });
            }
            Event::Stopping { why, .. } => self.observe.notice(&Notice::StoppingGraders(why)),
            _ => {}
        }
    }

    fn may_build(&mut self, source: &Source) -> bool {
        self.observe.may_build(source)
    }
}
