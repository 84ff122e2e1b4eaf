//! The only module that prints: data to standard output, talk to standard error.

mod attempt_logs;
mod awaited;
mod bar;
mod comparison;
mod denials;
mod events;
mod failure;
mod fleet;
mod follow;
mod follow_trials;
mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod grants;
mod group;
mod inspection;
mod keys;
mod list;
mod live;
mod long_document;
mod lost;
mod merge;
mod next;
mod notices;
mod overview;
mod page;
mod pager;
mod preview;
mod queue;
mod rehearsal;
mod report;
mod rescoring;
mod runs;
mod standing;
mod stream;
mod summary;
mod table;
mod tone;
mod tools;
mod trends;
mod upkeep;
mod wrap;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    panic,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anstream::{AutoStream, ColorChoice};
use indicatif::ProgressBar;
use miette::{GraphicalReportHandler, GraphicalTheme, MietteHandlerOpts, miette};
use owo_colors::OwoColorize as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use textwrap::{WordSeparator, WordSplitter};

pub use attempt_logs::print_attempt_logs;
pub use comparison::comparison_text;
pub use fleet::{print_engine, print_engine_cleaning, print_workers, worker_line};
pub use follow::Follow;
pub use follow_trials::FollowTrials;
pub use group::{GroupReport, scenario_text};
pub use inspection::inspection_text;
use keys::KeyTerminal;
pub use keys::PressedKeys;
pub use list::{list_text, print_list};
pub use live::print_activity;
use lost::LostOutput;
pub use merge::merge_text;
pub use next::{resume_command, resume_line};
pub use notices::{Notices, RehearsalNotices, print_notified};
pub use overview::print_overview;
pub use page::{page_text, print_saved};
use pager::Paging;
pub use pager::{Paged, Pager};
pub use preview::{print_plan, print_preview};
pub use queue::{print_busy, print_queue, print_queue_change, print_queue_hint, print_queue_step};
pub use rehearsal::print_rehearsal;
pub use report::{Mode, Report};
pub use rescoring::rescored_text;
pub use runs::{history_text, pause_text, print_rows, show_text, stop_text};
pub use stream::EventStream;
pub use tools::{print_created, print_project, tools_text, written_line};
pub use trends::trends_text;
pub use upkeep::{
    print_cleaned, print_pruned, print_reindexed, valid_text, verify_text, warn_unreadable,
};

use crate::error::{Error, without_titles};
pub use crate::model::{plural, quoted};

/// How wide a line is that goes to no terminal.
const WIDTH: usize = 80;

/// Lays errors out for the screen, if there is one. Names in them stay whole: what is broken over two lines cannot be pasted.
pub fn lay_out_errors() {
    let width = wrap::columns(io::stderr());
    let handler = move || {
        let options = MietteHandlerOpts::new();
        let options = match width {
            None => options.wrap_lines(false),
            Some(width) => options
                .width(width)
                .break_words(false)
                .word_separator(WordSeparator::AsciiSpace)
                .word_splitter(WordSplitter::NoHyphenation),
        };
        options.build()
    };
    // It fails only if there is a hook already, which then stays.
    drop(miette::set_hook(Box::new(move |_| Box::new(handler()))));
}

/// Standard output and standard error.
///
/// A reader that has gone is no error: what is printed to it from then on is dropped. Data that cannot be written for another
/// reason is lost, which [`Output::lost`] tells when all is done. What would steer a terminal, other
/// than by a colour, is made visible wherever it comes from; colours of anybody else's are not here any more, since whoever
/// makes a text of what a guest, a file or a person says does so with `format::visible`.
#[derive(Clone, Default)]
pub struct Output {
    /// The progress bar that lines must not be printed into, while there is one.
    bar: Arc<Mutex<Option<ProgressBar>>>,
    /// Whether talk goes into a run's log, which has already what the runner traces.
    is_log: Arc<AtomicBool>,
    paging: Arc<Mutex<Paging>>,
    lost: LostOutput,
    terminal: KeyTerminal,
}

/// Whether somebody reads what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// As far as anybody knows.
    Here,
    /// The other end of a pipe was closed, as `head` does, or what is printed cannot be written.
    Gone,
}

impl Output {
    /// Prints a line of data.
    pub fn data(&self, line: &str) {
        let mut line = format::visible_but_styles(line).into_owned();
        line.push('\n');
        self.around_bar(|| _ = self.print(&line));
    }

    /// Prints a line of data that has no colours of ours: whatever it is made of, none are in it.
    pub fn plain_data(&self, line: &str) {
        self.data(&format::visible(line));
    }

