//! `runner exec`: runs a scenario.

use std::{collections::BTreeMap, path::PathBuf};

use runner_engine::{Ended, EngineError, ExecRequest, Observer};
use runner_model::exit::Exit;
use runner_scenario::Selection;

use crate::{
    args::SessionArgs,
    text::{error::CommandError, events::EventStream, out::Out, screen::Screen},
};

/// Run a scenario
#[derive(clap::Args)]
pub struct Args {
    /// The scenario's file
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// Only tests whose id matches; may be given more than once
    #[arg(long, value_name = "GLOB")]
    test: Vec<String>,
    /// Only providers whose name matches; may be given more than once
    #[arg(long, value_name = "GLOB")]
    provider: Vec<String>,
    /// Only tests that have this tag, or one of several
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    #[command(flatten)]
    session: SessionArgs,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let request = ExecRequest {
        scenario: args.scenario.clone(),
        selection: Selection {
            tests: args.test.clone(),
            providers: args.provider.clone(),
            tags: args.tag.clone(),
        },
        labels: BTreeMap::new(),
        folder: None,
        session: args.session.request(),
    };
    session(&args.session, out, true, |observer| {
        runner_engine::exec(&request, observer)
    })
}

/// Runs a session and prints it as it is asked for. `is_newest` says that the run is the newest of its root afterwards.
pub fn session(
    args: &SessionArgs,
    out: &Out,
    is_newest: bool,
    run: impl FnOnce(&mut dyn Observer) -> Result<Ended, EngineError>,
) -> Result<Exit, CommandError> {
    let (ended, screen) = if args.json {
        (run(&mut EventStream::new(out)), None)
    } else {
        let mut screen = Screen::new(out, args);
        (run(&mut screen), Some(screen))
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => {
            // The bar goes before the message comes.
            drop(screen);
            return Err(CommandError::of_engine(error, &args.root.path(), out));
        }
    };
    let exit = ended.exit;
    if let Some(screen) = screen {
        screen.end(&ended, is_newest);
    }
    Ok(exit)
}
