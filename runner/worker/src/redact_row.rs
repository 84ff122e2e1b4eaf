//! Redacts the result of a call before any of it is judged, cut or sent: a cut secret could no longer be found. `sandbox`
//! redacts logs and denials where it collects and cuts them.

use runner_model::row::{Metric, Raw, RowError};
use runner_model::{ErrorClass, Text};
use runner_sandbox::{DistinctNames, Ended, Ending, LeftFile, Redactor, Reply, failure};

use crate::judge::tree_bytes;

/// Bytes of a redacted artifact's name, without the number that makes it distinct. A name has at most 200.
const MAX_NAME: usize = 180;

/// Redacts the result of a call. `max_tree` bounds the bytes of one JSON text as a tree of values.
pub fn redact(redactor: &Redactor, ended: &mut Ended, max_tree: usize) {
    let mut row = RowRedactor { redactor, max_tree, is_searched: true };
    match &mut ended.ending {
        Ending::Reply(reply) => row.reply(reply),
        Ending::Error(error) => row.error(error),
        // The difference is redacted where it is made.
        Ending::Timeout | Ending::Stopped | Ending::Diverged(_) => {}
    }
    ended.transcript.iter_mut().for_each(|step| row.raw(Some(step)));
    if !row.is_searched {
        let message = "the reply has too many values to search it for secrets";
        ended.ending = Ending::Error(failure(ErrorClass::Limit, "reply", message));
    }
    row.text(&mut ended.said.stdout);
    row.text(&mut ended.said.stderr);
    row.names(&mut ended.artifacts);
    ended.lost.iter_mut().for_each(|lost| row.error(lost));
    row.metrics(&mut ended.reported);
    row.metrics(&mut ended.reported_by_tools);
}

struct RowRedactor<'a> {
    redactor: &'a Redactor,
    max_tree: usize,
    /// Whether all JSON was within `max_tree`.
    is_searched: bool,
}

impl RowRedactor<'_> {
    fn reply(&mut self, reply: &mut Reply) {
        let redactor = self.redactor;
        self.raw(Some(&mut reply.output));
        // Numbers that hold a secret are dropped: they have no place for the mark that replaces texts.
        reply.score.take_if(|score| redactor.is_in_number(*score));
        reply.summary.iter_mut().for_each(|text| self.text(text));
        for check in &mut reply.checks {
            self.text(&mut check.name);
            check.message.iter_mut().for_each(|text| self.text(text));
            let score = &mut check.score;
            score.take_if(|score| redactor.is_in(score.get().as_bytes()));
            self.raw(check.details.as_mut());
        }
        self.metrics(&mut reply.metrics);
    }

    fn metrics(&self, metrics: &mut Vec<Metric<'static>>) {
        metrics.retain(|metric| !self.redactor.is_in_number(metric.value));
        for metric in metrics {
            self.text(&mut metric.name);
            metric.unit.iter_mut().for_each(|unit| self.text(unit));
        }
    }

    fn error(&mut self, error: &mut RowError<'static>) {
        self.text(&mut error.code);
        self.text(&mut error.message);
        error.excerpt.iter_mut().for_each(|text| self.text(text));
        error.stderr.iter_mut().for_each(|text| self.text(text));
        error.retry_after_ms.take_if(|after| self.redactor.is_in_number(f64::from(*after)));
        self.raw(error.details.as_mut());
    }

    fn text(&self, text: &mut Text<'static>) {
        if let Some(redacted) = self.redactor.bytes(text.as_bytes()) {
            *text = String::from_utf8_lossy(&redacted).into_owned().into();
        }
    }

    fn raw(&mut self, raw: Option<&mut Raw<'static>>) {
        let Some(raw) = raw else { return };
        self.is_searched &= tree_bytes(raw.get()) <= self.max_tree;
        if self.is_searched
            && let Some(redacted) = self.redactor.json(raw.get())
        {
            match Raw::from_string(redacted) {
                Ok(redacted) => *raw = redacted,
                Err(_) => self.is_searched = false,
            }
        }
    }

    /// Redacts names and media types of artifacts. Names stay distinct and valid as file names.
    fn names(&self, artifacts: &mut [LeftFile]) {
        let has_secret = |name: &String| self.redactor.is_in(name.as_bytes());
        let names = artifacts.iter().map(|artifact| &artifact.name);
        let mut names: DistinctNames = names.filter(|name| !has_secret(name)).collect();
        for LeftFile { name, media_type, .. } in artifacts {
            self.redactor.text(media_type);
            if has_secret(name) {
                self.redactor.text(name);
                let mut plain =
                    name.replace(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)), "_");
                plain.truncate(MAX_NAME);
                *name = names.distinct(plain);
            }
        }
    }
}

#[cfg(test)]
#[path = "tests/redact_row.rs"]
mod tests;
