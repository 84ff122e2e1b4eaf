//! Lists of runs, and the names that runs have.

use super::{interrupted, show, three};
use crate::support::runner::CommandExt as _;

#[test]
fn lists_show_what_fits_and_a_program_gets_all_of_it() {
    let runner = three();
    runner.exec(&["--test", "fail"]).expect(1);
    let id = runner.only_run().id().to_owned();
    let short = &id[id.len() - 8..];
    let name = "a scenario whose name is longer than anybody would like it to be";

    let narrow = show(&runner, 80, &["list"]).expect(0);
    narrow.fits().says(&[
        short,
        "● completed",
        "✗ 1 failed",
        "a scenario",
        "1/1",
        "began (UTC)",
    ]);
    assert!(
        !narrow.text.contains(&id) && !narrow.text.contains(name),
        "{}",
        narrow.text
    );
    show(&runner, 200, &["list"]).expect(0).says(&[&id, name]);

    let piped = runner.run(&["list"]).expect(0).stdout;
    let header: Vec<_> = piped
        .lines()
        .next()
        .unwrap()
        .split("  ")
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(
        header,
        [
            "run",
            "status",
            "verdict",
            "scenario",
            "done",
            "began (UTC)",
            "took"
        ]
    );
    assert!(piped.contains(&id) && piped.contains(name), "{piped}");
}

#[test]
fn lists_keep_to_what_is_asked_for_and_tell_nothing_found_from_nothing_there() {
    let runner = three();
    runner
        .run(&["list", "--status", "failed"])
        .expect(0)
        .says(&["no runs in `results`"]);
    runner.exec(&["--test", "pass"]).expect(0);
    runner.exec(&["--test", "fail"]).expect(1);
    interrupted(&runner, &["-j", "1"]).finish().expect(130);
    let ids = runner.ids();
    for (args, wanted) in [
        (
            &["--status", "completed", "--status", "incomplete"][..],
            &[2, 1, 0][..],
        ),
        (&["--status", "incomplete,failed"], &[2]),
        (&["--verdict", "failed"], &[1]),
        (&["--verdict", "passed", "--scenario", "a scenario*"], &[0]),
        (&["--scenario", "other"], &[]),
        (&["--since", "1h"], &[2, 1, 0]),
        (&["--since", "2020-01-01"], &[2, 1, 0]),
        (&["--since", "2020-01-01T10:00"], &[2, 1, 0]),
        (&["--since", "2999-01-01"], &[]),
        (&["--since", "0s"], &[]),
    ] {
        let listed = runner.list(args);
        let listed: Vec<_> = listed
            .iter()
            .map(|run| run["run"].as_str().unwrap())
            .collect();
        let wanted: Vec<_> = wanted.iter().map(|index| ids[*index].as_str()).collect();
        assert_eq!(listed, wanted, "{args:?}");
    }
    runner
        .run(&["list", "--status", "cancelled"])
        .expect(0)
        .says(&["no runs with that status in `results` (3 others)"]);
    runner
        .run(&["list", "--scenario", "other"])
        .expect(0)
        .says(&["no runs like that in `results` (3 others)"]);
    runner
        .run(&["list", "--since", "yesterday"])
        .expect(2)
        .says(&["2026-11-20"]);
    runner.run(&["list", "--scenario", "["]).expect(2);

    let listed = runner
        .command(&["list"])
        .env("TZ", "Asia/Tokyo")
        .run()
        .expect(0)
        .stdout;
    assert!(
        listed.contains("began (JST)") || listed.contains("began (UTC)"),
        "{listed}"
    );
}

#[test]
fn ids_that_are_offered_are_short() {
    let runner = three();
    for _ in 0..2 {
        interrupted(&runner, &["-j", "1"]).finish().expect(130);
    }
    let ids = runner.ids();
    let short: Vec<_> = ids
        .iter()
        .map(|id| format!("`{}`", &id[id.len() - 8..]))
        .collect();
    for args in [&["resume"][..], &["show", "nothing"], &["show", "2026"]] {
        runner.run(args).expect(2).says(&[&short[0], &short[1]]);
    }
}

#[test]
fn a_variable_names_the_run_where_the_command_line_names_none() {
    let runner = three();
    runner.exec(&["--test", "pass"]).expect(0);
    runner.exec(&["--test", "fail"]).expect(1);
    let ids = runner.ids();
    let run = |args: &[&str], name: &str| runner.command(args).env("RUNNER_RUN", name).run();
    for args in [
        &["show"][..],
        &["wait"],
        &["logs"],
        &["verify"],
        &["stop"],
        &["pin"],
        &["unpin"],
    ] {
        let ran = run(args, &ids[0]).expect(0);
        assert!(
            !ran.stdout.contains(&ids[1]) && !ran.stderr.contains(&ids[1]),
            "{ran:?}"
        );
        run(args, "nothing")
            .expect(2)
            .says(&["no run `nothing`", "`RUNNER_RUN`"]);
    }
    run(&["cancel"], &ids[0])
        .expect(2)
        .says(&[&ids[0], "completed"]);
    run(&["resume"], &ids[0])
        .expect(0)
        .says(&["nothing is left"]);
    // An empty one is none, and what is typed goes first.
    run(&["wait"], "").expect(1);
    run(&["wait", &ids[1]], &ids[0]).expect(1);
    let ran = run(&["show", "nothing"], &ids[0]).expect(2);
    assert!(!ran.stderr.contains("RUNNER_RUN"), "{}", ran.stderr);
    runner.run(&["pin"]).expect(2).says(&["name a run"]);
}
