//! [`Problems`]: the mistakes of a scenario and its lists, printed as rustc prints errors.

use std::{ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};
use runner_model::row::STDERR_FOLLOWS;
use runner_model::visible::{steers, visible, visible_line};

use crate::project::Refusal;

/// Bytes of a text to show. Of a longer one only the place is shown.
// A JSON list may be one line of 16 MiB.
const MAX_SHOWN_BYTES: usize = 4096;

/// Problems of a scenario and its lists, each with its place.
#[derive(Debug, Default)]
pub struct Problems {
    shown: Vec<Problem>,
    total: usize,
}

/// A problem without the text of its source, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedProblem<'a> {
    pub message: &'a str,
    /// The path for people. `None` if the problem has no place.
    pub file: Option<&'a str>,
    /// Line and column in characters, from 1. `None` for problems of a whole file.
    pub position: Option<(usize, usize)>,
    pub help: Option<&'a str>,
}

/// A mistake.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) message: String,
    /// The place of the problem, then those it contradicts.
    pub(crate) places: Vec<Place>,
    pub(crate) help: Option<String>,
    /// The machine lacks something, and the scenario is right.
    pub(crate) is_of_machine: bool,
}

/// A marked part of a source.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) source: Arc<Source>,
    /// A range of bytes of the source's text.
    pub(crate) span: Range<usize>,
    pub(crate) label: String,
}

/// A file, or a part of one.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path for people.
    pub(crate) path: String,
    /// Empty for problems of the whole file.
    pub(crate) text: String,
    /// The number of the text's first line in its file, from 1.
    pub(crate) first_line: usize,
}

impl Problems {
    /// Returns the text of all problems, at most `width` columns wide.
    pub fn render(&self, color: bool, width: usize) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.term_width(width);
        let mut texts: Vec<_> =
            self.shown.iter().map(|problem| problem.render(&renderer)).collect();
        let hidden = self.total - self.shown.len();
        if hidden > 0 {
            let note = format!(
                "these are the first of {} problems; {hidden} more are not shown",
                self.total
            );
            texts.push(renderer.render(&[Group::with_title(Level::NOTE.primary_title(note))]));
        }
        texts.join("\n\n") + "\n"
    }

    /// Returns the problems that [`Self::render`] shows.
    pub fn listed(&self) -> impl Iterator<Item = ListedProblem<'_>> {
        self.shown.iter().map(|problem| ListedProblem {
            message: &problem.message,
            file: problem.places.first().map(|place| place.source.path.as_str()),
            position: problem.places.first().and_then(Place::position),
            help: problem.help.as_deref(),
        })
    }

    /// Returns the number of problems, with those that are not shown.
    pub fn count(&self) -> usize {
        self.total
    }

    /// Returns whether the machine lacks something, such as space for temporary files, and the scenario is right.
    pub fn are_of_machine(&self) -> bool {
        self.shown.first().is_some_and(|problem| problem.is_of_machine)
    }

    /// Adds the problems of another part.
    pub fn extend(&mut self, other: Self) {
        self.shown.extend(other.shown);
        self.total += other.total;
    }

    /// Collects problems. At most `max_shown` are shown.
    pub(crate) fn first(max_shown: usize, problems: impl IntoIterator<Item = Problem>) -> Self {
        let mut all = Self::default();
        problems.into_iter().for_each(|problem| all.add(max_shown, problem));
        all
    }

    /// Adds a problem, which is shown if fewer than `max_shown` are.
    pub(crate) fn add(&mut self, max_shown: usize, problem: Problem) {
        self.total += 1;
        if self.shown.len() < max_shown {
            self.shown.push(problem);
        }
    }

    /// Adds later problems, which are shown while fewer than `max_shown` are.
    pub(crate) fn append(&mut self, max_shown: usize, later: Self) {
        self.extend(later);
        self.shown.truncate(max_shown);
    }

    /// Adds `count` problems that are not shown.
    pub fn add_hidden(&mut self, count: usize) {
        self.total += count;
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self::first(1, [problem])
    }
}

