//! The report as one page for a browser, which needs no other file and no network.
//!
//! Texts of guests are text: `maud` escapes markup, [`data`] escapes JSON for a script element, and a policy in the page
//! refuses every other script and style.

mod about;
mod details;
mod groups;
mod overview;
mod sides;
mod trials;

use std::io;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use runner_model::digest;
use runner_model::visible::{visible_line, without_commands};

use self::groups::Groups;
use self::trials::{Trials, data};
use super::cases::{Cases, FormError};
use crate::{RunDocument, phrases};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Writes the page.
///
/// # Errors
///
/// The rows cannot be read, or the writer fails.
pub(super) fn write(document: &RunDocument, writer: &mut dyn io::Write) -> Result<(), FormError> {
    let cases = Cases::read(document, false)?;
    let body = html! {
        (overview::header(document, cases.suite.is_some()))
        script #rows type="application/json" { "[" }
    };
    // The rows follow as JSON while they are read, and the parts that need all of them follow those.
    let (body, end) = body.0.split_at(body.0.len() - "</script>".len());
    writer.write_all(head(document).0.as_bytes())?;
    writer.write_all(body.as_bytes())?;
    let (mut groups, mut trials) = (Groups::new(document), Trials::new(document));
    cases.each(|_, case| trials.add(case, &mut groups, writer))?;
    let names: Vec<_> =
        document.providers.iter().map(|table| visible_line(&table.provider)).collect();
    let names = data(&(names, groups.reasons()))?;
    let rest = html! {
        script #names type="application/json" { (PreEscaped(names)) }
        main {
            (overview::providers(document))
            (tools(document))
            (groups.section())
            p #nothing .quiet hidden { "No trial matches." }
            (trials.section())
            (overview::other_results(document))
            (about::section(document))
        }
        script { (PreEscaped(SCRIPT)) }
    };
    // The page's own style and script contain no commands.
    for part in ["]", end, &without_commands(&rest.0), "\n"] {
        writer.write_all(part.as_bytes())?;
    }
    Ok(())
}

fn head(document: &RunDocument) -> Markup {
    let [style, script] =
        [STYLE, SCRIPT].map(|text| BASE64_STANDARD.encode(digest(text.as_bytes()).0));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
    );
    let run = &document.run.head;
    html! {
        (DOCTYPE)
        (PreEscaped("<html lang=\"en\">"))
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(policy);
            meta name="viewport" content="width=device-width, initial-scale=1";
            title { (visible_line(&run.scenario)) ": " (phrases::status_text(run)) }
            style { (PreEscaped(STYLE)) }
        }
    }
}

/// Formats the fields that select trials, which the script shows.
fn tools(document: &RunDocument) -> Markup {
    html! {
        div #tools .tools role="search" hidden {
            input #search type="search" aria-label="Search tests and reasons" placeholder="Search tests and reasons";
            @if document.providers.len() > 1 {
                select #provider aria-label="Provider" {
                    option value="" { "All providers" }
                    @for (index, table) in document.providers.iter().enumerate() {
                        option value=(index) { (visible_line(&table.provider)) }
                    }
                }
            }
            button #unfold type="button" { "Unfold all" }
            span.quiet { kbd { "/" } " search " kbd { "j" } " " kbd { "k" } " failures" }
        }
    }
}
