//! `runner plugin inspect`: what is told of a file without calling it.

use serde_json::json;

use crate::support::{masks::masked, runner::Runner};

/// What `inspect` prints of a file that cannot be used; `says` is why.
#[track_caller]
fn inspect_bad(runner: &Runner, file: &str, says: &str) -> String {
    let ran = runner.run(&["plugin", "inspect", file]).expect(2);
    ran.says(&[says]);
    let json = runner.run(&["plugin", "inspect", file, "--json"]).expect(2);
    let document = json.document();
    assert!(document["problem"].as_str().unwrap().contains(says));
    masked(&ran.stdout)
}

#[test]
fn inspect_shows_what_a_component_is_and_needs() {
    let runner = Runner::new(&["hostile", "units"]);
    let ran = runner.run(&["plugin", "inspect", "hostile.wasm"]).expect(0);
    assert!(ran.stdout.contains("\nrequests  net:https://example.com\n"));

    let ran = runner.run(&["plugin", "inspect", "units.wasm"]).expect(0);
    assert_eq!(ran.stderr, "");
    let (known, schemas) = ran.stdout.split_once("\n\nschema of its config\n").unwrap();
    assert!(schemas.contains("\n\nschema of its input\n{\n"));
    insta::assert_snapshot!(masked(known), @r#"
    units.wasm
    kind      component of contract 0.1.0
    grades by verdict, score and checks, or an output like {"verdict": "pass"}
    name      units 0.1.0
    summary   Converts between units of length, mass and temperature
    size      [size]
    compiled  [size] in [time], [loaded]
    sandboxes pooled
    sha256    [sha256]
    imports   runner:provider@0.1.0: types
              wasi:io@[wasi]: poll, error, streams
              wasi:cli@[wasi]: environment, exit, stdin, stdout, stderr,
                terminal-input, terminal-output, terminal-stdin, terminal-stdout,
                terminal-stderr
    exports   runner:provider/provider@0.1.0
    "#);
}

#[test]
fn inspect_prints_one_document() {
    let runner = Runner::new(&["units"]);
    let ran = runner.run(&["plugin", "inspect", "units.wasm", "--json"]);
    let mut document = ran.expect(0).document();
    assert_eq!(document["description"]["input_schema"]["type"], "object");
    let bytes = fs_err::metadata(runner.path("units.wasm")).unwrap().len();
    assert_eq!(document["size"], bytes);
    assert!(document["compiled"]["size"].as_u64().unwrap() > bytes);
    for varies in ["size", "sha256", "compiled", "imports"] {
        document[varies] = json!("…");
    }
    document["description"]["input_schema"] = json!("…");
    document["description"]["config_schema"] = json!("…");
    insta::assert_json_snapshot!(document, @r#"
    {
      "compiled": "…",
      "contract": "0.1.0",
      "description": {
        "config_schema": "…",
        "input_schema": "…",
        "name": "units",
        "requests": [],
        "summary": "Converts between units of length, mass and temperature",
        "version": "0.1.0"
      },
      "exports": [
        "runner:provider/provider@0.1.0"
      ],
      "file": "units.wasm",
      "form": null,
      "grades_by": "reply",
      "imports": "…",
      "kind": "component",
      "lifecycle": false,
      "problem": null,
      "protocol": null,
      "sha256": "…",
      "size": "…",
      "v": 1
    }
    "#);
}

#[test]
fn inspect_tells_commands_by_their_form_and_protocol() {
    let runner = Runner::new(&["command"]);
    let ran = runner.run(&["plugin", "inspect", "command.wasm"]).expect(0);
    assert!(
        ran.stdout
            .contains("\nkind      command (component of WASI 0.2)\nprotocol  json\n")
    );
    assert!(ran.stdout.contains("\nname      command 0.1.0\n"));

    runner.wat("plain.wasm", r#"(module (func (export "_start")))"#);
    let ran = runner.run(&["plugin", "inspect", "plain.wasm"]).expect(0);
    insta::assert_snapshot!(masked(&ran.stdout), @r#"
    plain.wasm
    kind      command (module of WASI preview 1)
    protocol  plain: it does not describe itself
    grades by exit code 0 passes; what it prints says why, or is JSON with a score
    size      36 B
    compiled  [size] in [time], [loaded]
    sandboxes pooled
    sha256    [sha256]
    exports   _start
    "#);
}

#[test]
fn inspect_shows_what_is_known_of_files_that_cannot_be_used() {
    let runner = Runner::new(&[]);
    runner.write("text.wasm", "#!/bin/sh\n");
    insta::assert_snapshot!(inspect_bad(&runner, "text.wasm", "is not WASM"), @r#"
    text.wasm
    kind      no WASM
    size      10 B
    sha256    [sha256]
    "#);

    runner.wat("library.wasm", r#"(module (func (export "add")))"#);
    let says = "is a module without `_start`";
    insta::assert_snapshot!(inspect_bad(&runner, "library.wasm", says), @r#"
    library.wasm
    kind      module, but no plugin
    size      33 B
    sha256    [sha256]
    exports   add
    "#);

    runner.wat(
        "newer.wasm",
        r#"(component (instance $i) (export "runner:provider/provider@0.2.0" (instance $i)))"#,
    );
    let says = "is built for version 0.2.0 of the contract `runner:provider`, and this runner speaks 0.1.0";
    insta::assert_snapshot!(inspect_bad(&runner, "newer.wasm", says), @r#"
    newer.wasm
    kind      component of contract 0.2.0; this runner speaks 0.1.0
    size      75 B
    sha256    [sha256]
    exports   runner:provider/provider@0.2.0
    "#);

    runner.wat(
        "needy.wasm",
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
            (import "env" "gpu" (func))
            (import "env" "gpu" (func))
            (func (export "_start")))"#,
    );
    let says = "needs what this runner does not offer: `env::gpu`";
    insta::assert_snapshot!(inspect_bad(&runner, "needy.wasm", says), @r#"
    needy.wasm
    kind      command (module of WASI preview 1)
    size      98 B
    sha256    [sha256]
    imports   wasi_snapshot_preview1: proc_exit
    missing   env: gpu
    exports   _start
    "#);

    runner
        .run(&["plugin", "inspect", "nowhere.wasm"])
        .expect(2)
        .says(&["plugin `nowhere.wasm` does not exist"]);
}

#[test]
fn inspect_reads_nothing_that_may_never_end() {
    let runner = Runner::new(&[]);
    let script = "mkfifo pipe.wasm; truncate -s 65M large.wasm";
    assert!(runner.shell(script).status().unwrap().success());
    for (file, says) in [
        ("/dev/zero", "plugin `/dev/zero` is not a regular file"),
        ("pipe.wasm", "plugin `pipe.wasm` is not a regular file"),
        (
            "large.wasm",
            "plugin `large.wasm` is larger than `limits.file`",
        ),
    ] {
        let ran = runner.run(&["plugin", "inspect", file]).expect(2);
        ran.says(&[says]);
        assert_eq!(ran.stdout, "");
    }
}
