//! The printer: results go to standard output, messages and progress to standard error.
//!
//! If the reader of standard output is gone, such as `head`, output is dropped without an error. If standard output cannot be
//! written for another reason, nothing more is written to it, and the exit code is 7.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::{env, os::fd::AsFd, panic, sync::LazyLock, time::Duration};

use anstream::{AutoStream, ColorChoice};
use indicatif::ProgressBar;
use runner_model::exit::Exit;
use runner_model::visible::{visible, visible_line, without_commands};
use runner_report::json;
use serde::Serialize;

use super::{layout, spool::DROP_AFTER, spool::Spool, style};

/// Columns of a terminal that does not report its size.
const DEFAULT_COLUMNS: usize = 80;
/// Bytes of lines that [`Lines`] collects before it prints them.
const LINES_BYTES: usize = 64 << 10;
/// Longest wait of a message for unread results, which come first if both go to the same pipe.
const RESULTS_FIRST: Duration = Duration::from_millis(100);

/// Standard output and standard error.
#[derive(Default)]
pub struct Out {
    bar: RefCell<Option<ProgressBar>>,
    write_error: RefCell<Option<io::Error>>,
    is_reader_gone: Cell<bool>,
    /// `None` if output waits for its reader.
    spool: RefCell<Option<Spool>>,
}

impl Out {
    /// Stops waiting for the reader of standard output, unless it is a terminal: a session runs and stops without one. Then only
    /// [`Self::exit`] waits.
    pub fn start_spool(&self) {
        let mut spool = self.spool.borrow_mut();
        if spool.is_none() && self.columns().is_none() {
            // Without a temporary file or a thread the session waits for the reader.
            *spool = Spool::start().ok();
        }
    }

    /// Prints lines of results, wrapped to the terminal's width.
    pub fn data(&self, text: &str) {
        let mut text = fitted(text, self.columns());
        text.push('\n');
        self.print(&text);
    }

    /// Prints a text after its title, which takes at least `columns`. Lines after the first are indented below it.
    pub fn fact(&self, columns: usize, title: &str, text: &str) {
        let text = visible(text).replace('\n', &format!("\n{:columns$} ", ""));
        self.data(&format!("{title:columns$} {text}"));
    }

    /// Prints a document as JSON.
    pub fn document(&self, document: &impl Serialize) {
        self.stream(|stdout| Ok(json::write_document(stdout, document)?));
    }

    /// Calls `write` with standard output.
    pub fn stream(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        runner_engine::exit_on_signal();
        let mut stdout = io::BufWriter::new(io::stdout().lock());
        self.record(write(&mut stdout).and_then(|()| stdout.flush()));
    }

    /// Prints a document as JSON, or calls `print`.
    pub fn document_or<D: Serialize>(&self, is_json: bool, document: &D, print: impl FnOnce(&D)) {
        if is_json { self.document(document) } else { print(document) }
    }

    /// Prints a value as one line of JSON.
    pub fn json_line(&self, value: &impl Serialize) {
        let line = json::one_line(value) + "\n";
        self.bytes(line.as_bytes());
    }

