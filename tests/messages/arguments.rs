//! Wrong arguments, and the helps.

use std::fs;

use crate::messages::{commands, transcript::Transcript};
use crate::support::{guests::root, runner::Runner, running::finished};

#[test]
fn flags_of_other_tools_are_explained() {
    let (runner, mut transcript) = (Runner::new(&[]), Transcript::default());
    for line in [
        "exec s.toml -k a",
        "exec s.toml -x",
        "exec s.toml --junitxml a.xml",
        "list --format json",
        "exec s.toml --output-dir out",
        "exec s.toml --workers=4",
        "exec s.toml --verbos",
        "resume --failed",
        "exec s.toml --dry",
        "exec s.toml --max 3",
        "exec s.toml --html a.html",
        "compare --base latest~1",
        "show --grep a",
        "--results r list",
        "list --colour",
        "list --last 3",
        "logs --lines 3",
        "report --output-dir a",
        "show --detach",
        "plugin run --\u{1b}[31m",
    ] {
        transcript.line(&runner, line).expect(2);
    }
    transcript.check("flags_of_other_tools");
}

#[test]
fn commands_of_other_tools_are_explained() {
    let (runner, mut transcript) = (Runner::new(&[]), Transcript::default());
    for line in [
        "status",
        "test",
        "build",
        "diff",
        "flaky",
        "eval",
        "ui",
        "matrix",
        "valdate",
        "frobnicate",
        "plugin nwe",
        "exec s.toml --epochs",
        "exec s.toml --var",
        "exec s.toml --max-concurrency",
        "exec s.toml --test-threads",
        "exec s.toml --partition",
        "exec s.toml --background",
        "exec s.toml -d",
        "exec s.toml --no-fail-fast",
        "exec s.toml --output",
        "exec s.toml --format",
        "exec s.toml --durations",
        "exec s.toml --name",
    ] {
        transcript.line(&runner, line).expect(2);
    }
    transcript.check("commands_of_other_tools");
}

