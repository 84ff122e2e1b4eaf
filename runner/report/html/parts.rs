//! Parts of pages that look alike wherever they are.

use maud::{Markup, html};

/// A table that may be wider than the screen: whoever has no mouse moves it with the keyboard.
pub(in crate::report) fn wide(label: &str, table: &Markup) -> Markup {
    html! { div class="wide" role="region" aria-label=(label) tabindex="0" { (table) } }
}

/// A text as it is, which the keyboard moves where it is long.
pub(super) fn block(text: &str) -> Markup {
    html! { pre tabindex="0" { (text) } }
}

/// A value with its unit. That of a plain number is 1, which nobody says.
pub(super) fn measured(value: &str, unit: Option<&str>) -> String {
    match unit {
        None | Some("" | "1") => value.to_owned(),
        Some(unit) => format!("{value} {unit}"),
    }
}
