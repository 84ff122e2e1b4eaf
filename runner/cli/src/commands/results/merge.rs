//! `runner merge`: makes one run of the shards of a plan.

use std::{path::PathBuf, time::Duration};

use runner_engine::MergeRequest;
use runner_model::units::{grouped, plural};
use runner_model::visible::{quoted, shown_path};
use runner_model::{GateResult, RunStatus, exit::Exit};
use runner_record::{MergeFindings, MergeOutcome, RecordError, RunDir, ShardFindings};
use runner_report::schemars::{self, JsonSchema};
use runner_report::{RunSummary, VERSION};
use serde::Serialize;

use crate::args::{RootArgs, typed_command};
use crate::text::{CommandError, Out, summary};
use crate::{commands::exec::folder_name, session_end};

/// Make one run of the shards of a plan
///
/// Each row is copied once. The shards stay as they are, and several merges of the same shards make the same rows.
#[derive(clap::Args)]
pub struct Args {
    /// Folders of the shards, in any order
    #[arg(value_name = "DIR", required = true)]
    shards: Vec<PathBuf>,
    /// Folder of the merged run; its parent is the results root
    #[arg(long, value_name = "DIR", required = true)]
    into: PathBuf,
    /// Merge also if trials have no result; `resume` runs them
    #[arg(long)]
    allow_holes: bool,
    /// Check the shards, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print nothing for GitHub, GitLab and Buildkite
    #[arg(long)]
    no_ci: bool,
    /// Print one JSON document
    #[arg(long, display_order = 801)]
    json: bool,
}

/// `runner merge`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MergeDocument {
    /// Always [`VERSION`].
    pub v: u8,
    #[serde(flatten)]
    pub findings: MergeFindings,
    /// The merged run. `None` if nothing was merged.
    pub run: Option<RunSummary>,
    /// The result of the gate over all trials.
    pub gate: Option<GateResult>,
}

impl MergeDocument {
    /// Reads the merged run.
    ///
    /// # Errors
    ///
    /// The run cannot be read.
    pub fn read(findings: MergeFindings, run: Option<&RunDir>) -> Result<Self, RecordError> {
        let Some(run) = run else {
            return Ok(Self { v: VERSION, findings, run: None, gate: None });
        };
        let manifest = run.truth()?;
        let summary = RunSummary::from_run(&run.results_root(), run, &manifest);
        Ok(Self { v: VERSION, findings, run: Some(summary), gate: manifest.gate })
    }
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let request = MergeRequest {
        shards: args.shards.clone(),
        results: RootArgs::parent_of(&args.into).path(),
        folder: folder_name(&args.into)?,
        allow_holes: args.allow_holes,
        dry_run: args.dry_run,
        command: typed_command(),
    };
    let (findings, run) = runner_engine::merge(&request, &mut |notice| out.warn(notice))?;
    let document = MergeDocument::read(findings, run.as_ref())?;
    let is_refused = document.findings.outcome == MergeOutcome::Refused;
    if is_refused && !args.json {
        return Err(CommandError::usage(refusal(&document.findings, args)));
    }
    out.document_or(args.json, &document, |document| {
        let manifest = run.as_ref().and_then(|run| Some((run, run.manifest().ok()?)));
        manifest.iter().for_each(|(run, manifest)| summary::print_providers(run, manifest, out));
        print(document, out);
    });
    if is_refused {
        return Ok(Exit::Usage);
    }
    let code = document.run.as_ref().and_then(|run| run.exit_code);
    let exit = code.and_then(Exit::of_code).unwrap_or(Exit::Success);
    let merged = run.filter(|_| document.findings.outcome == MergeOutcome::Merged);
    let finish = |run| session_end::finish_merged(&run, !args.no_ci, args.json, out);
    Ok(if merged.map_or(Ok(true), finish)? { exit } else { exit.without_output() })
}

fn print(MergeDocument { findings, run, gate, .. }: &MergeDocument, out: &Out) {
    if let Some(run) = run {
        if findings.outcome == MergeOutcome::AlreadyMerged {
            out.talk("these shards were merged before; nothing was changed");
        }
        if let Some(message) = &run.head.message {
            out.data(&summary::indented(message));
        }
        out.data(&summary::line(run, Duration::ZERO));
        summary::print_gate(gate.as_ref(), out);
        out.data(&format!("results: {}", shown_path(&run.run_dir)));
        summary::print_next_steps(run, out);
        return;
    }
    let done =
        format!("{} of {}", grouped(findings.planned - findings.left), grouped(findings.planned));
    let shards = plural(findings.shards.len() as u64, "shard", "shards");
    out.talk(&format!("{shards} with results of {done} trials can be merged; nothing was written"));
}

/// Formats all reasons against a merge.
fn refusal(findings: &MergeFindings, args: &Args) -> String {
    let mut lines = vec!["nothing was merged".to_owned()];
    for ShardFindings { path, status, planned, left, problems, .. } in &findings.shards {
        let path = shown_path(path.as_ref());
        lines.extend(problems.iter().map(|problem| format!("{path}: {problem}")));
        if let (Some(status), 1..) = (status, left) {
            let trials = plural(*planned, "trial has", "trials have");
            let force = if *status == RunStatus::Cancelled { " --force" } else { "" };
            let resume = format!("runner resume {}{force}", quoted(&path));
            lines.push(format!("{path}: {left} of {trials} no result; finish it: {resume}"));
        }
    }
    if findings.left > 0 {
        lines.push(findings.holes_text());
    }
    let has_problems = findings.shards.iter().any(|shard| !shard.problems.is_empty());
    if !has_problems && !args.allow_holes {
        let advice = "to merge the others, and run these trials by `resume`: add --allow-holes";
        lines.push(advice.to_owned());
    }
    lines.join("\n")
}
