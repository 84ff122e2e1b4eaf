//! Runs whose providers have the network: certificates, bound secrets, and what is left of a request that nobody sends.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use serde_json::json;

use crate::support::{
    runner::{CommandExt as _, Runner, Signal, tests},
    server::{Authority, Request, Response, Server},
    web::{SOON, WAYS, assert_error, broken, hello, silence},
};

/// A folder with a scenario whose only test asks for these URLs, of servers that it is granted.
fn scenario(grants: &[String], urls: &[String]) -> Runner {
    let runner = Runner::new(&["web"]);
    let requests = urls.iter().map(|url| format!("{{ url = \"{url}\" }}"));
    let requests: Vec<_> = requests.collect();
    runner.scenario(&format!(
        "{}\n[providers.web]\nplugin = \"web.wasm\"\n[providers.web.grants]\nnet = {grants:?}\n",
        tests(&format!("a | {{ requests = [{}] }} |", requests.join(", ")))
    ));
    runner
}

/// Where the environment asks for backtraces, errors have one; it is of the host.
#[test]
fn an_error_tells_a_guest_nothing_of_the_host() {
    let server = broken("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
    let runner = Runner::new(&["web"]);
    let input = json!({"requests": [{"by": "wasi", "url": server.url("/")}]}).to_string();
    let grant = format!("net={}", server.origin());
    let args = [
        "plugin", "run", "web.wasm", "--input", &input, "--grant", &grant,
    ];
    let ran = runner
        .command(&args)
        .env("RUST_BACKTRACE", "1")
        .run()
        .expect(0);
    assert!(ran.stdout.contains("error"), "{}", ran.stdout);
    for of_the_host in ["backtrace", "wasmtime", "::", ".rs"] {
        assert!(!ran.stdout.contains(of_the_host), "{}", ran.stdout);
    }
}

#[test]
fn a_bound_secret_is_shown_stored_and_for_its_host_and_header_alone() {
    const SECRET: &str = "bound-S3cret";
    let echo = |request: &Request| {
        let told = request.header("x-key").unwrap_or("none").to_owned();
        Response::ok(format!("told {told}")).header("x-told", &told)
    };
    let (server, other) = (Server::start(echo), Server::start(echo));
    let bound = format!(
        "{{ name = \"KEY\", host = \"{}\", header = \"x-key\" }}",
        server.origin()
    );
    let request = |server: &Server, way: &str| {
        format!(
            "{{ by = \"{way}\", url = \"{}\", headers = [[\"x-key\", \"{{{{secret.KEY}}}}\"]] }}",
            server.url("/")
        )
    };
    let runner = Runner::new(&["web"]);
    let table = WAYS.map(|way| {
        format!(
            "good-{way} | {{ requests = [{}] }} |\nbad-{way} | {{ requests = [{}] }} |\n",
            request(&server, way),
            request(&other, way)
        )
    });
    runner.scenario(&format!(
        "{}\n[providers.web]\nplugin = \"web.wasm\"\n[providers.web.grants]\nnet = {:?}\nsecrets = [{bound}]\n",
        tests(&table.concat()),
        [server.origin(), other.origin()]
    ));
    let with_secret = |args: &[&str]| {
        runner
            .command(args)
            .env("KEY", SECRET)
            .env("RUNNER_LOG", "trace")
            .run()
    };
    let shown = with_secret(&["exec", "scenario.toml", "--dry-run"]).expect(0);
    shown.says(&[&format!("secrets = [{bound}]")]);
    with_secret(&["exec", "scenario.toml"]).expect(0);

    for request in server.requests() {
        assert_eq!(request.header("x-key"), Some(SECRET));
    }
    assert_eq!((server.requests().len(), other.connections()), (2, 0));
    let run = runner.only_run();
    let stored = &run.manifest()["providers"][0]["grants"];
    let expected = json!([{ "name": "KEY", "host": server.origin(), "header": "x-key" }]);
    assert_eq!(stored["bound_secrets"], expected, "{stored}");
    for way in WAYS {
        let row = run.row(&format!("good-{way}"));
        assert_eq!(row["output"][0]["body"], "told [secret KEY]");
        // It was taken out before the guest could count it.
        assert_eq!(row["output"][0]["size"], "told [secret KEY]".len());
        let row = run.row(&format!("bad-{way}"));
        let elsewhere = bound.replace(&server.origin(), &other.origin());
        assert_eq!(
            row["denied"][0]["grant"],
            format!("secrets = [{elsewhere}]")
        );
    }
    runner.run(&["show"]).expect(0);

    let input = json!({ "requests": [{ "url": server.url("/"), "headers": [["x-key", "{{secret.KEY}}"]] }] });
    let input = input.to_string();
    let net = format!("net={}", server.origin());
    let flag = format!("secret=KEY,host={},header=x-key", server.origin());
    let args = [
        "plugin", "run", "web.wasm", "--input", &input, "--grant", &net, "--grant",
    ];
    let ran = with_secret(&[&args[..], &[&flag]].concat()).expect(0);
    assert!(ran.stdout.contains("told [secret KEY]"), "{}", ran.stdout);
    let flag = format!("secret=KEY,host={},header=x-key", other.origin());
    let ran = with_secret(&[&args[..], &[&flag]].concat()).expect(0);
    ran.says(&[&format!("secret=KEY,host={},header=x-key", server.origin())]);
}

#[test]
fn servers_prove_who_they_are_by_certificates_that_the_system_trusts() {
    let (known, stranger) = (Authority::new("known"), Authority::new("stranger"));
    let secure = |authority, name| Server::secure(authority, name, |_| Response::ok("hello"));
    let good = secure(&known, "127.0.0.1");
    let other_name = secure(&known, "example.com");
    let untrusted = secure(&stranger, "127.0.0.1");
    let no_tls = TcpListener::bind("127.0.0.1:0").unwrap();
    let granted = [
        good.origin(),
        other_name.origin(),
        untrusted.origin(),
        format!("https://{}", no_tls.local_addr().unwrap()),
    ];
    thread::spawn(move || {
        let (mut stream, _) = no_tls.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
        stream.read_to_end(&mut Vec::new())
    });
    let plain = good.origin().replace("https:", "http:");
    let runner = scenario(
        &granted,
        &[&granted[..], std::slice::from_ref(&plain)].concat(),
    );
    runner.write("ca.pem", known.pem());

    let mut command = runner.command(&["exec", "scenario.toml"]);
    command.env("SSL_CERT_FILE", runner.path("ca.pem"));
    // Nobody is there; requests do not ask it.
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"] {
        command.env(proxy, "http://127.0.0.1:1");
    }
    command.run().expect(0);
    let answers = &runner.only_run().row("a")["output"];
    assert_eq!(answers[0]["body"], "hello", "{answers}");
    assert_error(
        &answers[1],
        "unreachable",
        "cannot be reached safely: invalid peer certificate",
    );
    assert_error(
        &answers[2],
        "unreachable",
        "UnknownIssuer; nobody whom this machine trusts has signed it: install the authority's certificate, or let \
         `SSL_CERT_FILE` name it",
    );
    assert_error(
        &answers[3],
        "unreachable",
        "a server that does not speak TLS is reached by `http:`",
    );
    assert_error(&answers[4], "denied", &format!("add \"{plain}\" to `net`"));
    let requests = [&good, &other_name, &untrusted].map(|server| server.requests().len());
    assert_eq!(requests, [1, 0, 0]);

    // Without anybody to trust.
    runner
        .command(&["exec", "scenario.toml"])
        .env("SSL_CERT_FILE", runner.path("scenario.toml"))
        .run()
        .expect(0);
    let answers = &runner.runs()[1].row("a")["output"];
    assert_error(&answers[0], "unreachable", "no trusted certificates: ");
}