#[test]
fn removed_names_are_refused_with_advice() {
    let runner = Runner::new(&[]);
    let names = |cell: &'static str| cell.split(", ").map(|name| name.trim_matches('`'));
    let table = include_str!("../../runner/scenario/src/gone.md").lines();
    let mut count = 0;
    for row in table.filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let [owners, removed, advice] = cells[..] else { panic!("{row}") };
        for (owner, name) in
            names(owners).flat_map(|owner| names(removed).map(move |name| (owner, name)))
        {
            let command = match owner {
                "plugin.toml" => {
                    runner.write(owner, format!("name = \"x\"\n{name} = \"c\"\n"));
                    "plugin build".to_owned()
                }
                table if table.starts_with('[') => {
                    // `files` of a test list are gone only with a `plugin`.
                    let text = format!("{table}\nplugin = \"p.wasm\"\n{name} = 1\n");
                    runner.write("s.toml", text);
                    "validate s.toml".to_owned()
                }
                command => format!("{command} {name}").replacen("runner ", "", 1),
            };
            let args: Vec<_> = command.split(' ').collect();
            runner.run(&args).expect(2).says(&[advice]);
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn wrong_values_name_the_expected_ones() {
    let (runner, mut transcript) = (Runner::new(&[]), Transcript::default());
    for line in [
        "exec s.toml -j abc",
        "exec s.toml -j -1",
        "exec s.toml --fail-fast 3x",
        "exec s.toml --wait",
        "exec s.toml -q -v",
        "exec s.toml -j 1 -j 2",
        "exec s.toml --json=3",
        "exec s.toml --jobs",
        "plugin new foo --lang ruby",
        "plugin new foo",
        "plugin new foo --lang pyhton",
        "list --verdict",
    ] {
        transcript.line(&runner, line).expect(2);
    }
    transcript.check("wrong_values");
}

#[test]
fn examples_of_helps_run_as_printed() {
    let runner = Runner::new(&[]);
    runner.run(&["init"]).expect(0);
    runner.run(&["exec", "first.toml"]).expect(0);
    let mut count = 0;
    for command in commands(&runner) {
        let help = [vec!["help"], command.split(' ').collect()].concat();
        let help = runner.run(&help).expect(0).stdout;
        let Some((_, examples)) = help.split_once("Examples:\n") else { continue };
        // A build needs the tools of its language, a server does not end, and NATS is not everywhere.
        let left = ["plugin build", "serve", "broker"];
        let is_left = |example: &&str| left.iter().any(|words| example.contains(words));
        for example in examples.lines().map(str::trim).filter(|example| !is_left(example)) {
            // Not every machine has `man`, and no run is running.
            let script =
                format!("runner() {{ \"$runner\" \"$@\"; }}; man() {{ cat >&2; }}; {example}");
            let ran = finished(&mut runner.shell(&script));
            let message = &ran.stderr;
            let is_idle =
                message.contains("no run is running") || message.contains("there is nothing to");
            let is_missing_tool = message.is_empty() && example.contains("doctor");
            let is_done = message.contains("is incomplete") || message.contains("exists");
            assert!(
                ran.code == Some(0) || is_idle || is_missing_tool || is_done,
                "{example}: {message}"
            );
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn help_of_help_lists_commands_in_groups() {
    let runner = Runner::new(&[]);
    let expected = runner.run(&["help"]).expect(0).stdout;
    assert_eq!(runner.run(&["help", "help"]).expect(0).stdout, expected);
}

#[test]
fn manual_has_a_page_for_each_command() {
    let runner = Runner::new(&[]);
    runner.run(&["man", "--dir", "pages"]).expect(0).says(&["pages"]);
    let page = runner.run(&["man", "plugin", "new"]).expect(0).stdout;
    assert!(page.contains(".TH"), "{page}");
    runner.run(&["man", "shwo"]).expect(2).says(&["`shwo`"]);
    assert!(!runner.path("shwo").exists());
    let pages = commands(&runner).into_iter().chain(["help".to_owned()]);
    for command in pages {
        let page = runner.path(&format!("pages/runner-{}.1", command.replace(' ', "-")));
        assert!(page.exists(), "{}", page.display());
    }
    let page = runner.run(&["man"]).expect(0).stdout;
    assert!(page.contains(".TH runner 1"), "{page}");
    let page = fs::read_to_string(runner.path("pages/runner-exec.1")).unwrap();
    let examples = ".SH EXAMPLES\n.nf\nrunner exec first.toml\n";
    assert!(page.contains(examples) && !page.contains("SH EXTRA"), "{page}");
    let check = "! command -v groff >/dev/null || groff -man -ww -T utf8 pages/*.1 >/dev/null";
    assert_eq!(finished(&mut runner.shell(check)).expect(0).stderr, "");
}

#[test]
fn manual_shows_values_variables_and_pages() {
    let runner = Runner::new(&[]);
    let page = runner.run(&["man", "exec"]).expect(0).stdout;
    let (_, synopsis) = page.split_once(".SH SYNOPSIS\n").unwrap();
    let synopsis = synopsis.lines().next().unwrap().replace('\\', "");
    for words in ["[--test <GLOB>]", "[--fail-fast[=<N>]]", "[--detach]", "<SCENARIO>..."] {
        assert!(synopsis.contains(words), "{synopsis}");
    }
    assert_eq!(page.matches(".SH OPTIONS\n").count(), 1, "{page}");
    assert!(page.contains(".SH \"SEE ALSO\"\nrunner(1), runner\\-resume(1)"), "{page}");
    let commands = fs::read_to_string(root().join("docs/commands.md")).unwrap();
    let (_, table) = commands.split_once("## Environment variables").unwrap();
    let names = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let names = names.flat_map(|(names, _)| names.split(", ")).map(|name| name.trim_matches('`'));
    let (_, environment) = page.split_once(".SH \"ENVIRONMENT\"").unwrap();
    let listed =
        environment.lines().filter_map(|line| line.strip_prefix("\\fB")?.strip_suffix("\\fR"));
    assert_eq!(listed.collect::<Vec<_>>(), names.collect::<Vec<_>>());
}

