//! The API against its OpenAPI document: other programs read the document, and send requests that it allows and forbids.

use std::process::{Command, Stdio};

use crate::support::{http::Site, runner::Runner};
use crate::{succeed, tool};

/// Seed of the requests.
const SEED: &str = "20";
/// Random requests for each call, in addition to those that follow from its document.
const EXAMPLES: &str = "2";
/// Streams of events end only with the connection.
const ENDLESS: &str = "/events$";
/// Names that exist: with others, most requests would be answered by 404.
const NAMES: &str = "[parameters]\n\"path.run\" = \"latest\"\n\"path.trial\" = \"a@hostile\"\n\"path.attempt\" = 1\n";

#[test]
fn server_keeps_its_contract() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n[[tests]]\nid = \"b\"\ninput = { do = \"trap\" }\n",
    );
    // Some are deleted by requests.
    for _ in 0..10 {
        runner.exec(&[]).expect(1);
    }
    let site = Site::start(&runner, &["--results", "results", "--scenarios", "."]);
    runner.write("openapi.json", site.get("/openapi.json").to_string());
    succeed(Command::new(tool("api/bin/openapi-spec-validator")).arg(runner.path("openapi.json")));
    runner.write("schemathesis.toml", NAMES);
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    succeed(
        Command::new(tool("api/bin/schemathesis"))
            .args([
                "run",
                "openapi.json",
                "--url",
                &format!("http://127.0.0.1:{}/api/v1", site.port),
            ])
            .args(["--header", &format!("Authorization: Bearer {}", site.token)])
            .args(["--checks", checks, "--exclude-path-regex", ENDLESS])
            .args([
                "--phases",
                "examples,coverage,fuzzing",
                "--seed",
                SEED,
                "--max-examples",
                EXAMPLES,
            ])
            .args(["--request-timeout", "30", "--no-shrink", "--no-color"])
            .current_dir(runner.path(""))
            .env("HOME", runner.path(""))
            .stdin(Stdio::null()),
    );
}
