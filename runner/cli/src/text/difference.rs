//! Marks of the parts in which two lines of a difference differ.

use std::ops::Range;

use runner_model::visible::common_ends;
use runner_report::failure::{BlockLine, Tone};

/// Starts of lines before their values.
const HEADS: [&str; 4] = ["expected ", "got      ", "-", "+"];

/// Returns the bytes of each line that its counterpart lacks. `None` for lines without a counterpart, and for pairs with less than
/// half in common.
pub fn changed_parts(lines: &[BlockLine]) -> Vec<Option<Range<usize>>> {
    let mut parts = vec![None; lines.len()];
    let mut start = 0;
    while start < lines.len() {
        let count = |from: usize, tone| {
            lines[from..].iter().take_while(|(other, _)| *other == tone).count()
        };
        let (expected, actual) = match count(start, Tone::Expected) {
            0 => (1, 0),
            expected => (expected, count(start + expected, Tone::Actual)),
        };
        if expected == actual {
            for at in start..start + expected {
                let pair = changed([&lines[at].1, &lines[at + expected].1]);
                let [left, right] = pair.map_or([None, None], |pair| pair.map(Some));
                (parts[at], parts[at + expected]) = (left, right);
            }
        }
        start += expected + actual;
    }
    parts
}

fn changed(lines: [&str; 2]) -> Option<[Range<usize>; 2]> {
    let heads = lines.map(|line| {
        HEADS.iter().find(|head| line.starts_with(**head)).map_or(0, |head| head.len())
    });
    let [left, right] = [&lines[0][heads[0]..], &lines[1][heads[1]..]];
    let (start, end) = common_ends([left, right]);
    let longest = left.len().max(right.len());
    let is_pair = start + end < longest && 2 * (start + end) >= longest;
    is_pair.then(|| [0, 1].map(|line| heads[line] + start..lines[line].len() - end))
}

#[cfg(test)]
mod tests {
    use super::{Tone, changed_parts};

    #[test]
    fn pairs_are_marked_where_they_differ() {
        use Tone::{Actual, Detail, Expected};
        let parts = |lines: &[(Tone, &str)]| {
            let lines: Vec<_> =
                lines.iter().map(|(tone, line)| (*tone, (*line).to_owned())).collect();
            let parts = changed_parts(&lines).into_iter().zip(&lines);
            parts
                .map(|(part, (_, line))| part.map(|part| line[part].to_owned()))
                .collect::<Vec<_>>()
        };
        let some = |text: &str| Some(text.to_owned());
        let pair = |left, right| parts(&[(Expected, left), (Actual, right)]);
        assert_eq!(pair("-the big house", "+the old house"), [some("big"), some("old")]);
        assert_eq!(pair("expected \"ab\"", "got      \"äb\""), [some("a"), some("ä")]);
        assert_eq!(pair("-aaa", "+aaaa"), [some(""), some("a")]);
        assert_eq!(pair("-one", "+two"), [None, None]);
        assert_eq!(pair("-same", "+same"), [None, None]);
        let two = [(Expected, "-abc1"), (Expected, "-abc2"), (Actual, "+abc3"), (Actual, "+xbc2")];
        assert_eq!(parts(&two), [some("1"), some("a"), some("3"), some("x")]);
        assert_eq!(parts(&two[..3]), [None, None, None]);
        assert_eq!(parts(&[(Detail, "x"), (Actual, "+a"), (Expected, "-a")]), [None, None, None]);
    }
}
