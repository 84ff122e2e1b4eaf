//! Lines on terminals of different widths.

use regex::Regex;
use unicode_width::UnicodeWidthStr as _;

use crate::around::terminal::Terminal;
use crate::messages::commands;
use crate::support::{
    runner::{Runner, tests},
    running::finished,
};

/// Commands after a run, with answers on standard output and messages on standard error.
const SCREENS: &[&str] = &[
    "exec scenario.toml",
    "exec scenario.toml --dry-run",
    "exec scenario.toml --test none",
    "exec scenario.toml -k a-word-that-is-too-long-for-one-line-of-a-narrow-terminal-of-few-columns",
    "exec broken.toml",
    "validate scenario.toml broken.toml",
    "list",
    "show",
    "show --history",
    "show --failed",
    "show latest long",
    "show nothing",
    "logs",
    "verify",
    "resume --rerun all --explain",
    "cleanup",
    "prune --keep-last 1",
    "plugin inspect bundled:echo",
    "plugin run bundled:echo --input 1",
    "plugin doctor",
];

#[test]
fn no_line_is_wider_than_the_terminal() {
    let runner = Runner::new(&[]);
    let word = "\"a value that is longer than a line of a narrow terminal, or even than one of two hundred columns, because it has many words and no line break: one two three four five six seven eight nine ten eleven twelve\"";
    let tests = tests(&format!("passed | 1 | equals = 1\nlong | {word} | equals = 2"));
    runner.scenario(&format!("[providers.echo]\nplugin = \"bundled:echo\"\n{tests}"));
    runner.write("broken.toml", "name = 1\n[providers.echo]\nplugn = \"bundled:ecko\"\n");
    let helps: Vec<_> = commands(&runner).iter().map(|command| format!("help {command}")).collect();
    let screens = SCREENS.iter().map(|screen| (*screen).to_owned()).chain(helps);
    let script: Vec<_> =
        screens.map(|args| format!("echo '# {args}'; \"$runner\" {args}")).collect();
    let escapes = Regex::new(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9])").unwrap();
    for columns in [60, 80, 200] {
        // A slow machine needs some time for all of them, and a terminal waits for its end.
        // Helps have no columns of their own: the narrowest and the widest terminal suffice.
        let count = if columns == 80 { SCREENS.len() } else { script.len() };
        let outputs = script[..count]
            .chunks(10)
            .map(|part| Terminal::run_script(&runner, columns, "UTC", &part.join("\n")).end().1);
        let output = outputs.collect::<String>();
        let output = escapes.replace_all(&output, "");
        let mut screen = "";
        for line in output.split(['\r', '\n']) {
            screen = line.strip_prefix("# ").unwrap_or(screen);
            // Texts to paste are not wrapped.
            let is_whole = line.contains(": runner ") || line.starts_with("results: ");
            let is_given = is_whole || line.starts_with("# ");
            if line.starts_with("reproduce: ") {
                assert!(line.ends_with("long@echo#1"), "{columns}: {line}");
            }
            assert!(
                is_given || line.width() <= usize::from(columns),
                "{columns}, {screen}: {line}"
            );
        }
        let last = if columns == 80 { SCREENS[SCREENS.len() - 1] } else { "help" };
        assert!(screen.starts_with(last), "{output}");
    }
}

#[test]
fn flags_take_one_line_of_80_columns() {
    let runner = Runner::new(&[]);
    for command in ["exec", "resume", "show", "logs"] {
        let script = format!("COLUMNS=80 \"$runner\" help {command}");
        let help = finished(&mut runner.shell(&script)).expect(0).stdout;
        assert!(help.contains("--results <DIR>"), "{help}");
        let wrapped: Vec<_> = help.lines().filter(|line| line.starts_with("         ")).collect();
        assert!(wrapped.is_empty(), "{command}: {wrapped:?}");
    }
}
