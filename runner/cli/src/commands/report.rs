//! `runner report`: writes a report of a run.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use runner_engine::resolve_filter;
use runner_model::{exit::Exit, visible::shown_path};
use runner_report::{Form, FormError, RowSelection, RunDocument, write_report};
use runner_scenario::Filter;

use super::target::Target;
use crate::args::{RootArgs, RunArg, filters};
use crate::report_files::{ReportFile, report_options};
use crate::text::{CommandError, Out, mistake};

/// Write a report of a run
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArg,
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    form: FormFlag,
    /// Write this file; its extension names the form
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Report only trials that match `tag(a)`; repeatable
    #[arg(short = 'E', long, value_name = "FILTER")]
    filter: Vec<String>,
    /// In JUnit's XML, report failures also if the gate passes
    #[arg(long)]
    junit_strict: bool,
}

/// The form that a flag names.
struct FormFlag(Option<Form>);

/// The form without a flag and a file.
const DEFAULT: Form = Form::Markdown;

impl clap::Args for FormFlag {
    fn augment_args(command: Command) -> Command {
        command.args(Form::ALL.iter().map(|form| {
            let default = if *form == DEFAULT { " [default]" } else { "" };
            Arg::new(form.as_str())
                .long(form.as_str())
                .help(format!("Write {}{default}", form.content()))
                .action(ArgAction::SetTrue)
                .group("form")
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FormFlag {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(Form::ALL.iter().copied().find(|form| matches.get_flag(form.as_str()))))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let form = args.form()?;
    if args.junit_strict && form != Form::Junit {
        return Err(mistake!("`--junit-strict` needs `--junit`"));
    }
    let filter = Filter::all(filters(&args.filter)?);
    let root = args.root.open()?;
    let run = Target::find_run(&root, &args.run.name_or_latest())?;
    let root = run.results_root();
    let which = match filter {
        Some(mut filter) => {
            resolve_filter(&mut filter, &root)?;
            RowSelection::Matching(filter)
        }
        None => RowSelection::All,
    };
    let document = RunDocument::read(&root, &run, &which)?;
    let options = report_options(args.junit_strict);
    match &args.output {
        Some(path) => {
            ReportFile { path: path.clone(), form }.write(&document, options)?;
            out.hint(&format!("report: {}", shown_path(path)));
        }
        None => {
            let mut read = Ok(());
            out.stream(|stdout| match write_report(form, &document, options, stdout) {
                Err(FormError::Io(error)) => Err(error),
                Err(FormError::Record(error)) => {
                    read = Err(error);
                    Ok(())
                }
                Ok(()) => Ok(()),
            });
            read?;
        }
    }
    Ok(Exit::Success)
}

impl Args {
    /// Returns the form that a flag or else the extension of the file names.
    fn form(&self) -> Result<Form, CommandError> {
        if let Some(form) = self.form.0 {
            return Ok(form);
        }
        let Some(path) = &self.output else { return Ok(DEFAULT) };
        Form::of_path(path).ok_or_else(|| {
            mistake!("{} does not name a form: its extension is not {}\nname the form, such as `--junit`", shown_path(path), Form::extensions())
        })
    }
}
