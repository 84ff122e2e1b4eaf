//! `runner trust`: allows settings, requests and runs that this user's key has not signed.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::{collections::BTreeMap, path::Path};

use runner_engine::{author, stored_access};
use runner_model::visible::{shown_path, visible_line};
use runner_model::{Digest, exit::Exit, units::plural};
use runner_record::{QueuedRequest, RecordError, ResultsRoot, RunDir, SettingsFile};
use runner_report::short_id;
use runner_scenario::{RootSettings, WebhookUrl};

use super::queue::typed;
use crate::args::RootArgs;
use crate::text::{CommandError, Out, mistake};

/// Allow settings, requests and runs that others made, after showing them
#[derive(clap::Args)]
#[command(after_help = "Without RUN or DIR, it looks at the whole results root.")]
pub struct Args {
    /// A run, or the folder of a results root
    #[arg(value_name = "RUN|DIR")]
    target: Option<String>,
    /// Allow without asking
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    root: RootArgs,
}

/// The parts of a results root that this user's key has not signed.
#[derive(Default)]
struct Foreign {
    settings: Option<Digest>,
    requests: Vec<QueuedRequest>,
    /// Each run with the digest of its signed parts.
    runs: Vec<(RunDir, Digest)>,
    /// The runs by the text about their author and their access: many runs of a scenario have the same one.
    texts: BTreeMap<String, Vec<String>>,
    /// Whether a part cannot be allowed.
    has_refusals: bool,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let mut foreign = Foreign::default();
    let root = match &args.target {
        Some(path) if is_root(path) => ResultsRoot::existing(path.as_ref())?,
        Some(name) => {
            let run = args.root.open()?.find(name)?;
            foreign.add_run(&run, out)?;
            run.results_root()
        }
        None => args.root.open()?,
    };
    if let Some(problem) = root.signing_problem() {
        return Err(mistake!("nothing can be allowed: {problem}"));
    }
    if args.target.as_ref().is_none_or(|path| is_root(path)) {
        foreign.add_settings(&root, out)?;
        foreign.add_requests(&root, out)?;
        for head in root.runs()?.runs {
            match root.find_named(&head.id) {
                Ok(run) => foreign.add_run(&run, out)?,
                // Another process has just removed it.
                Err(RecordError::Unknown { .. } | RecordError::Removed { .. }) => {}
                Err(error) => out.warn(&error.to_string()),
            }
        }
    }
    foreign.print_runs(out);
    if foreign.is_empty() && foreign.has_refusals {
        return Err(mistake!("nothing was allowed"));
    }
    if foreign.is_empty() {
        out.talk("nothing to allow: the settings, requests and runs are yours");
        return Ok(Exit::Success);
    }
    if !args.yes && !confirm(out)? {
        out.talk("nothing was allowed");
        return Ok(Exit::Success);
    }
    foreign.allow(&root, out)
}

/// Asks the user at the terminal.
fn confirm(out: &Out) -> Result<bool, CommandError> {
    if !io::stdin().is_terminal() {
        return Err(mistake!("nothing was allowed\nto allow all of this, add `--yes`"));
    }
    out.talk("Allow all of this? [y/N]");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}

impl Foreign {
    fn is_empty(&self) -> bool {
        self.settings.is_none() && self.requests.is_empty() && self.runs.is_empty()
    }

    /// Prints `runner.toml`, if this text was not confirmed.
    fn add_settings(&mut self, root: &ResultsRoot, out: &Out) -> Result<(), CommandError> {
        let path = root.path().join("runner.toml");
        match root.settings()? {
            SettingsFile::Absent | SettingsFile::Text { .. } => {}
            SettingsFile::Ignored(why) => {
                self.has_refusals = true;
                out.warn(&why);
            }
            SettingsFile::Unconfirmed { text, digest, .. } => {
                let keys = RootSettings::parse(&path.to_string_lossy(), &text)?;
                out.data(&format!("settings {}:", shown_path(&path)));
                for webhook in &keys.notify.webhooks {
                    let to = match &webhook.url {
                        WebhookUrl::Plain(url) => url.clone(),
                        WebhookUrl::Variable(name) => format!("the address in `{name}`"),
                    };
                    out.data(&format!("  posts results to {}", visible_line(&to)));
                    if let Some(name) = &webhook.secret {
                        out.data(&format!("  signs them with the secret `{}`", visible_line(name)));
                    }
                }
                for folder in &keys.serve.scenarios {
                    let folder = visible_line(folder);
                    out.data(&format!("  lets a server start the scenarios of {folder}"));
                }
                for command in keys.notify.commands {
                    out.data(&format!("  starts {}", typed(&command.command)));
                    let relative = command.command.iter().find(|word| {
                        word.contains('/') && !word.starts_with(['/', '-']) && !word.contains(' ')
                    });
                    if let Some(word) = relative {
                        out.warn(&format!(
                            "`{word}` is a file in the results root, where others may replace it; name a program elsewhere by its absolute path"
                        ));
                    }
                }
                let default = RootSettings::default();
                if keys.retention != default.retention {
                    out.data("  deletes old runs by `[retention]`");
                }
                if keys.max_active_runs != default.max_active_runs {
                    out.data(&format!("  sets `max_active_runs` to {}", keys.max_active_runs));
                }
                self.settings = Some(digest);
            }
        }
        Ok(())
    }

