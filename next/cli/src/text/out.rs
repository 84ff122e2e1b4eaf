//! The printer: results to standard output, messages and progress to standard error.
//!
//! A reader that has gone, such as `head`, is no error: what is printed to it is dropped. Standard output that cannot be
//! written for another reason is lost: nothing more is printed there, and the command ends with exit code 7.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    cell::{Cell, RefCell},
    fmt::Write as _,
    io::{self, Write},
    os::fd::AsFd,
    panic,
};

use anstream::{AutoStream, ColorChoice};
use indicatif::ProgressBar;
use runner_model::{exit::Exit, visible::visible};
use runner_report::json;
use serde::Serialize;

use super::{error::CommandError, layout, style};

/// Columns of a terminal that does not say how many it has.
const COLUMNS: usize = 80;
/// Bytes of lines that are printed at once.
const AT_ONCE: usize = 64 << 10;

/// Standard output and standard error.
pub struct Out {
    bar: RefCell<Option<ProgressBar>>,
    lost: RefCell<Option<io::Error>>,
    is_reader_gone: Cell<bool>,
}

impl Out {
    pub fn new() -> Self {
        Self {
            bar: RefCell::new(None),
            lost: RefCell::new(None),
            is_reader_gone: Cell::new(false),
        }
    }

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

    /// Prints a line that is JSON already.
    pub fn json_line(&self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
    }

    /// Prints lines of results of which there may be millions, many at once.
    pub fn lines(&self) -> Lines<'_> {
        Lines {
            out: self,
            columns: self.columns(),
            text: String::new(),
        }
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
        match &*self.lost.borrow() {
            Some(error) => {
                self.talk(&format!(
                    "{} cannot write to standard output: {error}",
                    style::error("error:")
                ));
                if matches!(exit, Exit::Success | Exit::Bad) {
                    Exit::Storage
                } else {
                    exit
                }
            }
            None => exit,
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
            ColorChoice::Never => layout::pieces(text)
                .filter(|(_, is_style)| !is_style)
                .map(|(piece, _)| piece)
                .collect(),
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
    columns: Option<usize>,
    text: String,
}

impl Lines<'_> {
    /// Adds a line for people.
    pub fn add(&mut self, line: &str) {
        let line = fitted(line, self.columns);
        self.add_json(&line);
    }

    /// Adds a line that is JSON already.
    pub fn add_json(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        if self.text.len() > AT_ONCE {
            self.out.print(&self.text);
            self.text.clear();
        }
    }
}

impl Drop for Lines<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.out.print(&self.text);
        }
    }
}

/// Breaks lines where a screen ends, and makes visible what would steer it, other than colours: those of others are
/// visible already.
fn fitted(text: &str, columns: Option<usize>) -> String {
    let mut safe = String::with_capacity(text.len());
    for (piece, is_style) in layout::pieces(text) {
        let _ = match is_style {
            true => safe.write_str(piece),
            false => safe.write_str(&visible(piece)),
        };
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
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    let said = || std::env::var("COLUMNS").ok()?.parse().ok();
    Some(columns)
        .filter(|columns| *columns > 0)
        .or_else(said)
        .or(Some(COLUMNS))
}
