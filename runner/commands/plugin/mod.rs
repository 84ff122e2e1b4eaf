//! `runner plugin` and its subcommands.

mod run;

use super::Context;
use crate::{
    cli::{BuildArgs, DoctorArgs, InspectArgs, LanguageArg, NewArgs, PluginCommand, PluginKindArg},
    error::{Error, ExitStatus},
    output,
    session::{self, CreatePlugin, Interruptible},
    toolchain::{Language, SourceKind},
};

/// Carries out a command for authors of plugins.
pub(super) fn plugin(command: PluginCommand, context: &Context) -> Result<ExitStatus, Error> {
    match command {
        PluginCommand::New(args) => new(args, context),
        PluginCommand::Build(args) => build(&args, context),
        PluginCommand::Inspect(args) => inspect(&args, context),
        PluginCommand::Run(args) => run::run(*args, context),
        PluginCommand::Doctor(args) => doctor(&args, context),
    }
}

/// Writes the folder of a new plugin, and says how to go on.
fn new(args: NewArgs, context: &Context) -> Result<ExitStatus, Error> {
    let request = CreatePlugin {
        folder: args.folder,
        language: language(args.language),
        kind: args.kind.map(|kind| match kind {
            PluginKindArg::Component => SourceKind::Component,
            PluginKindArg::Command => SourceKind::Command,
        }),
    };
    let created = session::create_plugin(&request, &context.host)?;
    output::print_created(&created, &context.output);
    Ok(ExitStatus::Success)
}

/// Builds the plugin in a folder.
fn build(args: &BuildArgs, context: &Context) -> Result<ExitStatus, Error> {
    let host = context.session_host()?;
    session::build_plugin(&args.folder, &host, &mut context.notices())?;
    Ok(ExitStatus::Success)
}

/// Shows what a plugin is and what it needs.
fn inspect(args: &InspectArgs, context: &Context) -> Result<ExitStatus, Error> {
    let host = context.session_host()?;
    let inspected = session::inspect_plugin(&args.file, &host, &mut context.notices())?;
    let inspection = match inspected {
        Interruptible::Done(inspection) => inspection,
        Interruptible::Interrupted(signal) => return Ok(ExitStatus::Signalled(signal)),
    };
    let output = &context.output;
    match args.json {
        true => output.document(&inspection),
        false => output.data(&output::inspection_text(&inspection, output.width())),
    }
    match inspection.problem {
        None => Ok(ExitStatus::Success),
        Some(problem) => Err(Error::usage(miette::miette!("{problem}"))),
    }
}

/// Shows which tools are here.
fn doctor(args: &DoctorArgs, context: &Context) -> Result<ExitStatus, Error> {
    let only = args.language.map(language);
    let list = session::list_tools(only, &args.folder, &context.host)?;
    let output = &context.output;
    match args.json {
        true => output.document(&list),
        false => output.text(&output::tools_text(&list, output.columns())),
    }
    let is_whole = list.tools.iter().all(|tool| tool.is_found);
    Ok(match only {
        Some(_) if !is_whole => ExitStatus::NotPassed,
        _ => ExitStatus::Success,
    })
}

/// The language that a word of the command line stands for.
fn language(word: LanguageArg) -> Language {
    match word {
        LanguageArg::Rust => Language::Rust,
        LanguageArg::Python => Language::Python,
        LanguageArg::JavaScript => Language::JavaScript,
        LanguageArg::C => Language::C,
        LanguageArg::Go => Language::Go,
    }
}
