//! [`redacted`]: takes secrets out of everything that an attempt left.

use std::{panic, path::Path, sync::Arc};

use super::redactor::Redactor;
use crate::{
    model::{AttemptError, Check, Denied, Grant, Metric},
    plugin::{
        call::ended::{Ended, Ending, Reply},
        sandbox::artifacts::unkept,
        secrets::Secrets,
    },
};

/// Of so many bytes secrets are taken out on the thread of the guest that left them.
const MAX_REDACTED_AT_ONCE: u64 = 256 * 1024;

impl Redactor {
    /// Redacts everything that an attempt left; artifacts that are too large for memory in a file in `folder`.
    pub(super) fn ended(&self, ended: &mut Ended, folder: &Path) {
        // Every field by its name: of a new one it has to be decided whether a guest has a say in it.
        let Ended {
            ending,
            duration: _,
            instantiate: _,
            usage: _,
            denied,
            log,
            log_dropped: _,
            hint,
            stderr,
            stdout,
            artifacts,
            lost,
            // It says nothing of the guest's.
            lacked: _,
        } = ended;
        match ending {
            Ending::Reply(reply) => self.reply(reply),
            Ending::Error(error) => self.error(error),
            Ending::Timeout | Ending::Stopped => {}
        }
        self.optional(hint);
        for Denied { what, grant } in denied {
            self.cut_text(what);
            // With a mark in it, it would grant something else.
            let tells = |grant: &Grant| self.finder.find(&grant.to_string()).is_some();
            if grant.as_ref().is_some_and(tells) {
                *grant = None;
            }
        }
        for record in log {
            self.record(record);
        }
        self.cut_text(stderr);
        self.cut_text(stdout);
        if let Err(error) = self.artifacts(artifacts, folder) {
            // What cannot be redacted is not handed on, and without it the attempt is not what it was.
            artifacts.clear();
            let error = unkept(folder, &error);
            if matches!(ending, Ending::Reply(_)) {
                *ending = Ending::Error(error.clone());
            }
            *lost = Some(error);
        }
    }

    pub(super) fn reply(&self, reply: &mut Reply) {
        self.value(&mut reply.output);
        self.optional(&mut reply.summary);
        for check in &mut reply.checks {
            self.check(check);
        }
        // A number has no place for a mark.
        reply.score = reply.score.filter(|score| !self.is_in_number(score));
        reply
            .metrics
            .retain(|metric| !self.is_in_number(metric.value));
        for Metric {
            name,
            value: _,
            unit,
        } in &mut reply.metrics
        {
            self.text(name);
            self.optional(unit);
        }
    }

    fn check(&self, check: &mut Check) {
        let Check {
            name,
            verdict: _,
            score,
            message,
            expected,
            actual,
            diff,
            details,
        } = check;
        *score = score.filter(|score| !self.is_in_number(score));
        self.text(name.to_mut());
        self.optional(message);
        self.optional(diff);
        for value in [expected, actual, details].into_iter().flatten() {
            self.value(value);
        }
    }

    fn error(&self, error: &mut AttemptError) {
        let told = error.retry_after;
        error.retry_after = told.filter(|told| !self.is_in_number(told.as_millis() as u64));
        self.text(&mut error.code);
        self.cut_text(&mut error.message);
    }
}

/// Takes secrets out of what an attempt left; where that is much, on a thread on which no guest waits, and with a file in
/// `folder`.
pub(in crate::plugin) async fn redacted(
    mut ended: Ended,
    secrets: &Secrets,
    folder: &Path,
) -> Ended {
    let Some(redactor) = secrets.redactor() else {
        return ended;
    };
    if ended.usage.bytes_out <= MAX_REDACTED_AT_ONCE {
        redactor.ended(&mut ended, folder);
        return ended;
    }

    let (redactor, folder) = (Arc::clone(redactor), folder.to_owned());
    let redact = move || {
        redactor.ended(&mut ended, &folder);
        ended
    };
    match tokio::task::spawn_blocking(redact).await {
        Ok(ended) => ended,
        Err(failed) => panic::resume_unwind(failed.into_panic()),
    }
}