    /// Prints the requests of the queue that another key made.
    fn add_requests(&mut self, root: &ResultsRoot, out: &Out) -> Result<(), CommandError> {
        for request in root.queue()?.requests {
            let id = visible_line(&request.id).into_owned();
            match &request.foreign {
                None => {}
                Some(why) if !request.is_unsigned => out.warn(&format!("request {id} {why}")),
                Some(_) => {
                    let by = &request.by;
                    let folder = shown_path(request.folder.as_ref());
                    let user = visible_line(&by.user);
                    let host = visible_line(&by.host);
                    out.data(&format!("request {id}, made by {user} on {host}:"));
                    out.data(&format!("  runner {}", typed(&request.command)));
                    out.data(&format!("  in {folder}"));
                    self.requests.push(request);
                }
            }
        }
        Ok(())
    }

    /// Adds a run that another key made.
    fn add_run(&mut self, run: &RunDir, out: &Out) -> Result<(), CommandError> {
        if run.other_author().is_none() {
            return Ok(());
        }
        let own = match run.for_change() {
            Err(error @ RecordError::NotOwn { .. }) => {
                self.has_refusals = true;
                out.warn(&error.to_string());
                return Ok(());
            }
            own => own?,
        };
        let manifest = own.manifest()?;
        let Some(seen) = RunDir::signed_digest(&manifest) else { return Ok(()) };
        let scenario = visible_line(&manifest.scenario);
        let path = &manifest.scenario_path;
        let mut text = format!(
            "of {scenario} in {}, started by {}, {} at a time:",
            shown_path(path.as_ref()),
            author(&manifest),
            manifest.sessions.last().map_or(0, |last| last.settings.jobs),
        );
        for line in stored_access(&own, &manifest) {
            text += &format!("\n  {line}");
        }
        self.texts.entry(text).or_default().push(short_id(run.id()).to_owned());
        self.runs.push((own, seen));
        Ok(())
    }

    /// Prints the runs that another key made, each text in full: a cut text could hide a grant.
    fn print_runs(&self, out: &Out) {
        for (text, runs) in &self.texts {
            match &runs[..] {
                [run] => out.data(&format!("run {run} {text}")),
                runs => out.data(&format!("{} runs, such as {}, {text}", runs.len(), runs[0])),
            }
        }
    }

    /// Signs all parts. Continues after a failure.
    fn allow(self, root: &ResultsRoot, out: &Out) -> Result<Exit, CommandError> {
        let mut allowed = Vec::new();
        allowed.extend(self.settings.map(|_| "the settings".to_owned()));
        for (count, one, several) in
            [(self.requests.len(), "request", "requests"), (self.runs.len(), "run", "runs")]
        {
            allowed.extend((count > 0).then(|| plural(count as u64, one, several)));
        }
        let mut exit = Exit::Success;
        let mut failed = |error: RecordError| {
            out.warn(&error.to_string());
            exit = exit.worse(Exit::Storage);
        };
        if let Some(digest) = self.settings {
            root.confirm_settings(digest).unwrap_or_else(&mut failed);
        }
        if !self.requests.is_empty() {
            let queue = root.lock_queue()?;
            for mut request in self.requests {
                queue.sign(&mut request).unwrap_or_else(&mut failed);
            }
        }
        for (run, seen) in self.runs {
            root.sign(&run, seen).unwrap_or_else(&mut failed);
        }
        if exit == Exit::Success {
            out.talk(&format!("allowed {}", allowed.join(", ")));
        }
        Ok(exit)
    }
}

fn is_root(name: &str) -> bool {
    let path = Path::new(name);
    path.is_dir() && !path.join("benchmark.json").exists()
}
