//! Grants that a plugin requests and does not have.

use crate::messages::outputs::snapshot;
use crate::support::runner::Runner;

#[test]
fn requests_beyond_the_grants_are_reported_first() {
    let runner = Runner::new(&["leaky"]);
    runner.scenario(
        "[providers.it]\nplugin = \"leaky.wasm\"\n[providers.it.grants]\nsecrets = [\"OTHER\"]\n\
         [[tests]]\nid = \"a\"\ninput = \"output\"\nexpect = { equals = \"another output\" }\n",
    );
    runner.write("keys.env", "OTHER=some-secret-value\n");
    let warning = "warning: provider `it` requests access that is not granted: net:https://api.example.com, secret:API_KEY";
    let keys = ["--secret-file", "keys.env"];
    runner.run(&[&["validate", "scenario.toml"], &keys[..]].concat()).expect(0).says(&[warning]);
    let ran = runner.exec(&keys).expect(1);
    snapshot(&ran);
    ran.says(&[warning]);
    let quiet = runner.exec(&[&keys[..], &["--quiet"]].concat()).expect(1);
    assert!(!quiet.stderr.contains("requests"), "{}", quiet.stderr);
}