    /// Prints a document as JSON.
    pub fn document(&self, document: &impl Serialize) {
        self.data(&format::document(document));
    }

    /// Prints a document as JSON whose list `key` is empty in it, and has `items`: the same bytes, without ever holding
    /// them all. The rest is dropped once nobody reads any more.
    pub fn long_document<T: Serialize, E>(
        &self,
        document: &impl Serialize,
        key: &str,
        items: impl Iterator<Item = Result<T, E>>,
    ) -> Result<(), E> {
        let mut told = Ok(());
        self.lost.write(|| {
            let mut stdout = io::stdout().lock();
            let written = long_document::write(&mut stdout, document, key, items);
            written.unwrap_or_else(|error| {
                told = Err(error);
                Ok(())
            })
        });
        told
    }

    /// Prints a document as JSON on one line.
    fn line(&self, document: &impl Serialize) {
        self.data(&format::compact(document));
    }

    /// Prints what a person wants to know, in lines that are as long as the screen is wide; a program gets them whole.
    pub fn show(&self, text: &str) {
        self.data(&wrap::wrapped(text, self.columns()));
    }

    /// Prints text of data that ends its last line itself.
    pub fn text(&self, text: &str) {
        let text = format::visible_but_styles(text);
        self.around_bar(|| _ = self.print(&text));
    }

    /// Prints what may have been written by a guest: a program gets it byte by byte, a person sees what would steer the terminal, and
    /// always a whole last line.
    pub fn reply(&self, text: &str) {
        if !io::stdout().is_terminal() {
            self.bytes(text.as_bytes());
            return;
        }
        let text = format::visible(text);
        match text.is_empty() || text.ends_with('\n') {
            true => self.text(&text),
            false => self.data(&text),
        }
    }

    /// Prints a file's content: a program gets it byte by byte, a person sees what would steer the terminal.
    pub fn part(&self, content: &[u8]) {
        match io::stdout().is_terminal() {
            true => self.reply(&String::from_utf8_lossy(content)),
            false => drop(self.bytes(content)),
        }
    }

    /// Prints text of data for as long as it is read, and flushes.
    pub fn feed(&self, text: &str) -> Reader {
        self.print(&format::visible_but_styles(text))
    }

    /// How many characters a line of data has room for.
    pub fn width(&self) -> usize {
        self.columns().unwrap_or(WIDTH)
    }

    /// The same for tables; `None` where there is no screen, and nothing is to be left out.
    pub fn columns(&self) -> Option<usize> {
        wrap::columns(io::stdout())
    }

    /// The same for talk.
    fn talk_columns(&self) -> Option<usize> {
        wrap::columns(io::stderr())
    }

