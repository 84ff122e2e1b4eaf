//! The flags of run options, made of their table.

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches,
    builder::{StringValueParser, TypedValueParser},
};

use crate::scenario::{OptionFlag, RunOption, RunOptions};

/// How trials are run, as the command line says it: of a new run, or of one that is resumed, which has other help and no
/// flag for what a run keeps.
#[derive(Clone, Debug, Default)]
pub struct RunOptionArgs<const RESUMES: bool>(pub RunOptions);

impl<const RESUMES: bool> RunOptionArgs<RESUMES> {
    /// The options that have a flag, with their help.
    fn flags() -> impl Iterator<Item = (&'static RunOption, &'static OptionFlag, &'static str)> {
        RunOptions::TABLE.iter().filter_map(|option| {
            let flag = option.flag.as_ref()?;
            let help = match RESUMES {
                true => flag.help_of_resume?,
                false => flag.help,
            };
            Some((option, flag, help))
        })
    }
}

impl<const RESUMES: bool> Args for RunOptionArgs<RESUMES> {
    fn augment_args(command: Command) -> Command {
        command.args(Self::flags().map(|(option, flag, help)| arg(option, flag, help)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const RESUMES: bool> FromArgMatches for RunOptionArgs<RESUMES> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut options = RunOptions::default();
        for (option, flag, _) in Self::flags() {
            for text in matches.get_many::<String>(flag.long).into_iter().flatten() {
                option.parse(&mut options, text).map_err(invalid)?;
            }
        }
        Ok(Self(options))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn arg(option: &'static RunOption, flag: &OptionFlag, help: &'static str) -> Arg {
    let check = |text: String| {
        let mut ignored = RunOptions::default();
        option.parse(&mut ignored, &text).map(|()| text)
    };
    let arg = Arg::new(flag.long)
        .long(flag.long)
        .short(flag.short)
        .value_name(flag.value_name)
        .value_parser(StringValueParser::new().try_map(check))
        .action(match flag.is_repeatable {
            true => ArgAction::Append,
            false => ArgAction::Set,
        })
        .help(help)
        .help_heading("Execution");
    match flag.bare {
        Some(value) => arg
            .num_args(0..=1)
            .default_missing_value(value)
            .require_equals(true),
        None => arg,
    }
}

/// Each text has been checked when it was read.
fn invalid(problem: String) -> Error {
    Error::raw(clap::error::ErrorKind::ValueValidation, problem)
}
