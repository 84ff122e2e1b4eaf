//! `show`, `stop` and `cancel`: what one run came to.

use std::time::Duration;

use owo_colors::OwoColorize as _;

use super::{
    Output, Reader, denials, failure, format, grants,
    standing::Standing,
    summary,
    table::{Column, Table},
    wrap,
};
use crate::{
    model::{Actor, Counts, Reason, RunStatus},
    record::{
        By, Manifest, ManifestSession, Pinned, RejudgedAttempts, Rerun, Row, RunEntry, RunId,
        RunPause,
    },
    session::{PauseAnswer, StopAnswer},
    view::{RunDetail, RunHistory, RunSummary, ShownRun, worked_between},
};

/// How much text of rows is written at once.
const PIECE_BYTES: usize = 64 * 1024;

/// What a run came to and the command that goes on with it; tables have at most `width` characters.
pub fn show_text(shown: &ShownRun, resume: Option<&str>, width: Option<usize>) -> String {
    let detail = &shown.detail;
    let RunDetail { run, manifest, .. } = detail;
    let mut lines = vec![headline(&run.id, run)];
    let mut field = |name: &str, value: &str| {
        lines.push(dim_field(name, value));
    };
    field(
        "scenario",
        &format::visible_line(&format!(
            "{} ({})",
            manifest.scenario.name, manifest.scenario.path
        )),
    );
    if let Some(shard) = &manifest.shard {
        let whole = format::plural(shard.planned_test_count, "trial");
        let text = format!("{}/{} of a plan with {whole}", shard.index, shard.count);
        field("shard", &text);
    }
    if !manifest.merged_from.is_empty() {
        let shards = manifest.merged_from.iter();
        let shards: Vec<_> = shards.map(|shard| shard.run_id.as_str()).collect();
        field("merged of", &format::visible_line(&shards.join(", ")));
    }
    field("directory", &format::path(&run.dir));
    field("began", &format::local(run.started_at));
    if let Some(at) = run.completed_at {
        let took = took_in_full(run);
        field("ended", &format!("{}, after {took}", format::local(at)));
    }
    if let Some(paused) = &run.paused {
        field("paused", &self::paused(paused));
    }
    if let Some(pinned) = &run.pinned {
        field("pinned", &pin_text(pinned));
    }
    let session = manifest.sessions.last();
    if let Some(error) = session.and_then(|session| session.error.as_deref()) {
        field("error", &format::visible(error));
    }
    let latest = manifest.transitions.last();
    if let Some(by) = latest.and_then(|latest| latest.by.as_ref()) {
        field("asked by", &asked_by(by));
    }
    if let Some(live) = &detail.live {
        let fields = live.fields(run.counts.into());
        fields
            .iter()
            .for_each(|(name, value)| field(name, &format::visible_line(value)));
    }
    if let Some(death) = &shown.death {
        field("died with", &format::visible_line(&death.text()));
    }
    field("status", &Standing::from(run).status_text());
    field("verdict", run.verdict.as_str());
    field("trials", &trials(run.counts.into()));

    let providers = manifest.providers.iter();
    let providers = providers.map(|provider| (provider.name.as_str(), &provider.grants));
    let mut name = "grants";
    for line in grants::tables(providers.clone()) {
        field(std::mem::take(&mut name), &line);
    }
    if let Some(resume) = resume {
        field("resume", &format::visible_line(resume));
    }

    if !shown.providers.is_empty() {
        lines.push(String::new());
        lines.push(summary::table(&shown.providers, width));
    }
    if let Some(denied) = denials::text(&shown.denials, &providers.collect()) {
        lines.push(String::new());
        lines.push(denied);
    }
    lines.join("\n")
}

/// Prints rows in full, below an empty line, for as long as somebody reads them.
///
/// # Errors
///
/// Fails with the first that there is instead of a row.
pub fn print_rows<E>(
    rows: impl Iterator<Item = Result<Row<'static>, E>>,
    output: &Output,
) -> Result<(), E> {
    let columns = output.columns();
    let mut text = "\n".to_owned();
    for row in rows {
        text += &wrap::wrapped(&row_text(&row?), columns);
        text.push('\n');
        if text.len() >= PIECE_BYTES {
            if output.feed(&text) == Reader::Gone {
                return Ok(());
            }
            text.clear();
        }
    }
    // It has more than the empty line if there was a row.
    if text.len() > 1 {
        output.feed(&text);
    }
    Ok(())
}

