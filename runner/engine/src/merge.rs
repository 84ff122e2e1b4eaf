//! `merge`: makes one run of the shards of a plan.

use std::path::{Path, PathBuf};
use std::{cmp::Reverse, collections::HashMap, fs::File};

use runner_model::units::plural;
use runner_model::visible::shown_path;
use runner_model::{GateResult, Places, RunStatus, Shard, TrialId};
use runner_prepare::machine;
use runner_record::{DiskFault, Fold, Manifest, Merge, MergeFindings, MergeOutcome, MergeSource};
use runner_record::{RecordError, ResultsRoot, RunDir, ShardFindings, is_run_name};
use runner_scenario::{Scenario, Suite};

use crate::plan::{Ids, difference, gate, has_same_known, unreadable, whole_tests};
use crate::{EngineError, error::machine_error, session::Reruns};

/// Most trials without a result, and most faults of a shard, that are listed.
const MAX_NAMED: usize = 10;
const MAX_FAULTS: usize = 5;

/// Arguments of [`merge`].
#[derive(Clone, Debug)]
pub struct MergeRequest {
    /// Folders of the shards' runs, in any order.
    pub shards: Vec<PathBuf>,
    /// Path of the results root of the merged run.
    pub results: PathBuf,
    /// Name of the merged run's folder in the results root.
    pub folder: String,
    /// Whether trials may lack a result. The run is incomplete then.
    pub allow_holes: bool,
    /// Whether nothing is written.
    pub dry_run: bool,
    /// Command line for the manifest, as the user typed it.
    pub command: Vec<String>,
}

/// A given folder.
struct GivenShard {
    path: PathBuf,
    opened: Option<OpenedShard>,
    problems: Vec<String>,
    /// Indexes of the trials without a result in the whole plan.
    left: Vec<u64>,
}

/// A shard in which no session starts.
struct OpenedShard {
    source: MergeSource,
    shard: Shard,
    /// Open, so that no session starts.
    _idle: Option<File>,
}

/// The plan that all shards are parts of.
struct WholePlan {
    scenario: Scenario,
    suite: Suite,
    /// The shard's number of each trial.
    shards: Vec<u32>,
    count: u32,
    /// Number of the recipe for random numbers. `None` if they are the same by each recipe.
    random_recipe: Option<u32>,
}

/// The trials of a shard, with their indexes in the whole plan.
struct ShardTrials<'a>(&'a WholePlan, u32);

impl Places for ShardTrials<'_> {
    fn index(&self, trial: &TrialId) -> Option<u64> {
        let index = self.0.suite.index(trial)?;
        (self.0.shards[index as usize] == self.1).then_some(index)
    }

    fn trials(&self) -> u64 {
        self.0.suite.trials()
    }
}

/// Makes a run of shards, or returns the reasons against it. The shards stay as they are. Also returns the merged run, if it is
/// there. `notice` gets messages for the user.
///
/// # Errors
///
/// Another run or other files are in the folder of the merged run, or a file cannot be read or written.
pub fn merge(
    request: &MergeRequest,
    notice: &mut dyn FnMut(&str),
) -> Result<(MergeFindings, Option<RunDir>), EngineError> {
    machine::raise_open_files().map_err(EngineError::Machine)?;
    // `results/*` names these, too.
    let is_of_root = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| !is_run_name(name)) && path.exists()
    };
    let shards = request.shards.iter().filter(|path| !is_of_root(path));
    let mut given = shards.map(|path| GivenShard::open(path)).collect::<Result<Vec<_>, _>>()?;
    given.sort_by_cached_key(|shard| {
        (shard.opened.as_ref().map(|opened| opened.shard), shard.path.clone())
    });
    let whole = compare(&mut given).and_then(|base| {
        let GivenShard { opened, problems, .. } = &mut given[base];
        let whole = WholePlan::read(opened.as_ref()?);
        whole.inspect_err(|error| problems.push(error.to_string())).ok()
    });
    let mut findings = MergeFindings {
        outcome: MergeOutcome::Refused,
        count: whole.as_ref().map_or(0, |whole| whole.count),
        planned: whole.as_ref().map_or(0, |whole| whole.suite.trials()),
        left: 0,
        shards: Vec::new(),
        missing: Vec::new(),
        holes: Vec::new(),
    };
    if let Some(whole) = &whole {
        for shard in &mut given {
            shard.check(whole)?;
        }
        whole.find_holes(&given, &mut findings)?;
    }
    findings.shards = given.iter().map(GivenShard::findings).collect();
    let has_problems = given.iter().any(|shard| !shard.problems.is_empty());
    let Some(whole) = whole.filter(|_| !has_problems) else { return Ok((findings, None)) };
    if findings.left > 0 && !request.allow_holes {
        return Ok((findings, None));
    }
    let sources = given.iter().filter_map(|shard| Some(&shard.opened.as_ref()?.source)).collect();
    let holes = (findings.left > 0).then(|| (findings.left, findings.holes_text()));
    let id = request.folder.clone();
    let command = request.command.clone();
    let merge = Merge { id, shards: sources, places: &whole.suite, holes, command };
    let run = write(request, &merge, &whole, &mut findings, notice)?;
    Ok((findings, run))
}

