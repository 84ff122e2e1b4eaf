//! The picture of the README: a real run in a terminal.

use std::{env, fs};

use regex::Regex;

use super::pages::normal;
use crate::around::terminal::Terminal;
use crate::support::{guests::root, runner::Runner};

const PICTURE: &str = "docs/picture/run.svg";
const SCENARIO: &str = "scenarios/units.toml";
const COLUMNS: u16 = 88;
/// Width of a column, in tenths of a pixel.
const COLUMN: u16 = 84;
/// Height of a line, in pixels, as all other sizes.
const LINE: u16 = 20;
const MARGIN: u16 = 20;
/// Height of the window's bar.
const BAR: u16 = 36;

/// Draws the output of a terminal. A class such as `s31` has the number of the sequence that sets the style.
fn draw(printed: &str) -> String {
    let text = printed.trim_end().replace('&', "&amp;").replace('<', "&lt;");
    let mut style = "0";
    let mut rows = String::new();
    let mut y = BAR + 15;
    for line in text.lines() {
        let mut spans = String::new();
        for (number, piece) in line.split("\x1b[").enumerate() {
            let mut text = piece;
            if number > 0 {
                (style, text) = piece.split_once('m').expect("the program sets only styles");
            }
            if !text.is_empty() {
                spans += &format!("<tspan class=\"s{style}\">{text}</tspan>");
            }
        }
        rows += &format!("<text x=\"{MARGIN}\" y=\"{y}\" xml:space=\"preserve\">{spans}</text>\n");
        y += LINE;
    }
    let (width, height) = (COLUMNS * COLUMN / 10 + 2 * MARGIN, y - 15 + MARGIN);
    let css = include_str!("picture.css");
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">
<title>A run in a terminal</title>
<style>
{css}</style>
<rect x="1" y="1" width="{}" height="{}" rx="8"/>
<circle cx="20" cy="18" r="6"/>
<circle cx="40" cy="18" r="6"/>
<circle cx="60" cy="18" r="6"/>
{rows}</svg>
"#,
        width - 2,
        height - 2,
    )
}

/// Returns the lines of a picture without styles, ids and times. They are sorted, because failures have no order.
fn lines(picture: &str) -> Vec<String> {
    let line = Regex::new("<text[^>]*>(.*)</text>").unwrap();
    let style = Regex::new("</?tspan[^>]*>").unwrap();
    let lines =
        line.captures_iter(picture).map(|line| style.replace_all(&line[1], "").into_owned());
    let mut lines: Vec<_> = lines.map(|line| normal(&line)).collect();
    lines.sort_unstable();
    lines
}

/// `UPDATE=1` of `./update` draws it.
#[test]
fn picture_shows_real_output() {
    let runner = Runner::new(&[]);
    fs::create_dir(runner.path("scenarios")).unwrap();
    fs::copy(root().join(SCENARIO), runner.path(SCENARIO)).unwrap();
    // Compiles the plugins, which is printed.
    runner.run(&["exec", SCENARIO, "--results", "first"]).expect(1);
    // A terminal without a cursor gets no bar that is drawn again and again.
    let script =
        format!("unset NO_COLOR; TERM=dumb exec \"$runner\" --color always exec {SCENARIO}");
    let (code, printed) = Terminal::run_script(&runner, COLUMNS, "UTC", &script).end();
    assert_eq!(code, 1, "{printed}");
    // A run of more than ten seconds, as on a slow machine, also has lines of progress.
    let is_of_result = |line: &&str| !line.contains(" running") && !line.contains("SLOW ");
    let printed: Vec<_> = printed.lines().filter(is_of_result).collect();
    let printed = printed.join("\n");
    let drawn = draw(&format!("\x1b[2m$\x1b[0m \x1b[1mrunner exec {SCENARIO}\x1b[0m\n{printed}"));
    let found = fs::read_to_string(root().join(PICTURE)).unwrap();
    if env::var_os("UPDATE").is_some() && lines(&found) != lines(&drawn) {
        fs::write(root().join(PICTURE), &drawn).unwrap();
        return;
    }
    assert_eq!(lines(&found), lines(&drawn), "{PICTURE} is not up to date: run ./update");
}
