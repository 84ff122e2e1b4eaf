//! `runner exec`: runs a scenario.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use runner_engine::{Ended, EngineError, ExecRequest, Observer, Preview};
use runner_model::{TrialId, exit::Exit, visible::visible};
use runner_prepare::source::{Source, SourceState, is_folder};
use runner_record::Selected;
use runner_report::{VERSION, json::one_line};
use runner_scenario::load;
use serde_json::json;

use super::group;
use crate::{
    args::{RootArgs, SessionArgs},
    detach::{self, Background},
    source_build,
    text::{CommandError, Out, events::EventStream, grants, screen::Screen},
};

/// Run a scenario
#[derive(clap::Args)]
pub struct Args {
    /// The scenario's file; several of them, or a folder with some, run one after another as a group
    #[arg(value_name = "SCENARIO", required = true)]
    scenarios: Vec<PathBuf>,
    /// Only tests whose id matches; may be given more than once
    #[arg(long, value_name = "GLOB")]
    test: Vec<String>,
    /// Only providers whose name matches; may be given more than once
    #[arg(long, value_name = "GLOB")]
    provider: Vec<String>,
    /// Only tests that have this tag, or one of several
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only what had not passed in the newest run of the scenario: failed, ended badly or has no result
    #[arg(long)]
    last_failed: bool,
    /// Label the run; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// Build providers whose `plugin` is a folder with source; this runs their build tools outside the sandbox
    #[arg(long)]
    build: bool,
    /// Print the trials that would run and what providers are granted, and run nothing
    #[arg(long, conflicts_with = "detach")]
    dry_run: bool,
    /// Run in this folder, whose parent is the results root, or continue the run that is there
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    #[command(flatten)]
    session: SessionArgs,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    if args.session.detach && !detach::is_background() {
        return detach::start(out, args.session.json);
    }
    let mut session_args = args.session.clone();
    let mut folder = None;
    if let Some(into) = &args.into {
        session_args.root = RootArgs::above(into);
        folder = Some(name_of(into)?);
    }
    let scenarios = group::scenarios(&args.scenarios)?;
    let requests = scenarios.iter().map(|scenario| ExecRequest {
        scenario: scenario.clone(),
        selection: Selected {
            tests: args.test.clone(),
            providers: args.provider.clone(),
            tags: args.tag.clone(),
            last_failed: args.last_failed,
        },
        labels: args.label.iter().cloned().collect(),
        folder: folder.clone(),
        session: session_args.request(),
    });
    let requests: Vec<_> = requests.collect();
    if args.build {
        build(&scenarios, out)?;
    }
    if args.dry_run {
        return preview(&requests, &session_args, out);
    }
    match requests.as_slice() {
        [request] => {
            session(&session_args, out, false, |observer| runner_engine::exec(request, observer))
        }
        _ if folder.is_some() => Err(CommandError::usage(
            "`--into` is for one scenario\nwithout it, each of several gets a folder of its own",
        )),
        requests => group::exec(requests, &session_args, out),
    }
}

/// Builds the plugins of scenarios whose source has changed. What is wrong with a scenario is told when it is run.
fn build(scenarios: &[PathBuf], out: &Out) -> Result<(), CommandError> {
    let mut seen = BTreeSet::new();
    for scenario in scenarios.iter().filter_map(|path| load(path).ok()) {
        let plugins = scenario.providers.iter().map(|provider| &*provider.plugin);
        let folders = plugins.filter(|plugin| is_folder(plugin, &scenario.folder));
        for folder in folders.map(|plugin| scenario.folder.join(plugin)) {
            if !seen.insert(folder.clone()) {
                continue;
            }
            let source = Source::open(&folder).map_err(CommandError::usage)?;
            let state = source.state().map_err(CommandError::usage)?;
            if state != SourceState::Fresh {
                out.talk(&format!("building {}", visible(&source.folder().to_string_lossy())));
                source_build::build(&source).map_err(CommandError::failed)?;
            }
        }
    }
    Ok(())
}

/// Prints what sessions would do: trials as data, and what providers are granted as messages.
fn preview(requests: &[ExecRequest], args: &SessionArgs, out: &Out) -> Result<Exit, CommandError> {
    for request in requests {
        let mut lines = out.lines(args.json);
        let mut head = |preview: &Preview| {
            for notice in &preview.notices {
                out.warn(notice);
            }
            if !args.json {
                return out.talk(&grants::preview(preview).join("\n"));
            }
            let mut plan = json!(preview);
            (plan["v"], plan["part"]) = (VERSION.into(), "plan".into());
            out.json_line(&plan);
        };
        let mut each = |trial: &TrialId| match args.json {
            true => {
                let line = json!({"v": VERSION, "part": "trial", "trial": trial});
                lines.add(&one_line(&line));
            }
            false => lines.add(&trial.to_string()),
        };
        runner_engine::preview_exec(request, &mut head, &mut each)?;
    }
    Ok(Exit::Success)
}

/// The name of a folder in the one that it is in.
fn name_of(into: &Path) -> Result<String, CommandError> {
    let name = into.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| {
        let into = into.display();
        CommandError::usage(format!("`--into {into}` does not end in a name that a run can have"))
    })
}

/// A label.
pub fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected a label such as team=night".to_owned()),
    }
}

/// Runs a session, which may be one of a group's, and prints it as it is asked for.
pub fn session(
    args: &SessionArgs,
    out: &Out,
    is_of_group: bool,
    run: impl FnOnce(&mut dyn Observer) -> Result<Ended, EngineError>,
) -> Result<Exit, CommandError> {
    let (ended, screen) = if detach::is_background() {
        let is_born = false;
        (run(&mut Background { out, is_born }), None)
    } else if args.json {
        (run(&mut EventStream::new(out)), None)
    } else {
        let mut screen = Screen::new(out, args);
        (run(&mut screen), Some(screen))
    };
    // Without an end, the bar goes before the message comes.
    let ended = ended?;
    if let Some(screen) = screen {
        screen.end(&ended, is_of_group);
    }
    Ok(ended.exit)
}
