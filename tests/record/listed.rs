//! What lists say, whatever `runner.db` is.

use serde_json::Value;

use crate::support::runner::{Runner, tests};

/// Puts bytes in the place of the database, without the log of SQLite that may be left beside it; or nothing.
fn replace_database(runner: &Runner, content: Option<&[u8]>) {
    let results = runner.path("results");
    for name in ["runner.db", "runner.db-wal", "runner.db-shm"] {
        let path = results.join(name);
        if path.exists() {
            fs_err::remove_file(path).unwrap();
        }
    }
    if let Some(content) = content {
        fs_err::write(results.join("runner.db"), content).unwrap();
    }
}

/// The list without its database, which knows nothing but the directories then.
fn anew(runner: &Runner) -> Vec<Value> {
    replace_database(runner, None);
    runner.list(&[])
}

#[test]
fn lists_are_the_same_with_a_database_that_is_old_damaged_or_gone() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo", value = 1 } |"#));
    runner.exec(&[]).expect(0);
    // What is in the log yet is missing from it, which makes it all the older.
    let old = fs_err::read(runner.path("results").join("runner.db")).unwrap();
    runner.exec(&[]).expect(0);
    let listed = runner.list(&[]);
    assert_eq!(listed.len(), 2);
    assert_eq!(anew(&runner), listed);
    for content in [&old[..], b"damaged", &[0; 5000]] {
        replace_database(&runner, Some(content));
        assert_eq!(runner.list(&[]), listed);
    }

    // The database still says how it has ended.
    let run = runner.runs().pop().unwrap();
    assert_eq!(runner.list(&[]), listed);
    run.keep_rows(0);
    run.forget_its_end();
    let dead = runner.list(&[]);
    let told = dead.iter().find(|told| told["run"] == run.id()).unwrap();
    assert_eq!(told["status"], "incomplete", "{told:#}");
    assert_eq!(
        (&told["reason"], &told["is_alive"]),
        (&"crashed".into(), &false.into())
    );
    assert_eq!(anew(&runner), dead);
    assert_eq!(runner.list(&[]), dead);

    // What is damaged in its place is told, and not what it was before.
    run.write("benchmark.json", "{");
    let ran = runner.run(&["list", "--json"]);
    ran.says(&["benchmark.json"]);
    assert_eq!(ran.document()["runs"].as_array().unwrap().len(), 1);
}