/// The sessions that worked on a run, what was in flight where their processes died, and every change of its status;
/// tables have at most `width` characters.
pub fn history_text(history: &RunHistory, width: Option<usize>) -> String {
    let RunHistory {
        run,
        manifest,
        deaths,
        rejudged,
    } = history;
    let word = |reason: Option<Reason>| reason.map_or("", Reason::as_str);
    let mut sessions = Table::new([
        Column::new("session").right(),
        Column::new("began").go(3),
        Column::new("ended").go(1),
        Column::new("by"),
        Column::new("reran").cut(0, 8).go(2),
        Column::new("reason"),
    ]);
    for session in &manifest.sessions {
        sessions.row([
            session.n.to_string().into(),
            format::local(session.opened_at).into(),
            session
                .closed_at
                .map(format::local)
                .unwrap_or_default()
                .into(),
            opened_by(session).into(),
            reran(session).into(),
            word(session.reason).into(),
        ]);
    }
    let mut transitions = Table::new([
        Column::new("at").go(2),
        Column::new("from").go(1),
        Column::new("to"),
        Column::new("reason"),
        Column::new("by").go(0),
        Column::new("asked by").cut(3, 16),
    ]);
    for transition in &manifest.transitions {
        transitions.row([
            format::local(transition.at).into(),
            transition.from.map_or("", RunStatus::as_str).into(),
            transition.to.as_str().into(),
            match (transition.reason, transition.signal) {
                (Some(reason), Some(signal)) => format!("{reason} ({})", signal.as_str()).into(),
                (reason, _) => word(reason).into(),
            },
            transition.writer.as_str().into(),
            transition
                .by
                .as_ref()
                .map(asked_by)
                .unwrap_or_default()
                .into(),
        ]);
    }
    let deaths = deaths.iter().map(|death| {
        let (session, text) = (death.session, format::visible_line(&death.text()));
        format!("session {session} died with {text} in flight")
    });
    let deaths = deaths.collect::<Vec<_>>().join("\n");
    let mut parts = vec![
        headline(&run.id, run),
        sessions.fitted(width),
        pauses_text(manifest, width),
        deaths,
        transitions.fitted(width),
        rejudged_text(rejudged),
    ];
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

/// The command that opened a session, and in which shard that was.
fn opened_by(session: &ManifestSession) -> String {
    match &session.origin {
        None => session.opened_by.clone(),
        Some(origin) => {
            let shard = format::visible_line(&origin.run_id);
            format!(
                "{} of {shard}, session {}",
                session.opened_by, origin.session
            )
        }
    }
}

/// Which trials a session has run again.
fn reran(session: &ManifestSession) -> &str {
    let rerun = session.rerun.as_deref();
    let is_judgement = |text: &&str| {
        text.parse::<Rerun>()
            .is_ok_and(|it| it == Rerun::Judgements)
    };
    // Nothing runs where trials are judged again.
    rerun.filter(|text| !is_judgement(text)).unwrap_or_default()
}

/// What trials came to that were judged more than once, the newest last.
fn rejudged_text(rejudged: &RejudgedAttempts) -> String {
    let mut lines: Vec<_> = rejudged
        .first
        .iter()
        .map(|attempt| {
            let came_to = attempt.came_to.iter();
            let came_to =
                came_to.map(|(session, outcome)| format!("{outcome} (session {session})"));
            let came_to = came_to.collect::<Vec<_>>().join(", then ");
            format!("{}  {came_to}", format::visible_line(&attempt.trial))
        })
        .collect();
    let more = rejudged.count - rejudged.first.len() as u64;
    if more > 0 {
        lines.push(format!("… and {} more", format::count(more)));
    }
    if !lines.is_empty() {
        lines.insert(0, format!("{}", "judged more than once".bold()));
    }
    lines.join("\n")
}

/// How a run stands that was asked to pause or to go on, and what the line does not say of the answer.
pub fn pause_text(run: &RunEntry, answer: PauseAnswer) -> String {
    let phrase = match answer {
        PauseAnswer::Paused | PauseAnswer::Unpaused => "",
        PauseAnswer::AlreadyPaused => "was paused before:",
        PauseAnswer::NotPaused => "was not paused:",
        PauseAnswer::AlreadyTerminal => "had ended already:",
        PauseAnswer::NoAnswer => "has not answered:",
    };
    answered_text(run, phrase)
}

/// How a run stands that was asked to end, and what the line does not say of the answer.
pub fn stop_text(run: &RunEntry, answer: StopAnswer) -> String {
    let phrase = match answer {
        StopAnswer::Stopped | StopAnswer::Cancelled => "",
        StopAnswer::AlreadyTerminal => "had ended already:",
        StopAnswer::NoAnswer => "has not answered:",
    };
    answered_text(run, phrase)
}

fn answered_text(run: &RunEntry, phrase: &str) -> String {
    let line = Standing::from(run).line();
    let words = [run.id.as_str(), phrase, &line];
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// The run and how it stands, on one line.
pub(super) fn headline<'a, R>(id: &RunId, run: &'a R) -> String
where
    Standing: From<&'a R>,
{
    let id = id.to_string();
    format!("{} {}", id.bold(), Standing::from(run).line())
}

/// A row: on one line if it is well, else with what is wrong.
pub(super) fn row_text(row: &Row<'_>) -> String {
    if row.outcome.is_bad() {
        return failure::lines(row);
    }
    failure::head(row)
}

/// Who asked for something, and why.
fn actor_text(by: &By) -> String {
    format::visible_line(&Actor::from(by.clone()).to_string())
}

/// Who asked for a change, from where, when and why.
fn asked_by(by: &By) -> String {
    let at = format::local(by.at);
    let actor = Actor {
        text: None,
        ..by.clone().into()
    };
    let text = by.text.as_ref().map(|text| format!(": {text}"));
    let text = text.unwrap_or_default();
    format::visible_line(&format!("{actor} (pid {}) at {at}{text}", by.pid))
}

/// Since when something is paused, and by whom.
pub(super) fn paused(pause: &RunPause) -> String {
    let since = format::local(pause.at);
    format!("since {since}, by {}", paused_by(pause))
}

fn paused_by(pause: &RunPause) -> String {
    pause.by.as_ref().map_or("Ctrl-Z".to_owned(), asked_by)
}

/// A table of the times in which sessions were paused; empty if none was.
fn pauses_text(manifest: &Manifest, width: Option<usize>) -> String {
    let mut pauses = Table::new([
        Column::new("session").right().go(2),
        Column::new("paused"),
        Column::new("until").go(1),
        Column::new("for").right().go(0),
        Column::new("by").cut(3, 16),
    ]);
    let mut is_empty = true;
    for session in &manifest.sessions {
        for pause in &session.pauses {
            is_empty = false;
            let until = pause.until.or(session.closed_at);
            let lasted = until.map(|until| format::duration(worked_between(pause.at, until, &[])));
            pauses.row([
                session.n.to_string().into(),
                format::local(pause.at).into(),
                until.map(format::local).unwrap_or_default().into(),
                lasted.unwrap_or_default().into(),
                pause
                    .by
                    .as_ref()
                    .map_or("Ctrl-Z".to_owned(), actor_text)
                    .into(),
            ]);
        }
    }
    match is_empty {
        true => String::new(),
        false => pauses.fitted(width),
    }
}

fn pin_text(pinned: &Pinned) -> String {
    let since = format::local(pinned.at);
    match &pinned.reason {
        Some(reason) => format!("since {since}: {}", format::visible_line(reason)),
        None => format!("since {since}"),
    }
}

/// For how long a run was, or has been, worked on, and from its beginning to its end where that is something else.
fn took_in_full(run: &RunSummary) -> String {
    let worked = run.elapsed;
    let took = format::duration(worked);
    let wall = run
        .completed_at
        .map(|end| end.duration_since(run.started_at));
    match wall.map(Duration::try_from) {
        Some(Ok(wall)) if run.sessions > 1 => format!(
            "{took} in {} sessions, {} in all",
            run.sessions,
            format::duration(wall)
        ),
        // Its process was stopped for a while.
        Some(Ok(wall)) if wall > worked => format!("{took}, {} in all", format::duration(wall)),
        _ => took,
    }
}

fn trials(counts: Counts) -> String {
    format!(
        "{} of {}: {}",
        format::count(counts.done()),
        format::count(counts.planned),
        format::counted(counts)
    )
}

/// A line with the name of what it tells; further lines of the value are below its first.
pub(super) fn dim_field(name: &str, value: &str) -> String {
    let value = value.replace('\n', "\n          ");
    format!("{} {value}", format!("{name:<9}").dimmed())
}