    /// Returns a buffered printer of lines, for up to millions of them.
    pub fn lines(&self, is_json: bool) -> Lines<'_> {
        Lines { out: self, is_json, columns: self.columns(), text: String::new() }
    }

    /// Prints a message, above the progress bar if there is one.
    pub fn talk(&self, text: &str) {
        let text = fitted(text, message_columns());
        if let Some(spool) = &*self.spool.borrow() {
            spool.wait(RESULTS_FIRST);
        }
        self.around_bar(|| {
            // A failure has no place where it could be reported.
            let _ = writeln!(anstream::stderr().lock(), "{text}");
        });
    }

    /// Prints a message in dim text, such as the command to type next.
    pub fn hint(&self, text: &str) {
        self.talk(&style::dim(text));
    }

    /// Prints lines for a CI system to standard error, as they are.
    pub fn ci(&self, text: &str) {
        self.around_bar(|| {
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }

    /// Prints a warning on one line.
    pub fn warn(&self, text: &str) {
        self.talk(&format!("{} {}", style::warning("warning:"), visible_line(text)));
    }

    /// Prints a notice after its title. The lines after the first, which may be pasted into a scenario, are indented.
    pub fn notice(&self, title: &str, text: &str) {
        let lines: Vec<_> = text.split('\n').map(visible_line).collect();
        self.talk(&format!("{title} {}", lines.join("\n  ")));
    }

    /// Waits until the results are printed, or until nothing is read for [`DROP_AFTER`]. A signal that ends the process after
    /// this call loses no results that are read.
    pub fn settle(&self) {
        if let Some(spool) = &*self.spool.borrow() {
            spool.wait(DROP_AFTER);
        }
    }

    /// Waits until all output is read, or until a signal exits the process. Returns the exit code: 7 in place of 0 and 1 if results could not be written.
    pub fn exit(&self, exit: Exit) -> Exit {
        if let Some(spool) = self.spool.take() {
            // If all is read, a signal comes too late: the exit code is that of the results.
            let is_stopped = !spool.wait(RESULTS_FIRST) && runner_engine::exit_on_signal();
            self.record(spool.finish(is_stopped));
        }
        let write_error = self.write_error.borrow();
        let Some(error) = &*write_error else { return exit };
        runner_engine::exit_on_signal();
        self.talk(&format!("{} cannot write to standard output: {error}", style::error("error:")));
        exit.without_output()
    }

    /// Returns whether standard output can no longer be written. A command that follows a run ends then.
    pub fn is_closed(&self) -> bool {
        self.is_reader_gone.get() || self.write_error.borrow().is_some()
    }

    /// Returns the columns of standard output. `None` if it is not a terminal: then nothing is shortened.
    pub fn columns(&self) -> Option<usize> {
        columns(&io::stdout())
    }

    /// Draws a bar below all lines. `None` removes it.
    pub fn set_bar(&self, bar: Option<ProgressBar>) {
        if let Some(old) = self.bar.replace(bar) {
            old.finish_and_clear();
        }
    }

    /// Installs a hook that reports panics as bugs. A panic's text may contain a guest's text, so it is escaped.
    pub fn report_panics(&self) {
        panic::set_hook(Box::new(|panic| {
            let backtrace = Backtrace::capture();
            let mut text = visible(&panic.to_string()).into_owned();
            match backtrace.status() {
                BacktraceStatus::Captured => text.push_str(&format!("\n{backtrace}")),
                _ => text.push_str("\nSet `RUST_BACKTRACE=1` to see where it comes from."),
            }
            let _ = writeln!(
                anstream::stderr().lock(),
                "\n{} this is a bug of runner, please report it: {text}",
                style::error("error:")
            );
        }));
    }

    fn print(&self, text: &str) {
        let text = match AutoStream::choice(&io::stdout()) {
            ColorChoice::Never => style::plain(text),
            _ => text.to_owned(),
        };
        self.around_bar(|| self.bytes(text.as_bytes()));
    }

    /// Writes bytes to standard output as they are.
    pub fn bytes(&self, bytes: &[u8]) {
        if self.is_closed() {
            return;
        }
        if let Some(spool) = &*self.spool.borrow() {
            return self.record(spool.write(bytes));
        }
        runner_engine::exit_on_signal();
        let mut stdout = io::stdout().lock();
        self.record(stdout.write_all(bytes).and_then(|()| stdout.flush()));
    }

    /// Remembers a failure of standard output.
    pub(super) fn record(&self, written: io::Result<()>) {
        let Err(error) = written else { return };
        if error.kind() == io::ErrorKind::BrokenPipe {
            self.is_reader_gone.set(true);
        } else {
            self.write_error.borrow_mut().get_or_insert(error);
        }
    }

    fn around_bar(&self, print: impl FnOnce()) {
        match &*self.bar.borrow() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

/// A buffered printer of lines. Dropping it prints the rest.
pub struct Lines<'a> {
    out: &'a Out,
    is_json: bool,
    columns: Option<usize>,
    text: String,
}

impl Lines<'_> {
    pub fn add(&mut self, line: &str) {
        if self.is_json {
            self.text.push_str(line);
        } else {
            self.text.push_str(&fitted(line, self.columns));
        }
        self.text.push('\n');
        if self.text.len() > LINES_BYTES {
            self.flush();
        }
    }

    pub fn flush(&mut self) {
        if !self.text.is_empty() {
            self.out.print(&std::mem::take(&mut self.text));
        }
    }
}

impl Drop for Lines<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Wraps lines to a screen, and escapes control characters. Colours stay: those in the texts of guests were escaped before.
pub fn fitted(text: &str, columns: Option<usize>) -> String {
    static IS_GITHUB: LazyLock<bool> = LazyLock::new(|| env::var_os("GITHUB_ACTIONS").is_some());
    let text = if *IS_GITHUB { without_commands(text) } else { text.into() };
    let mut safe = String::with_capacity(text.len());
    for (piece, is_style) in layout::pieces(&text) {
        safe.push_str(&if is_style { piece.into() } else { visible(piece) });
    }
    match columns {
        Some(columns) => layout::wrap(&safe, columns),
        None => safe,
    }
}

/// Returns the columns of standard error. `None` if it is not a terminal.
pub fn message_columns() -> Option<usize> {
    columns(&io::stderr())
}

pub fn has_colours() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

pub fn has_coloured_messages() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

fn columns(stream: &(impl AsFd + io::IsTerminal)) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stream);
    let columns = size.map(|size| usize::from(size.ws_col)).ok();
    // A terminal whose size was never set reports 0 columns.
    let columns = columns.filter(|columns| *columns > 0);
    let columns = columns.or_else(|| std::env::var("COLUMNS").ok()?.parse().ok());
    columns.filter(|columns| *columns > 0).or(Some(DEFAULT_COLUMNS))
}
