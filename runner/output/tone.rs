//! [`Tone`]: the colours of the screen. Words always say the same, so nothing is lost without them.

use std::borrow::Cow;

use owo_colors::{OwoColorize as _, XtermColors};
use supports_color::Stream;

/// The place of orange in the palette of 256 colours.
const ORANGE: u8 = 208;

/// What a colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing in particular.
    Plain,
    /// All is well: green.
    Good,
    /// Something is wrong: red.
    Bad,
    /// Work remains: amber.
    Open,
    /// Nobody wants it any more: orange.
    Dropped,
    /// It goes on: cyan.
    Live,
}

impl Tone {
    /// Colours a text.
    pub(super) fn paint(self, text: &str) -> Cow<'_, str> {
        let painted = match self {
            Self::Plain => return text.into(),
            Self::Good => text.green().to_string(),
            Self::Bad => text.red().to_string(),
            Self::Dropped if has_orange() => text.color(XtermColors::from(ORANGE)).to_string(),
            // Sixteen colours have no orange; their yellow is as near as it gets.
            Self::Open | Self::Dropped => text.yellow().to_string(),
            Self::Live => text.cyan().to_string(),
        };
        painted.into()
    }
}

/// Tells whether somebody looks at a terminal with more than sixteen colours.
fn has_orange() -> bool {
    [Stream::Stdout, Stream::Stderr]
        .into_iter()
        .any(|stream| supports_color::on_cached(stream).is_some_and(|level| level.has_256))
}