/// Writes the merged run, unless it is there already or the request is for a dry run.
fn write(
    request: &MergeRequest,
    merge: &Merge<'_>,
    WholePlan { scenario, suite, .. }: &WholePlan,
    findings: &mut MergeFindings,
    notice: &mut dyn FnMut(&str),
) -> Result<Option<RunDir>, EngineError> {
    if let Some(there) = merged_before(request, merge)? {
        findings.outcome = MergeOutcome::AlreadyMerged;
        return Ok(Some(there));
    }
    findings.outcome = MergeOutcome::Mergeable;
    if request.dry_run {
        return Ok(None);
    }
    let mut judge = |run: &RunDir, manifest: &Manifest| {
        gate::evaluate(scenario, suite, run, manifest).unwrap_or_else(|error| {
            notice(&gate::not_evaluated(&error));
            Some(GateResult::default())
        })
    };
    let run = match ResultsRoot::open(&request.results)?.merge(merge, &mut judge) {
        Ok(run) => run,
        // Another process may have written a run there meanwhile.
        Err(error) => {
            let Some(there) = merged_before(request, merge)? else { return Err(error.into()) };
            findings.outcome = MergeOutcome::AlreadyMerged;
            return Ok(Some(there));
        }
    };
    findings.outcome = MergeOutcome::Merged;
    let is_rescored =
        |shard: &&&MergeSource| shard.manifest.sessions.iter().any(|session| session.rescores);
    let rescored = merge.shards.iter().filter(is_rescored).count();
    let count = merge.shards.len();
    if (1..count).contains(&rescored) {
        let command = run.command("rescore", &[]);
        notice(&format!(
            "only {rescored} of {count} shards were judged again by `rescore`; to judge all trials by the same expectations: {command}"
        ));
    }
    Ok(Some(run))
}

/// Returns the run of these shards that is in the folder of the merged run.
///
/// # Errors
///
/// Another run or other files are in the folder, or a process is creating a run there.
fn merged_before(request: &MergeRequest, merge: &Merge<'_>) -> Result<Option<RunDir>, EngineError> {
    if !request.results.exists() {
        return Ok(None);
    }
    let there = ResultsRoot::existing(&request.results)?.run_in(&request.folder)?;
    let Some(there) = there else { return Ok(None) };
    if there.for_change()?.manifest()?.merged == merge.entries()? {
        return Ok(Some(there));
    }
    Err(EngineError::Usage(format!(
        "{} holds another run, or one of other results of these shards\nchoose another folder for `--into`",
        shown_path(&there.path())
    )))
}

