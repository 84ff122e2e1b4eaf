//! The printer: results to standard output, messages and progress to standard error.
//!
//! A reader that has gone, such as `head`, is no error: what is printed to it is dropped. Standard output that cannot be
//! written for another reason is lost: nothing more is printed there, and the command ends with exit code 7.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    cell::{Cell, RefCell},
    io::{self, Write},
    os::fd::AsFd,
    panic,
};

use anstream::{AutoStream, ColorChoice};
use indicatif::ProgressBar;
use runner_model::{exit::Exit, visible::visible};
use runner_report::json;
use serde::Serialize;

use super::{CommandError, layout, style};

/// Columns of a terminal that does not say how many it has.
const COLUMNS: usize = 80;
/// Bytes of lines that are printed at once.
const AT_ONCE: usize = 64 << 10;

/// Standard output and standard error.
#[derive(Default)]
pub struct Out {
    bar: RefCell<Option<ProgressBar>>,
    lost: RefCell<Option<io::Error>>,
    is_reader_gone: Cell<bool>,
}

impl Out {
    /// Prints lines of results, broken between words where the terminal ends.
    pub fn data(&self, text: &str) {
        let mut text = fitted(text, self.columns());
        text.push('\n');
        self.print(&text);
    }

    /// Prints a document as JSON.
    pub fn document(&self, document: &impl Serialize) {
        let mut stdout = io::BufWriter::new(io::stdout().lock());
        let written = json::write_document(&mut stdout, document).map_err(io::Error::from);
        self.note(written.and_then(|()| stdout.flush()));
    }

    /// Prints a document: as JSON, or in words.
    pub fn answer<D: Serialize>(&self, is_json: bool, document: &D, words: impl FnOnce(&D)) {
        match is_json {
            true => self.document(document),
            false => words(document),
        }
    }

    /// Prints a value as a line of JSON.
    pub fn json_line(&self, value: &impl Serialize) {
        let line = json::one_line(value) + "\n";
        self.write(line.as_bytes());
    }

    /// Prints lines of which there may be millions, many at once: of results, or of JSON.
    pub fn lines(&self, is_json: bool) -> Lines<'_> {
        Lines { out: self, is_json, columns: self.columns(), text: String::new() }
    }

    /// Prints a message.
    pub fn talk(&self, text: &str) {
        let text = fitted(text, message_columns());
        self.around_bar(|| {
            // Where standard error cannot be written, nobody can be told.
            let _ = writeln!(anstream::stderr().lock(), "{text}");
        });
    }

    /// Prints what to type next, or something as unimportant.
    pub fn hint(&self, text: &str) {
        self.talk(&style::dim(text));
    }

    /// Prints a warning.
    pub fn warn(&self, text: &str) {
        self.talk(&format!("{} {}", style::warning("warning:"), visible(text)));
    }

    /// Prints why a command could not do its work.
    pub fn error(&self, error: &CommandError) {
        self.talk(error.text());
    }

    /// The exit code: 7 where results were lost, unless a worse end is to be told.
    pub fn exit(&self, exit: Exit) -> Exit {
        let lost = self.lost.borrow();
        let Some(error) = &*lost else { return exit };
        self.talk(&format!("{} cannot write to standard output: {error}", style::error("error:")));
        match exit {
            Exit::Success | Exit::Bad => Exit::Storage,
            worse => worse,
        }
    }

    /// Tells whether the reader of standard output has gone or cannot be written to: a command that follows ends then.
    pub fn is_unread(&self) -> bool {
        self.is_reader_gone.get() || self.lost.borrow().is_some()
    }

    /// Columns of the terminal that results go to; `None` if they go elsewhere, and nothing is to be left out.
    pub fn columns(&self) -> Option<usize> {
        columns(&io::stdout())
    }

    /// Draws a bar below all lines, until it is taken away with `None`.
    pub fn set_bar(&self, bar: Option<ProgressBar>) {
        if let Some(old) = self.bar.replace(bar) {
            old.finish_and_clear();
        }
    }

    /// From now on panics are reported as what they are. Their texts may be a guest's.
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
        self.around_bar(|| self.write(text.as_bytes()));
    }

    fn write(&self, bytes: &[u8]) {
        if self.lost.borrow().is_none() && !self.is_reader_gone.get() {
            let mut stdout = io::stdout().lock();
            self.note(stdout.write_all(bytes).and_then(|()| stdout.flush()));
        }
    }

    fn note(&self, written: io::Result<()>) {
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_reader_gone.set(true);
            }
            Err(error) => {
                self.lost.borrow_mut().get_or_insert(error);
            }
        }
    }

    fn around_bar(&self, print: impl FnOnce()) {
        match &*self.bar.borrow() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

/// Lines that are printed many at once; what is left is printed when this is dropped.
pub struct Lines<'a> {
    out: &'a Out,
    is_json: bool,
    columns: Option<usize>,
    text: String,
}

impl Lines<'_> {
    /// Adds a line.
    pub fn add(&mut self, line: &str) {
        match self.is_json {
            true => self.text.push_str(line),
            false => self.text.push_str(&fitted(line, self.columns)),
        }
        self.text.push('\n');
        if self.text.len() > AT_ONCE {
            self.flush();
        }
    }

    /// Prints what was added.
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

/// Breaks lines where a screen ends, and makes visible what would steer it, other than colours: those of others are
/// visible already.
fn fitted(text: &str, columns: Option<usize>) -> String {
    let mut safe = String::with_capacity(text.len());
    for (piece, is_style) in layout::pieces(text) {
        match is_style {
            true => safe.push_str(piece),
            false => safe.push_str(&visible(piece)),
        }
    }
    match columns {
        Some(columns) => layout::wrap(&safe, columns),
        None => safe,
    }
}

/// Columns of the terminal that messages go to.
pub fn message_columns() -> Option<usize> {
    columns(&io::stderr())
}

/// Whether messages are coloured.
pub fn has_coloured_messages() -> bool {
    AutoStream::choice(&io::stderr()) != ColorChoice::Never
}

fn columns(stream: &(impl AsFd + io::IsTerminal)) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stream);
    let columns = size.map(|size| usize::from(size.ws_col)).ok();
    let said = || std::env::var("COLUMNS").ok()?.parse().ok();
    let columns = columns.filter(|columns| *columns > 0).or_else(said);
    columns.filter(|columns| *columns > 0).or(Some(COLUMNS))
}
