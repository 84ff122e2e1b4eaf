//! The page of a trial, and its parts: printed for other programs, or saved as files.

use std::io::{self, Read};
use std::path::Path;

use runner_model::tree::is_repository;
use runner_model::units::plural;
use runner_model::visible::{cut, shown_path, visible_line};
use runner_record::{RecordError, RunDir, now};
use runner_report::{TrialDocument, TrialPart, phrases, run_facts};

use super::transcript;
use crate::commands::init::write_new;
use crate::text::trials::{self, Extent};
use crate::text::{CommandError, Out, mistake};

/// The folder of a workspace among the parts of a trial.
const WORKSPACE: &str = "workspace";
/// Bytes that are read at a time.
const CHUNK: usize = 64 << 10;
/// Maximum number of paths in a warning.
const MAX_NAMED: usize = 5;
/// Maximum number of characters of a path in a warning.
const SHOWN_PATH: usize = 200;

/// Prints the page of a trial, and the command that calls its plugin again.
pub fn print(document: &TrialDocument, run: &RunDir, is_full: bool, out: &Out) {
    if let Some(row) = document.row() {
        let known = document.known.as_ref().filter(|_| document.shown == document.settling);
        let extent = Extent {
            columns: out.columns(),
            is_full,
            remedy: "`--full` shows all",
            known: known.map(|known| known.state),
        };
        out.data(&trials::page(&row, document.sections(&row), extent));
        if let Some(found) = &row.workspace {
            let advice = found.changes.map(|_| format!("; to see them: {}", document.diff));
            let advice = advice.unwrap_or_default();
            out.data(&format!("workspace: {}{advice}", phrases::workspace(found)));
        }
        transcript::summary(document, run).iter().for_each(|line| out.data(line));
    }
    if let Some(running) = &document.running {
        let attempt = run_facts::running(running, now());
        let output = running.output.iter().flat_map(|output| output.text.lines());
        let lines = output.map(|line| format!("\n  {}", visible_line(line)));
        out.data(&format!("running: {attempt}{}", lines.collect::<String>()));
    }
    out.data(&format!("reproduce: {}", document.reproduce));
}

/// Prints a part of a trial: its bytes for other programs, and visible text on a terminal.
pub fn open(
    document: &TrialDocument,
    run: &RunDir,
    name: &str,
    out: &Out,
) -> Result<(), CommandError> {
    let parts = parts(document);
    let part = TrialPart::find(&parts, &document.trial, name).map_err(CommandError::usage)?;
    let mut content = part.open(run)?;
    if out.columns().is_some() {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(|source| unreadable(run, source))?;
        out.data(String::from_utf8_lossy(&bytes).trim_end_matches('\n'));
        return Ok(());
    }
    let mut chunk = vec![0; CHUNK];
    loop {
        match content.read(&mut chunk).map_err(|source| unreadable(run, source))? {
            0 => return Ok(()),
            length => out.bytes(&chunk[..length]),
        }
    }
}

/// Writes all parts of a trial into a folder, and replaces no file.
pub fn save(
    document: &TrialDocument,
    run: &RunDir,
    folder: &Path,
    out: &Out,
) -> Result<(), CommandError> {
    // `git status` in the folder must not run a program that the attempt chose. An artifact is never a folder, but a file
    // `commondir` can name one.
    let decides = |name: &str| is_repository(name) || name.eq_ignore_ascii_case("commondir");
    let (repositories, parts): (Vec<_>, Vec<_>) = parts(document)
        .into_iter()
        .partition(|part| part.name.split('/').next_back().is_some_and(decides));
    let mut repositories: Vec<_> = repositories.into_iter().map(|part| part.name).collect();
    let workspace = document.workspace(run)?.map(|(_, files)| files);
    let names = parts.iter().map(|part| &*part.name);
    for name in names.chain(workspace.iter().map(|_| WORKSPACE)) {
        let path = folder.join(name);
        for folder in [Some(folder), path.parent()].into_iter().flatten() {
            if folder.symlink_metadata().is_ok() && !folder.is_dir() {
                let folder = shown_path(folder);
                return Err(mistake!("{folder} is not a folder; choose another: --save DIR"));
            }
        }
        if path.symlink_metadata().is_ok() {
            let path = shown_path(&path);
            return Err(mistake!("{path} exists; choose another folder: --save DIR"));
        }
    }
    for part in &parts {
        let path = folder.join(&part.name);
        let written = write_new(&path, part.open(run)?);
        written.map_err(|error| CommandError::cannot_write(&path, &error))?;
    }
    let files = plural(parts.len() as u64, "file", "files");
    out.data(&format!("saved {files} in {}", shown_path(folder)));
    if let Some(workspace) = workspace {
        let folder = folder.join(WORKSPACE);
        let saved = workspace.save(&folder)?;
        let files = plural(saved.files, "file or link", "files and links");
        out.data(&format!("saved {files} of the workspace in {}", shown_path(&folder)));
        warn_of(&saved.refused, "lead out of the workspace", out);
        repositories.extend(saved.repositories);
    }
    warn_of(&repositories, "decide which programs version control runs", out);
    Ok(())
}

/// Warns that entries were left out.
fn warn_of(paths: &[String], why: &str, out: &Out) {
    let named = paths.iter().take(MAX_NAMED).map(|path| format!("`{}`", cut(path, SHOWN_PATH)));
    let named: Vec<_> = named.collect();
    let more = match paths.len() - named.len() {
        0 => String::new(),
        more => format!(" and {}", plural(more as u64, "other", "others")),
    };
    if !paths.is_empty() {
        out.warn(&format!("left out, because they {why}: {}{more}", named.join(", ")));
    }
}

fn parts(document: &TrialDocument) -> Vec<TrialPart> {
    document.row().map_or_else(Vec::new, |row| document.parts(&row))
}

fn unreadable(run: &RunDir, source: io::Error) -> RecordError {
    RecordError::Io { what: "read the artifacts of", path: run.path(), source }
}