/// Adds the problems that shards have with each other. Returns a shard of the plan that most of them have.
fn compare(given: &mut [GivenShard]) -> Option<usize> {
    let mut plans = HashMap::<String, (usize, usize)>::new();
    for (place, shard) in given.iter().enumerate() {
        if let Some(opened) = &shard.opened {
            let (count, _) = plans.entry(opened.plan()).or_insert((0, place));
            *count += 1;
        }
    }
    let (_, base) = plans.into_values().max_by_key(|(count, place)| (*count, Reverse(*place)))?;
    let first = shown_path(&given[base].path);
    let (base_run, plan, count) = given[base].opened.as_ref().map(|opened| {
        (opened.source.run.clone(), opened.source.manifest.clone(), opened.shard.count())
    })?;
    let mut last: Option<(Shard, String)> = None;
    for GivenShard { path, opened, problems, .. } in given {
        let Some(OpenedShard { source: MergeSource { run, manifest, .. }, shard, .. }) = opened
        else {
            continue;
        };
        if shard.count() != count {
            let own = shard.count();
            problems.push(format!("it is one of {own} shards, and {first} is one of {count}"));
        } else if let Some(reason) = difference(&plan, &manifest.metadata, manifest.planned()) {
            problems.push(format!("it has another plan than {first}: {reason}"));
        } else if !has_same_known((&base_run, &plan), (run, manifest)) {
            problems.push(format!(
                "it has other known failures than {first}\nto judge it by the current ones: {}",
                run.command("rescore", &[])
            ));
        }
        let path = shown_path(path);
        if let Some((_, other)) = last.replace((*shard, path)).filter(|(same, _)| same == shard) {
            problems.push(format!("shard {shard} is given twice, also as {other}"));
        }
    }
    Some(base)
}

impl GivenShard {
    /// Opens a shard, which takes three open files.
    fn open(path: &Path) -> Result<Self, EngineError> {
        let mut given =
            Self { path: path.to_owned(), opened: None, problems: Vec::new(), left: Vec::new() };
        match OpenedShard::open(path) {
            Ok(opened) => given.opened = Some(opened),
            Err(EngineError::Record(error)) if error.is_exhausted() => {
                return Err(EngineError::Machine(machine::failure(
                    "cannot open all shards",
                    error,
                )));
            }
            Err(error) => given.problems.push(error.to_string()),
        }
        Ok(given)
    }

    fn findings(&self) -> ShardFindings {
        let manifest = self.opened.as_ref().map(|opened| &opened.source.manifest);
        ShardFindings {
            path: self.path.to_string_lossy().into_owned(),
            run: manifest.map(|manifest| manifest.id.clone()),
            shard: self.opened.as_ref().map(|opened| opened.shard),
            status: manifest.map(|manifest| manifest.status),
            planned: manifest.map_or(0, |manifest| manifest.metadata.planned_trial_count),
            left: self.left.len() as u64,
            problems: self.problems.clone(),
        }
    }

    /// Verifies the shard, unless it has problems, and finds its trials without a result.
    fn check(&mut self, whole: &WholePlan) -> Result<(), EngineError> {
        let Some(OpenedShard { source, shard, .. }) = &mut self.opened else { return Ok(()) };
        if !self.problems.is_empty() {
            return Ok(());
        }
        let MergeSource { run, manifest, unfinished } = source;
        if whole.random_recipe.is_some_and(|recipe| recipe != manifest.metadata.random_recipe) {
            self.problems.push(format!(
                "runner {} gave its graders other random numbers than those of the other shards; run all shards with one version",
                manifest.metadata.runner_version
            ));
            return Ok(());
        }
        let members = ShardTrials(whole, shard.index());
        let verified = run.verify(Some(&members))?;
        self.problems.extend(verified.faults.iter().take(MAX_FAULTS).map(fault));
        if let Some(more @ 1..) = verified.faults.len().checked_sub(MAX_FAULTS) {
            let more = plural(more as u64 + verified.left_out, "more problem", "more problems");
            self.problems.push(format!("{more}; list all: {}", run.command("verify", &[])));
        }
        if manifest.status == RunStatus::Completed || !self.problems.is_empty() {
            return Ok(());
        }
        if manifest.sessions.iter().any(|session| session.adopted.is_some()) {
            self.problems.push(format!(
                "it is {} and has taken over changes; finish it first: {}",
                manifest.status,
                run.command("resume", &[])
            ));
            return Ok(());
        }
        let root = run.results_root();
        let reruns = Reruns::read(&root, run, manifest, None, None)?;
        let suite = &whole.suite;
        let providers = &whole.scenario.providers;
        let known = run.known(manifest)?;
        let fold = Fold::of(run, manifest, &members, &known, &reruns.selector(suite, providers))?;
        let mut ids = Ids::new(suite, providers);
        let own = (0..).zip(&whole.shards).filter(|(_, of)| **of == shard.index());
        for (trial, _) in own.filter(|(trial, _)| fold.trial(*trial).is_pending) {
            self.left.push(trial);
            if fold.trial(trial).is_selected {
                let id = ids.trial(trial).map_err(|source| unreadable(&root, source))?;
                unfinished.push_str(&format!("{id}\n"));
            }
        }
        Ok(())
    }
}

