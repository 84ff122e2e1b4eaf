//! The plain call of a command: its arguments and its standard input, of templates.

use miette::miette;
use serde_json::Value;

use super::request::{PlainStdin, Rehearse};
use crate::{
    error::Error,
    plugin::{Invocation, StdoutForm},
    run,
    scenario::Template,
};

/// What a command is called with by the plain protocol, which must have a use for everything that is given.
pub(super) fn invocation(
    request: &Rehearse,
    input: &Value,
    config: &Value,
) -> Result<Invocation, Error> {
    let roots = [("input", input), ("config", config)];
    let no_template =
        |text: &str, reason: String| Error::usage(miette!("template `{text}`: {reason}"));
    let stdin = match &request.stdin {
        None => Vec::new(),
        Some(PlainStdin::Bytes(bytes)) => bytes.clone(),
        Some(PlainStdin::Template(text)) => template(text)
            .and_then(|template| {
                let text = template.render_text(&roots);
                text.map_err(|missing| missing.to_string())
            })
            .map_err(|reason| no_template(text, reason))?
            .into_bytes(),
    };
    let arguments = request.args.iter().map(|text| {
        template(text)
            .and_then(|template| run::fill_argument(&template, &roots))
            .map_err(|reason| no_template(text, reason))
    });
    let invocation = Invocation {
        args: arguments.collect::<Result<_, _>>()?,
        stdin,
        output: request.output.unwrap_or(StdoutForm::Text),
    };
    check_use(request)?;
    Ok(invocation)
}

/// Refuses a value that no template of the call has a use for.
fn check_use(request: &Rehearse) -> Result<(), Error> {
    let stdin = request.stdin.iter().filter_map(|stdin| match stdin {
        PlainStdin::Template(text) => Some(text),
        PlainStdin::Bytes(_) => None,
    });
    let variables = request.grants.env.iter().map(|(_, text)| text);
    let templates = || stdin.clone().chain(&request.args).chain(variables.clone());
    for (root, is_given) in [
        ("input", request.input.is_some()),
        ("config", request.config.is_some()),
    ] {
        if is_given && !templates().any(|text| uses(text, root)) {
            let help = format!(
                "a command that speaks the JSON protocol gets it with `--protocol json`, any other with \
                 `--stdin` or as an argument behind `--`: `{{{{{root}}}}}` in it stands for the value"
            );
            return Err(Error::usage(miette!(
                help = help,
                "the plain call has no use for `--{root}`"
            )));
        }
    }
    Ok(())
}

/// Tells whether a template has a path that begins with `root`.
fn uses(text: &str, root: &str) -> bool {
    Template::parse(text).is_ok_and(|template| template.keys_of(root).next().is_some())
}

/// Reads a template of a plain command's call.
fn template(text: &str) -> Result<Template, String> {
    let template = Template::parse(text).map_err(|error| error.to_string())?;
    template
        .check_roots(&["input", "config"])
        .map_err(|error| error.to_string())?;
    Ok(template)
}