#[test]
fn manual_lists_all_exit_codes() {
    let page = Runner::new(&[]).run(&["man"]).expect(0).stdout;
    let outcomes = fs::read_to_string(root().join("docs/outcomes.md")).unwrap();
    let (_, table) = outcomes.split_once("## Exit codes").unwrap();
    let codes = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
    let codes: Vec<_> = codes.filter(|code| code.parse::<u8>().is_ok()).collect();
    let (_, status) = page.split_once(".SH \"EXIT STATUS\"").unwrap();
    let (status, _) = status.split_once(".SH").unwrap();
    let listed = status.lines().filter_map(|line| line.strip_prefix("\\fB")?.strip_suffix("\\fR"));
    assert_eq!(listed.collect::<Vec<_>>(), codes);
}

#[test]
fn completions_offer_names_of_this_folder() {
    let runner = Runner::new(&[]);
    runner.run(&["init"]).expect(0);
    runner.write("vars.toml", "[vars]\nsize = 1\n");
    let list =
        "[providers.p]\nplugin = \"bundled:echo\"\n[[test_lists]]\nfiles = [\"list.jsonl\"]\n";
    runner.write("listed.toml", list);
    runner.write("list.jsonl", "{\"id\": \"a\", \"tags\": [\"slow\"]}\n{\"id\": \"b\"}\n");
    runner.run(&["exec", "first.toml"]).expect(0);
    let id = runner.only_run().id().rsplit('-').next().unwrap().to_owned();
    for (line, offered) in [
        ("show ", &["latest", &id][..]),
        ("wait --timeout 1s la", &["latest"]),
        ("resume --from ", &["latest", &id]),
        ("compare latest ", &["latest", &id]),
        ("exec fi", &["first.toml"]),
        ("exec first.toml --provider ", &["echo", "units"]),
        ("exec first.toml --test p", &["pangram"]),
        ("exec --quie", &["--quiet"]),
        ("list --color=a", &["--color=auto", "--color=always"]),
        ("exec --provider=e first.toml --test=p", &["--test=pangram"]),
        ("plugin ins", &["inspect"]),
        ("help plugin do", &["doctor"]),
        ("pin --reason ", &[]),
        ("show latest pan", &["pangram@echo#1"]),
        ("logs latest length", &["length@units#1"]),
        ("exec first.toml --limit mem", &["memory="]),
        ("resume --rerun ", &["failed", "errors", "all"]),
        ("stop ", &[]),
        ("list --scenario ", &["first"]),
        ("list --group ", &[]),
        ("man plugin in", &["inspect"]),
        ("schema resc", &["rescore-plan"]),
        ("plugin run --from latest --trial pan", &["pangram@echo#1"]),
        ("exec vars.toml --set ", &["size="]),
        ("exec listed.toml --test ", &["a", "b"]),
        ("exec listed.toml --tag ", &["slow"]),
        ("exec listed.toml -E tag", &["tag(slow)"]),
        ("list --status passed,fa", &["passed,failed"]),
        ("compare --providers echo u", &["units"]),
        ("compare --providers echo units la", &["latest"]),
        ("history --provider ", &["echo", "units"]),
        ("history first --test p", &["pangram"]),
        ("history --by d", &["day"]),
        ("show --open o", &["output"]),
    ] {
        let words: Vec<_> = ["__complete", "--"].into_iter().chain(line.split(' ')).collect();
        let found = runner.run(&words).expect(0).stdout;
        let found: Vec<_> = found.lines().map(|line| line.split('\t').next().unwrap()).collect();
        assert_eq!(found, offered, "{line}");
    }
}

/// A scenario whose names have characters at which bash splits words.
const NAMED: &str = r#"
[providers.echo]
plugin = "bundled:echo"
matrix = { n = [1, 2] }
[[tests]]
id = "a"
tags = ["slow"]
input = "x"
[[tests]]
id = "it is $1 \"x\""
input = "x"
"#;