    /// Asks, while there is nothing to print, whether it would be read.
    pub fn reader(&self) -> Reader {
        if self.lost.error().is_some() {
            return Reader::Gone;
        }
        let stdout = io::stdout();
        let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut asked, Some(&Timespec::default())) {
            Ok(_) if asked[0].revents().contains(PollFlags::ERR) => Reader::Gone,
            _ => Reader::Here,
        }
    }

    /// From now on a terminal shows data in a pager, until what comes back is dropped.
    pub fn page(&self, pager: Option<&Pager>) -> Paged {
        if let Some(pager) = pager.filter(|_| io::stdout().is_terminal()) {
            *pager::lock(&self.paging) = Paging::Ready(pager.clone());
        }
        Paged(Arc::clone(&self.paging))
    }

    /// Prints a text and flushes, at once: what leaves out the colours where nobody sees them would write every piece
    /// between two of them on its own.
    fn print(&self, text: &str) -> Reader {
        self.lost.write(|| {
            let mut stdout = io::stdout().lock();
            let seen = match AutoStream::choice(&stdout) {
                ColorChoice::Never => format::without_styles(text),
                _ => text.into(),
            };
            if let Some(written) = pager::lock(&self.paging).write(seen.as_bytes()) {
                return written;
            }
            stdout.write_all(seen.as_bytes())?;
            stdout.flush()
        })
    }

    /// Prints exactly these bytes of data, and flushes.
    fn bytes(&self, lines: &[u8]) -> Reader {
        self.lost.write(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(lines)?;
            stdout.flush()
        })
    }

    /// Why data could not be written, if that has happened; a reader that has gone is no reason.
    pub fn lost(&self) -> Option<Error> {
        let error = self.lost.error()?;
        Some(Error::storage(miette!(
            "cannot write to standard output: {error}"
        )))
    }

    /// Prints a line of talk.
    pub fn talk(&self, line: &str) {
        let line = format::visible_but_styles(line);
        let line = wrap::wrapped(&line, self.talk_columns());
        self.around_bar(|| drop(writeln!(anstream::stderr().lock(), "{line}")));
    }

    /// Prints a line of talk that has no colours of ours: whatever it is made of, none are in it.
    pub fn plain(&self, line: &str) {
        self.talk(&format::visible(line));
    }

    /// Prints a line of someone else's talk.
    pub fn hint(&self, line: &str) {
        self.talk(&format::visible(line).dimmed().to_string());
    }

    /// Prints what was written into a log, for as long as it is read, and flushes.
    pub fn log(&self, text: &str) -> Reader {
        self.feed(&format::visible(text))
    }

    /// Prints why a command line is none, or the help that it asks for.
    ///
    /// `styled` is `plain` with colours of ours.
    pub fn usage(&self, plain: &str, styled: &str, is_error: bool, arguments: &[OsString]) {
        let steers = |argument: &OsString| argument.to_string_lossy().contains(format::steers);
        let text = match arguments.iter().any(steers) {
            // Nobody can tell the colours of an argument from ours.
            true => format::visible(plain).into_owned(),
            false => styled.to_owned(),
        };
        match is_error {
            true => {
                let text = format::visible_but_styles(&text);
                let mut stderr = anstream::stderr().lock();
                drop(write!(stderr, "{text}").and_then(|()| stderr.flush()));
            }
            false => self.text(&text),
        }
    }

    /// Tells of panics from now on as of everything else: their words may be somebody else's.
    pub fn tell_panics() {
        panic::set_hook(Box::new(|panic| {
            let thread = thread::current();
            let name = thread.name().unwrap_or("<unnamed>");
            // Nobody else's words begin a line.
            let text = format!("thread '{name}' {panic}").replace('\n', "\n  ");
            let backtrace = Backtrace::capture();
            let mut stderr = anstream::stderr().lock();
            // The progress bar is left alone: it may be what has panicked.
            drop(writeln!(stderr, "\n{}", format::visible(&text)));
            drop(match backtrace.status() {
                BacktraceStatus::Captured => write!(stderr, "{backtrace}"),
                _ => writeln!(
                    stderr,
                    "note: `RUST_BACKTRACE=1` shows where it was called from"
                ),
            });
        }));
    }

    /// From now on talk goes into a run's log.
    pub fn go_to_log(&self) {
        self.is_log.store(true, Ordering::Relaxed);
    }

    /// Tells whether talk goes into a run's log: what the runner traces is there, and is not told once more.
    pub fn is_log(&self) -> bool {
        self.is_log.load(Ordering::Relaxed)
    }

    /// Prints a warning; it may have a guest's words in it, which begin no line.
    pub fn warn(&self, text: &str) {
        let text = format::visible(text).replace('\n', "\n  ");
        self.talk(&format!("{} {text}", "warning:".yellow().bold()));
    }

    /// Prints why a command could not do its work.
    pub fn error(&self, error: &Error) {
        let plain = without_colours(error);
        // Then some of it is a guest's, and nobody can tell its colours from ours.
        if plain.contains(format::steers) {
            self.talk(&without_titles(&format::visible(&plain)));
            return;
        }
        // It is laid out already, and a source in it must not be.
        let text = without_titles(&format!("{:?}", error.report));
        let text = format::visible_but_styles(&text);
        self.around_bar(|| drop(writeln!(anstream::stderr().lock(), "{text}")));
    }

    /// Asks a person at a terminal; `None` if there is none, or no answer.
    pub fn ask(&self, question: &str) -> Option<bool> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return None;
        }
        let mut stderr = anstream::stderr().lock();
        write!(stderr, "{} [y/N] ", format::visible_line(question))
            .and_then(|()| stderr.flush())
            .ok()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).ok()?;
        Some(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// Draws `bar` below all lines until it is taken away with `None`.
    fn set_bar(&self, bar: Option<ProgressBar>) {
        let old = std::mem::replace(&mut *self.lock(), bar);
        if let Some(old) = old {
            old.finish_and_clear();
        }
    }

    fn around_bar(&self, print: impl FnOnce()) {
        let bar = self.lock().clone();
        match bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error as it is printed, without colours and links of ours.
fn without_colours(error: &Error) -> String {
    let mut text = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_wrap_lines(false)
        .with_links(false)
        .render_report(&mut text, error.report.as_ref())
        .expect("a string can be written to");
    text
}