#[test]
fn a_signal_ends_a_run_that_waits_for_a_server() {
    let server = Server::raw(silence);
    let runner = scenario(&[server.origin()], &[server.url("/")]);
    let live = runner.start(&[]);
    server.wait_for_requests(1);
    let (ran, took) = live.end_by(Signal::INT);
    assert!(took < SOON, "{took:?}");
    ran.expect(130);
    assert_eq!(runner.only_run().rows()[0]["outcome"], "stopped");
}

#[test]
fn attempts_of_a_run_share_connections() {
    let server = hello();
    let runner = scenario(&[server.origin()], &[server.url("/")]);
    runner.exec(&["--repeat", "20", "-j", "1"]).expect(0);
    assert_eq!(server.requests().len(), 20);
    // One, but where an attempt begins before the connection of the one before it is idle.
    assert!(server.connections() < 10, "{}", server.connections());
    let row = &runner.only_run().rows()[0];
    assert_eq!(row["usage"]["http_requests"], 1, "{row}");
}

/// The host keeps the texts of requests that nobody sends, and a guest may have hundreds.
#[test]
fn the_texts_of_a_request_that_is_not_sent_are_bounded() {
    // Of a method the last of its cases, of an option the second.
    let text =
        |case: u32, bytes: u32| format!("(i32.const {case}) (i32.const 1024) (i32.const {bytes})");
    let runner = Runner::new(&[]);
    for (name, parameter, case, most) in [
        ("set-method", r#""method" $method"#, 9, 32),
        ("set-authority", r#""authority" (option string)"#, 1, 1_024),
        (
            "set-path-with-query",
            r#""path-with-query" (option string)"#,
            1,
            8_192,
        ),
    ] {
        let begin = if name == "set-path-with-query" {
            "(i32.store8 (i32.const 1024) (i32.const 47))"
        } else {
            ""
        };
        let component = |arguments: &str| {
            format!(
                r#"(component
                 (import "wasi:http/types@0.2.0" (instance $types
                   (export "fields" (type $fields (sub resource)))
                   (export "outgoing-request" (type $request (sub resource)))
                   (type $m (variant (case "get") (case "head") (case "post") (case "put") (case "delete")
                     (case "connect") (case "options") (case "trace") (case "patch") (case "other" string)))
                   (export "method" (type $method (eq $m)))
                   (export "[constructor]fields" (func (result (own $fields))))
                   (export "[constructor]outgoing-request"
                     (func (param "headers" (own $fields)) (result (own $request))))
                   (export "[method]outgoing-request.{name}"
                     (func (param "self" (borrow $request)) (param {parameter}) (result (result))))))
                 (core module $own (memory (export "memory") 1))
                 (core instance $own (instantiate $own))
                 (alias core export $own "memory" (core memory $memory))
                 (core func $fields (canon lower (func $types "[constructor]fields")))
                 (core func $request (canon lower (func $types "[constructor]outgoing-request")))
                 (core func $set (canon lower (func $types "[method]outgoing-request.{name}")
                   (memory $memory)))
                 (core module $module
                   (import "" "fields" (func $fields (result i32)))
                   (import "" "request" (func $request (param i32) (result i32)))
                   (import "" "set" (func $set (param i32 i32 i32 i32) (result i32)))
                   (import "" "memory" (memory 1))
                   (func (export "run") (result i32)
                     (memory.fill (i32.const 1024) (i32.const 97) (i32.const 20000))
                     {begin}
                     (call $set (call $request (call $fields)) {arguments})))
                 (core instance $instance (instantiate $module (with "" (instance
                   (export "fields" (func $fields)) (export "request" (func $request))
                   (export "set" (func $set)) (export "memory" (memory $memory))))))
                 (func $run (result (result)) (canon lift (core func $instance "run")))
                 (instance $exports (export "run" (func $run)))
                 (export "wasi:cli/run@0.2.0" (instance $exports)))"#
            )
        };
        // It exits with what it got.
        for (bytes, code) in [(most, 0), (most + 1, 1)] {
            runner.wat("unsent.wasm", &component(&text(case, bytes)));
            let ran = runner.run(&["plugin", "run", "unsent.wasm"]).expect(code);
            ran.says(&[if code == 0 { "passed" } else { "exit" }]);
        }
    }
}