impl Problem {
    /// Creates a problem without a place.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), places: Vec::new(), help: None, is_of_machine: false }
    }

    /// Creates a problem of a whole file.
    pub(crate) fn for_file(path: &str, message: impl Into<String>) -> Self {
        Self::new(message).at(Place::new(&Source::new(path, "", 1), 0..0, ""))
    }

    /// Creates the problem of a file that is not read. `file` starts the message.
    pub(crate) fn refused(file: &str, Refusal { reason, help }: Refusal) -> Self {
        Self { help, ..Self::new(format!("{file} {reason}")) }
    }

    pub(crate) fn at(mut self, place: Place) -> Self {
        self.places.push(place);
        self
    }

    pub(crate) fn at_all(mut self, places: Vec<Place>) -> Self {
        self.places.extend(places);
        self
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Returns the message on one line, and the standard error of a plugin that it ends with in indented lines.
    fn title(&self) -> String {
        let Some((message, stderr)) = self.message.split_once(STDERR_FOLLOWS) else {
            return visible_line(&self.message).into_owned();
        };
        let lines = stderr.lines().filter(|line| !line.trim().is_empty());
        let lines = lines.map(|line| format!("\n  {}", visible_line(line)));
        format!("{}{STDERR_FOLLOWS}{}", visible_line(message), lines.collect::<String>())
    }

    fn render(&self, renderer: &Renderer) -> String {
        let mut group = Group::with_title(Level::ERROR.primary_title(self.title()));
        let mut places = &self.places[..];
        while let Some((first, _)) = places.split_first() {
            let same_source =
                places.iter().take_while(|place| Arc::ptr_eq(&place.source, &first.source));
            // Of a long line only the place is shown, which takes a separate element.
            let has_long_line = same_source.clone().any(Place::is_on_long_line);
            let count = if has_long_line { 1 } else { same_source.count() };
            let is_primary = places.len() == self.places.len();
            group = group.element(snippet(&places[..count], is_primary));
            places = &places[count..];
        }
        let Some(help) = &self.help else { return renderer.render(&[group]) };
        if self.places.is_empty() {
            // Without a place there are no line numbers to align with.
            let help = Group::with_title(Level::HELP.secondary_title(visible(help)));
            return [group, help].map(|group| renderer.render(&[group])).join("\n");
        }
        // Further lines of a help are indented, so none of them looks like another message.
        renderer.render(&[group.element(Level::HELP.message(visible(help)))])
    }
}

impl Place {
    pub(crate) fn new(source: &Arc<Source>, span: Range<usize>, label: &str) -> Self {
        Self { source: Arc::clone(source), span, label: label.to_owned() }
    }

    /// Returns line and column. `None` if the whole source is meant.
    fn position(&self) -> Option<(usize, usize)> {
        let text = &self.source.text;
        let at = self.span.start;
        let start = lines_around(text, self.span.clone()).start;
        (!text.is_empty()).then(|| (self.source.line(at), text[start..at].chars().count() + 1))
    }

    fn is_on_long_line(&self) -> bool {
        lines_around(&self.source.text, self.span.clone()).len() > MAX_SHOWN_BYTES
    }
}

impl Source {
    pub(crate) fn new(path: &str, text: &str, first_line: usize) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), text: text.to_owned(), first_line })
    }

    /// Returns the line in the file of the byte at `offset`, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.first_line + line_breaks(&self.text.as_bytes()[..offset])
    }
}

/// Counts line breaks.
pub(crate) fn line_breaks(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Returns the range of the lines that contain a part of a text.
fn lines_around(text: &str, part: Range<usize>) -> Range<usize> {
    let start = text[..part.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[part.end..].find('\n');
    start..end.map_or(text.len(), |end| part.end + end)
}

/// Returns the lines of a source with its marked places.
fn snippet<'a>(places: &'a [Place], is_primary: bool) -> Element<'a> {
    let source = &*places[0].source;
    let text = &source.text;
    let path = visible_line(&source.path);
    if text.is_empty() {
        return Origin::path(path).into();
    }
    let first = places.iter().map(|place| place.span.start).min().unwrap_or_default();
    let last = places.iter().map(|place| place.span.end).max().unwrap_or_default();
    // Only lines with marks: the renderer would count those of a large file again for each problem, which takes seconds.
    let Range { start, end } = lines_around(text, first..last);
    if end - start > MAX_SHOWN_BYTES && places.len() == 1 {
        let (line, column) = places[0].position().unwrap_or_default();
        return Origin::path(path).line(line).char_column(column).into();
    }
    let mut snippet =
        Snippet::source(plain(&text[start..end])).line_start(source.line(start)).path(path);
    for (index, place) in places.iter().enumerate() {
        let kind = match index {
            0 if is_primary => AnnotationKind::Primary,
            _ => AnnotationKind::Context,
        };
        let mut annotation = kind.span(place.span.start - start..place.span.end - start);
        if !place.label.is_empty() {
            annotation = annotation.label(visible_line(&place.label));
        }
        snippet = snippet.annotation(annotation);
    }
    snippet.into()
}

/// Replaces control characters of terminals by others of the same length, so that places keep their meaning.
fn plain(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            character if !steers(character) || character == '\r' => character,
            character => match character.len_utf8() {
                1 => '?',
                2 => '\u{b7}',
                3 => char::REPLACEMENT_CHARACTER,
                _ => '\u{1f6ab}',
            },
        })
        .collect()
}
