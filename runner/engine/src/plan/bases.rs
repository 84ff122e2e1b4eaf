//! The bases of a plan's workspaces and the files of their graders: their sizes, and the room that copies of them need.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::{env, io};

use runner_model::units::{grouped, plural, show_size, show_sizes_apart};
use runner_model::workspace::{GradedAccess, GradedWorkspace, Workspace, read_base};
use runner_model::{Digest, Places as _, provider::Provider, visible::shown_path};
use runner_prepare::machine;
use runner_record::Fold;

use super::{plan::Plan, test_line::TestLine};
use crate::{EngineError, error::machine_error};

/// The unit of the space that files and folders take, in bytes.
const BLOCK: u64 = 4096;
/// Bytes of a file that are counted, so that sums of the numbers in a damaged list stay within 64 bits.
const MAX_FILE: u64 = 1 << 46;

impl Plan {
    /// Returns the number of trials with each base, by provider. Empty without workspaces that start as a folder. With
    /// `is_graded`, a grader has to read their workspaces.
    fn trials_of_bases(
        &self,
        is_graded: bool,
        is_counted: impl Fn(u64) -> bool,
    ) -> io::Result<BTreeMap<(u16, Digest), u64>> {
        let mut trials = BTreeMap::new();
        let workspaces = self.providers.iter().filter_map(|one| one.provider.workspace.as_ref());
        if workspaces.filter(|workspace| workspace.from.is_some()).count() == 0 {
            return Ok(trials);
        }
        let (mut line, mut read) = (Vec::new(), None);
        let mut bases = BTreeMap::new();
        for trial in (0..self.suite.trials()).filter(|trial| is_counted(*trial)) {
            let planned = self.suite.trial(trial);
            if read.replace(planned.test) != Some(planned.test) {
                self.suite.line(planned.test, &mut line)?;
                let test = TestLine::read(&line)?;
                let is_read = !is_graded || test.has_workspace_grader(&self.providers)?;
                bases = if is_read { test.bases } else { BTreeMap::new() };
            }
            if let Some(base) = bases.get(&planned.provider) {
                *trials.entry((planned.provider, *base)).or_default() += 1;
            }
        }
        Ok(trials)
    }

    /// Returns the lists of files that graders get in the workspaces of trials.
    fn grader_files(&self, is_counted: impl Fn(u64) -> bool) -> io::Result<BTreeSet<Digest>> {
        let mut lists = BTreeSet::new();
        let graded = self.providers.iter().filter_map(|one| one.provider.grading.as_ref());
        let mut workspaces = graded.filter_map(|grading| grading.workspace.as_ref());
        if workspaces.all(|workspace| workspace.hidden.is_empty()) {
            return Ok(lists);
        }
        let (mut line, mut read) = (Vec::new(), None);
        for trial in (0..self.suite.trials()).filter(|trial| is_counted(*trial)) {
            let test = self.suite.trial(trial).test;
            if read.replace(test) != Some(test) {
                self.suite.line(test, &mut line)?;
                if let Some(files) = TestLine::read(&line)?.grader_files {
                    let files: BTreeMap<String, Digest> = serde_json::from_str(files.get())?;
                    lists.extend(files.into_values());
                }
            }
        }
        Ok(lists)
    }

    /// Returns the content and the size of each file of a base, and the number of its other entries.
    fn base_files(&self, base: &Digest) -> Result<(Vec<(Digest, u64)>, u64), EngineError> {
        let lines = self.blobs.bytes(base)?;
        let entries = read_base(&lines).map_err(|error| machine_error(error.into()))?;
        let files = entries.iter();
        let files = files.filter_map(|entry| Some((entry.sha256?, entry.bytes.min(MAX_FILE))));
        let files: Vec<_> = files.collect();
        let others = entries.len() - files.len();
        Ok((files, others as u64))
    }

    /// Returns a line for each provider with a workspace, with the number and the size of its bases, and for each grader that
    /// gets one, with its files.
    pub(crate) fn workspaces(&self) -> Result<Vec<String>, EngineError> {
        let trials = self.trials_of_bases(false, |_| true).map_err(machine_error)?;
        let mut known = HashMap::new();
        for (_, base) in trials.keys() {
            if !known.contains_key(base) {
                let (files, _) = self.base_files(base)?;
                let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
                known.insert(*base, (bytes, files.len() as u64));
            }
        }
        let mut lines = Vec::new();
        for (index, prepared) in (0..).zip(&self.providers) {
            lines.extend(graded_workspace(&prepared.provider));
            let Some(Workspace { from, mount, .. }) = &prepared.provider.workspace else {
                continue;
            };
            let own = trials.range((index, Digest([0; 32]))..=(index, Digest([255; 32])));
            let sizes: Vec<_> = own.map(|((_, base), _)| known[base]).collect();
            let start = match (from, sizes.iter().max()) {
                (Some(from), Some((bytes, files))) => {
                    let folders = match sizes.len() as u64 {
                        1 => String::new(),
                        count => format!("one of {} bases, at most ", grouped(count)),
                    };
                    let files = plural(*files, "file", "files");
                    format!("a copy of `{from}`: {folders}{files}, {}", show_size(*bytes))
                }
                _ => "which starts empty".to_owned(),
            };
            let name = &prepared.provider.name;
            lines.push(format!("provider `{name}` works in `{mount}`, {start}"));
        }
        Ok(lines)
    }

