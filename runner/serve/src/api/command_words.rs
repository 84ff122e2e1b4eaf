//! [`CommandWords`]: the command line of a request.

use std::collections::{BTreeMap, HashSet};
use std::{fmt::Display, thread};

use runner_engine::EngineError;
use runner_scenario::Filter;

use super::{HttpProblem, Result};
use crate::server::Server;

/// Number of values of a request.
const MAX_ENTRIES: usize = 1000;
/// Bytes of all values of a request: a plan with many long globs takes minutes.
const MAX_BYTES: usize = 64 << 10;
/// Parallel attempts of a session for each core.
const MAX_JOBS_PER_CORE: u32 = 32;

/// A command on the server's results root.
pub(super) struct CommandWords<'a> {
    server: &'a Server,
    command: &'static str,
    /// The scenario or the run.
    argument: String,
    flags: Vec<String>,
    entries: usize,
    bytes: usize,
}

impl<'a> CommandWords<'a> {
    pub(super) fn new(server: &'a Server, command: &'static str, argument: &str) -> Self {
        let argument = argument.to_owned();
        Self { server, command, argument, flags: Vec::new(), entries: 0, bytes: 0 }
    }

    /// Adds `--flag=value`, so that a value that starts with `-` stays a value.
    pub(super) fn add(&mut self, flag: &str, value: impl Display) -> Result<()> {
        let word = format!("--{flag}={value}");
        self.entries += 1;
        self.bytes += word.len();
        if self.entries > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let detail = format!(
                "the request has more than {MAX_ENTRIES} values, or more than {MAX_BYTES} bytes"
            );
            return Err(HttpProblem::unprocessable(&detail)
                .with_help("use a filter, or start it in a terminal"));
        }
        if word.contains('\0') {
            let detail = format!("`{flag}` has the character U+0000; remove it");
            return Err(HttpProblem::unprocessable(&detail));
        }
        self.flags.push(word);
        Ok(())
    }

    pub(super) fn add_all(
        &mut self,
        flag: &str,
        values: impl IntoIterator<Item = impl Display>,
    ) -> Result<()> {
        values.into_iter().try_for_each(|value| self.add(flag, value))
    }

    /// Adds `--flag=key=value` for each entry.
    pub(super) fn add_pairs(
        &mut self,
        flag: &str,
        pairs: &BTreeMap<String, impl Display>,
    ) -> Result<()> {
        pairs.iter().try_for_each(|(key, value)| {
            check_key(key)?;
            self.add(flag, format_args!("{key}={value}"))
        })
    }

    /// Adds `--flag` if it is set.
    pub(super) fn set(&mut self, flag: &str, is_set: bool) {
        if is_set {
            self.flags.push(format!("--{flag}"));
        }
    }

    /// Adds a filter, whose `in(RUN, …)` may only name runs of the results root.
    pub(super) fn add_filter(&mut self, flag: &str, text: &str) -> Result<()> {
        let mut filter = Filter::parse(text).map_err(EngineError::Scenario)?;
        filter.resolve(&mut |inner| {
            self.server.run(inner.run).map(|run| (run.id().to_owned(), HashSet::new()))
        })?;
        self.add(flag, filter.text())
    }

    /// Adds the number of jobs, which is bounded by the cores of the machine.
    pub(super) fn add_jobs(&mut self, jobs: Option<u32>) -> Result<()> {
        let cores = thread::available_parallelism().map_or(1, usize::from) as u32;
        let max = cores * MAX_JOBS_PER_CORE;
        match jobs {
            Some(jobs) if jobs > max => {
                let detail = format!("`jobs` is {jobs}; this machine allows up to {max}");
                Err(HttpProblem::unprocessable(&detail))
            }
            jobs => self.add_all("jobs", jobs),
        }
    }

    /// Returns the words after `runner`, with further flags.
    pub(super) fn words(&self, more: &[&str]) -> Result<Vec<String>> {
        let Some(root) = self.server.root.path().to_str() else {
            let detail = "the path of the results root is not UTF-8; rename its folders";
            return Err(HttpProblem::unprocessable(detail));
        };
        let flags = self.flags.iter().map(String::as_str).chain(more.iter().copied());
        let flags = flags.chain(["--results", root]);
        // The name of a run may start with `-`.
        let (first, last) = match self.argument.as_str() {
            argument if argument.starts_with('-') => (None, vec!["--", argument]),
            argument => (Some(argument), Vec::new()),
        };
        let words = [self.command].into_iter().chain(first).chain(flags).chain(last);
        Ok(words.map(str::to_owned).collect())
    }

    /// Returns the command as a user would type it.
    pub(super) fn shown(&self) -> String {
        let words = [self.command, &self.argument].into_iter();
        let words: Vec<_> = words.chain(self.flags.iter().map(String::as_str)).collect();
        self.server.root.command(&words)
    }
}

/// Checks the key of a label or a variable.
pub(super) fn check_key(key: &str) -> Result<()> {
    if key.is_empty() || key.contains('=') {
        let detail = format!("invalid key `{key}`: use at least one character and no `=`");
        return Err(HttpProblem::unprocessable(&detail));
    }
    Ok(())
}
