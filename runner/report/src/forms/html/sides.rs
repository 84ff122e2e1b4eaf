//! [`sides`]: an expected and an actual value side by side, with their differences marked.

use maud::{Markup, html};
use runner_model::json::Json;
use runner_model::row::Raw;
use runner_model::units::plural;
use runner_model::visible::{common_ends, cut, cut_around_difference, marked, visible};

/// Lines that are shown.
const MOST_LINES: usize = 200;
/// Equal lines around a change.
const CONTEXT: usize = 3;
/// Characters of a line.
const LONG_LINE: usize = 1000;
/// Pairs of lines that are compared. In a larger change, the first line pairs with the first one, and so on.
const MOST_COMPARED: usize = 40_000;

/// A line of both values, or one of each.
type Pair<'a> = (Option<&'a str>, Option<&'a str>);

/// Formats two values: texts as they are, others as JSON with sorted keys.
pub(super) fn sides(expected: &Raw<'_>, actual: &Raw<'_>) -> Markup {
    let texts = texts([expected, actual]);
    let [old, new] = texts.each_ref().map(|text| text.split('\n').collect::<Vec<_>>());
    let pairs = pairs(&old, &new);
    let is_changed = |(old, new): &Pair<'_>| old != new;
    let has_changes = pairs.iter().any(is_changed);
    let is_near = |at: &usize| {
        let end = (at + CONTEXT + 1).min(pairs.len());
        !has_changes || pairs[at.saturating_sub(CONTEXT)..end].iter().any(is_changed)
    };
    let all = pairs.len();
    let end = (0..all).filter(is_near).nth(MOST_LINES).unwrap_or(all);
    let places: Vec<usize> = (0..end).collect();
    let count = |lines: usize, noun: &str| plural(lines as u64, noun, &format!("{noun}s"));
    html! {
        div.sides {
            div.heads { span { "Expected" } span { "Actual" } }
            @for places in places.chunk_by(|left, right| is_near(left) == is_near(right)) {
                @if is_near(&places[0]) {
                    @for at in places { (line(pairs[*at])) }
                } @else {
                    div.gap { "… " (count(places.len(), "equal line")) }
                }
            }
            @if end < all { div.gap { "… " (count(all - end, "more line")) } }
        }
    }
}

fn line((old, new): Pair<'_>) -> Markup {
    if old == new {
        let text = cut(&visible(old.unwrap_or_default()), LONG_LINE);
        return html! { div { code { (text) } code.twin aria-hidden="true" { (text) } } };
    }
    let text = |line: Option<&str>| match line {
        Some("") => "↵".to_owned(),
        line => marked(line.unwrap_or_default()),
    };
    let texts = cut_around_difference([&text(old), &text(new)], LONG_LINE);
    let (start, end) = common_ends([&texts[0], &texts[1]]);
    html! {
        div {
            @if old.is_some() { del { (change(&texts[0], start, end)) } } @else { span.void {} }
            @if new.is_some() { ins { (change(&texts[1], start, end)) } } @else { span.void {} }
        }
    }
}

/// Marks a line except for its first `start` and last `end` bytes, if there are any.
fn change(text: &str, start: usize, end: usize) -> Markup {
    let end = text.len() - end;
    let is_marked = start < end && end - start < text.len();
    html! {
        @if is_marked { (text[..start]) mark { (text[start..end]) } (text[end..]) } @else { (text) }
    }
}

fn texts(values: [&Raw<'_>; 2]) -> [String; 2] {
    match values.map(|value| Json::of(&value.0)) {
        [Some(Json::String(old)), Some(Json::String(new))] => [old.into(), new.into()],
        [Some(old), Some(new)] => [old, new].map(|json| format!("{json:#}")),
        _ => values.map(|value| value.get().to_owned()),
    }
}

/// Pairs the lines of two texts: those of a longest common subsequence with each other, and those between them in order.
fn pairs<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Pair<'a>> {
    let is_equal = |(old, new): &(&&str, &&str)| old == new;
    let start = old.iter().zip(new).take_while(is_equal).count();
    let (head, old, new) = (&old[..start], &old[start..], &new[start..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(is_equal).count();
    let (tail, old, new) =
        (&old[old.len() - end..], &old[..old.len() - end], &new[..new.len() - end]);
    let equal =
        |lines: &[&'a str]| lines.iter().map(|line| (Some(*line), Some(*line))).collect::<Vec<_>>();
    let mut pairs = equal(head);
    let width = new.len() + 1;
    // The length of the longest common subsequence from each pair of lines on.
    let mut lengths = Vec::new();
    if old.len().saturating_mul(new.len()) <= MOST_COMPARED {
        lengths.resize((old.len() + 1) * width, 0_u16);
        for at in (0..old.len() * width).rev().filter(|at| at % width < new.len()) {
            lengths[at] = if old[at / width] == new[at % width] {
                lengths[at + width + 1] + 1
            } else {
                lengths[at + width].max(lengths[at + 1])
            };
        }
    }
    let (mut row, mut column, mut first) = (0, 0, (0, 0));
    loop {
        let is_end = row == old.len() && column == new.len();
        let at = row * width + column;
        let is_pair = !lengths.is_empty() && old.get(row) == new.get(column);
        if is_end || is_pair {
            let (removed, added) = (&old[first.0..row], &new[first.1..column]);
            let changed = 0..removed.len().max(added.len());
            pairs.extend(changed.map(|at| (removed.get(at).copied(), added.get(at).copied())));
            if is_end {
                break;
            }
            pairs.push((Some(old[row]), Some(old[row])));
            (row, column) = (row + 1, column + 1);
            first = (row, column);
        } else if column == new.len()
            || row < old.len() && (lengths.is_empty() || lengths[at + width] >= lengths[at + 1])
        {
            row += 1;
        } else {
            column += 1;
        }
    }
    pairs.extend(equal(tail));
    pairs
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn lines_pair_around_common_ones() {
        let split = |text: &'static str| text.split(' ').collect::<Vec<_>>();
        assert_eq!(
            pairs(&split("a b c d x"), &split("a c e f x")),
            [
                (Some("a"), Some("a")),
                (Some("b"), None),
                (Some("c"), Some("c")),
                (Some("d"), Some("e")),
                (None, Some("f")),
                (Some("x"), Some("x")),
            ]
        );
        assert_eq!(pairs(&["a"], &["a"]), [(Some("a"), Some("a"))]);
        // Too many lines to compare.
        let (old, new) = (vec!["a"; 300], vec!["b"; 301]);
        assert_eq!(pairs(&old, &new).len(), 301);
    }
}