fn fault(fault: &DiskFault) -> String {
    let line = fault.line.map_or_else(String::new, |line| format!(", line {line}"));
    let remedy =
        fault.remedy.as_ref().map_or_else(String::new, |run| format!("; repair it: {run}"));
    format!("{}{line}: {}{remedy}", shown_path(&fault.path), fault.problem)
}

impl OpenedShard {
    /// Returns a text that is the same for shards of the same plan.
    fn plan(&self) -> String {
        let manifest = &self.source.manifest;
        let metadata = &manifest.metadata;
        let plugins: Vec<_> =
            manifest.planned().map(|stored| (&stored.name, stored.digest)).collect();
        let tests = (metadata.scenario_sha256, metadata.suite, metadata.blobs);
        let tests = (tests, metadata.random_recipe, metadata.selection.replayed());
        format!("{:?}", (self.shard.count(), tests, &metadata.selection.overrides, plugins))
    }

    fn open(path: &Path) -> Result<Self, EngineError> {
        let refused = |why: &str| EngineError::Usage(why.to_owned());
        // Without a `/`, the name may be that of a run elsewhere.
        let name = Path::new(".").join(path);
        let name = name.to_str().ok_or_else(|| refused("its path is not UTF-8; rename it"))?;
        let opened =
            ResultsRoot::existing(Path::new("."))?.find(name).map_err(|error| match error {
                _ if path.is_file() => refused("it is a file, not a folder"),
                RecordError::Unknown { .. } if path.exists() => refused("not a run"),
                RecordError::Unknown { .. } => refused("there is no such folder"),
                error => error.into(),
            });
        // Merging executes nothing: the merged run of a foreign shard is foreign.
        let run = opened?.for_change()?;
        if !run.results_root().path().join("store").is_dir() {
            return Err(refused(
                "its results root lacks the folder `store` with the tests and plugins; copy the whole root",
            ));
        }
        let idle = run.keep_idle()?;
        let manifest = run.truth()?;
        let shard = manifest.metadata.selection.shard;
        let shard = shard.ok_or_else(|| refused("not a shard: it was run without `--shard`"))?;
        let source = MergeSource { run, manifest, unfinished: String::new() };
        Ok(Self { source, shard, _idle: idle })
    }
}

impl WholePlan {
    fn read(base: &OpenedShard) -> Result<Self, EngineError> {
        let MergeSource { run, manifest, .. } = &base.source;
        let root = run.results_root();
        let (scenario, suite) = whole_tests(&root, run, manifest)?;
        let count = base.shard.count();
        let shards = suite.shards(count).map_err(|source| unreadable(&root, source))?;
        let mut providers = scenario.providers.iter();
        let has_recipe = providers.any(|one| one.grading.is_some() && one.deterministic.is_some());
        let random_recipe = has_recipe.then_some(manifest.metadata.random_recipe);
        Ok(Self { scenario, suite, shards, count, random_recipe })
    }

    /// Finds the missing shards, and all trials without a result.
    fn find_holes(
        &self,
        given: &[GivenShard],
        findings: &mut MergeFindings,
    ) -> Result<(), EngineError> {
        let is_given = |index: &u32| {
            let mut shards = given.iter().filter_map(|opened| opened.opened.as_ref());
            shards.any(|opened| opened.shard.index() == *index)
        };
        findings.missing = (1..=self.count).filter(|index| !is_given(index)).collect();
        let all = (0..).zip(&self.shards);
        let of_missing = all.filter(|(_, shard)| findings.missing.binary_search(shard).is_ok());
        let mut left: Vec<_> = of_missing.map(|(trial, _)| trial).collect();
        left.extend(given.iter().flat_map(|shard| &shard.left));
        left.sort_unstable();
        findings.left = left.len() as u64;
        let mut ids = Ids::new(&self.suite, &self.scenario.providers);
        let names = left.iter().take(MAX_NAMED).map(|trial| ids.trial(*trial));
        findings.holes = names.collect::<Result<_, _>>().map_err(machine_error)?;
        Ok(())
    }
}