    /// Checks that the folder for temporary files can have links and has room for the bases of the remaining trials and the files
    /// of their graders.
    /// The session has each content once. Each worker has a copy of each base that its attempts start from or its graders read,
    /// and of the files of a grader. If attempts run on other machines, one worker here has the graders. In a tmpfs, the links of a
    /// workspace need inodes, too: counted for as many attempts as run at once.
    ///
    /// # Errors
    ///
    /// It has no links, or less room.
    pub(crate) fn check_room(&self, fold: &Fold) -> Result<(), EngineError> {
        let is_left = |trial| self.is_left(trial, fold);
        let runs_here = |trial| self.remote.is_none() && is_left(trial) && !self.rejudge.has(trial);
        let run = self.trials_of_bases(false, runs_here).map_err(machine_error)?;
        let read = self.trials_of_bases(true, is_left).map_err(machine_error)?;
        let graded = self.grader_files(is_left).map_err(machine_error)?;
        // Attempts on other machines have their workspaces there.
        let shapes = self.remote.is_none().then(|| self.shapes(self.left(fold)));
        let shapes = shapes.unwrap_or_default();
        let workers = (shapes.len() as u64).max(1);
        let slots: u64 = shapes.iter().map(|shape| u64::from(shape.slots)).sum();
        let folder = env::temp_dir();
        let counts_links = machine::counts_links(&folder);
        let mut all: BTreeMap<Digest, u64> = BTreeMap::new();
        for ((_, base), trials) in run.into_iter().chain(read) {
            *all.entry(base).or_default() += trials;
        }
        if !all.is_empty() {
            machine::check_links().map_err(EngineError::Machine)?;
        }
        let mut contents = HashMap::new();
        let mut space_of = |list: &Digest| {
            let (mut files, others) = self.base_files(list)?;
            files.iter_mut().for_each(|(_, bytes)| *bytes = bytes.next_multiple_of(BLOCK));
            let bytes = files.iter().map(|(_, space)| space).sum::<u64>() + others * BLOCK;
            let inodes = files.len() as u64 + others;
            contents.extend(files);
            Ok::<_, EngineError>([bytes, inodes])
        };
        let mut needed = [0_u64; 2];
        let mut add = |[bytes, inodes]: [u64; 2], times: u64| {
            needed[0] = needed[0].saturating_add(bytes.saturating_mul(times));
            needed[1] = needed[1].saturating_add(inodes.saturating_mul(times));
        };
        let mut links = 0;
        for (base, trials) in &all {
            let space = space_of(base)?;
            add(space, workers.min(*trials));
            links = links.max(space[1].saturating_mul(slots.min(*trials)));
        }
        if counts_links {
            add([0, links], 1);
        }
        let graded: Vec<_> = graded.iter().map(space_of).collect::<Result<_, _>>()?;
        add(graded.into_iter().max().unwrap_or_default(), workers);
        contents.values().for_each(|bytes| add([*bytes, 1], 1));
        // A folder that cannot be read is reported when it is written to.
        let free = machine::free_space(&folder).unwrap_or([u64::MAX; 2]);
        let ([needed, free], remedy) = if free[0] < needed[0] {
            (show_sizes_apart(needed[0], free[0]), "free some space")
        } else if free[1] < needed[1] {
            ([format!("{} inodes", grouped(needed[1])), grouped(free[1])], "remove some files")
        } else {
            return Ok(());
        };
        let folder = shown_path(&folder);
        let workers = plural(workers, "worker process", "worker processes");
        Err(EngineError::Machine(format!(
            "the bases of the workspaces and the files of graders need {needed} in {folder}, for the session and {workers}, and {free} are free\n{remedy}, set `TMPDIR` to another folder, or lower `-j`"
        )))
    }
}

/// Returns a line about the workspace that a grader gets. `None` without one.
fn graded_workspace(grader: &Provider) -> Option<String> {
    let GradedWorkspace { access, hidden } = grader.grading.as_ref()?.workspace.as_ref()?;
    let access = match access {
        GradedAccess::Read => "reads workspaces after their attempts",
        GradedAccess::Write => "writes to copies of workspaces after their attempts",
    };
    let files: Vec<_> =
        hidden.iter().map(|(place, from)| format!("`{from}` at `{place}`")).collect();
    let with = if files.is_empty() { "" } else { ", with " };
    Some(format!("grader `{}` {access}{with}{}", grader.name, files.join(", ")))
}