#[test]
fn completions_of_bash_work_in_bash() {
    let runner = Runner::new(&[]);
    let script = "\"$runner\" completions bash > runner.bash; exec bash -c '. ./runner.bash; \
                  COMP_LINE=\"runner plugin doc\"; COMP_POINT=17; _runner \"$runner\"; echo \"${COMPREPLY[*]}\"'";
    let ran = finished(&mut runner.shell(script));
    assert_eq!(ran.stdout, "doctor\n", "{ran:?}");
    for name in ["x;touch PWNED.toml", "-x.toml", "x y.toml", "line\nbreak.toml"] {
        runner.write(name, "[[tests]]\nid = \"$(touch PWNED)\"\n[[tests]]\nid = \"fine\"\n");
    }
    let script = r#"bash -c '. ./runner.bash
        complete_line() { COMP_LINE="runner $1"; COMP_POINT=${#COMP_LINE}; _runner "$runner"; printf "%s\n" "${COMPREPLY[@]}" | sort; }
        complete_line "exec "; complete_line "exec x\\ "; complete_line "exec ./-x.toml --test "'"#;
    let ran = finished(&mut runner.shell(script));
    let offered = "./-x.toml\nx\\ y.toml\nx\\;touch\\ PWNED.toml\nx\\ y.toml\n\\$\\\\\\(touch\\ PWNED\\\\\\)\nfine\n";
    assert_eq!(ran.stdout, offered, "{ran:?}");
    // Bash replaces only what follows the last `:` or `=`, the last `@` with it, or what follows an open quote.
    runner.write("first.toml", NAMED);
    runner.run(&["exec", "first.toml"]).expect(0);
    let script = r#"bash -c '. ./runner.bash
        complete_line() { COMP_LINE="runner $1"; COMP_POINT=${#COMP_LINE}; _runner "$runner"; echo "${COMPREPLY[@]}"; }
        complete_line "show latest:f"; complete_line "show latest a@"; complete_line "show latest a@echo\\[n=1"
        complete_line "list --color=al"; complete_line "exec first.toml --provider e"; complete_line "exec first.toml --tag "
        complete_line "exec first.toml -E \"tag(a) or b\" --tag "; complete_line "show latest \"a@echo[n=1"
        complete_line "exec first.toml --tag=\"sl"; complete_line "exec first.toml --test \"it"; complete_line "exec first.toml --test it\\ "
        COMP_WORDBREAKS=" "; complete_line "show latest:f"'"#;
    let ran = finished(&mut runner.shell(script));
    let offered = r#"first
@echo\[n=1\]#1 @echo\[n=2\]#1
1\]#1
always
echo\[n=1\] echo\[n=2\]
slow
slow
a@echo[n=1]#1
slow
it is \$1 \"x\"
it\ is\ \$1\ \"x\"
latest:first
"#;
    assert_eq!(ran.stdout, offered, "{ran:?}");
    let words = ["__complete", "--", "exec", "/dev/zero", "--test", ""];
    assert_eq!(runner.run(&words).expect(0).stdout, "");
    for shell in ["elvish", "fish", "powershell", "zsh"] {
        let script = runner.run(&["completions", shell]).expect(0).stdout;
        assert!(script.contains("runner"), "{script}");
    }
}

#[test]
fn version_names_wasmtime_of_the_lock_file() {
    let version = Runner::new(&[]).run(&["--version", "--verbose"]).expect(0).stdout;
    let lock = include_str!("../../Cargo.lock");
    let (_, rest) = lock.split_once("name = \"wasmtime\"\nversion = \"").unwrap();
    let (wasmtime, _) = rest.split_once('"').unwrap();
    assert!(version.contains(&format!("\nwasmtime: {wasmtime}\n")), "{version}");
    assert!(version.contains("\ntarget: ") && version.contains("\ncommit: "), "{version}");
}
