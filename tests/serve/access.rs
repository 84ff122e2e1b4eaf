//! Who may ask what: other sites, other users, other names, and whoever asks too much.

use std::{
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    time::{Duration, Instant},
};

use super::client::{Served, TOKEN};
use crate::support::runner::Runner;

/// A folder with a run, whose scenario a server may start.
fn runner() -> Runner {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    runner.exec(&[]).expect(0);
    runner
}

#[test]
fn only_whoever_is_asked_from_here_by_its_name_and_with_its_token_is_answered() {
    let runner = runner();
    let served = Served::start(&runner, &[]);
    let port = served.at.rsplit_once(':').unwrap().1;
    let bearer = format!("Bearer {TOKEN}");
    let cookie = format!("x=y; runner-{port}={TOKEN}");
    let own = format!("http://{}", served.at);
    let other_port = "http://127.0.0.1:1";
    let localhost = format!("localhost:{port}");
    let with_user = format!("evil.example@{}", served.at);
    let with_path = format!("{}#evil.example", served.at);
    let as_other_port = format!("runner-1={TOKEN}");
    let json = ("Content-Type", "application/json");
    let auth = ("Authorization", &*bearer);
    let api = "/api/v1/runs";
    let stop = "/api/v1/runs/latest/stop";
    for (method, path, headers, status) in [
        // A program.
        ("GET", api, vec![auth], 200),
        ("GET", api, vec![], 401),
        (
            "GET",
            api,
            vec![("Authorization", "Bearer 0123456789abcdef")],
            401,
        ),
        ("GET", api, vec![("Authorization", "Bearer ")], 401),
        ("GET", api, vec![("Cookie", &as_other_port)], 401),
        // A browser that is logged in.
        (
            "GET",
            api,
            vec![("Cookie", &cookie), ("Sec-Fetch-Site", "same-origin")],
            200,
        ),
        // The pages hold no data.
        ("GET", "/runs", vec![], 200),
        ("GET", "/web/main.js", vec![], 200),
        // A name that somebody else lets lead here.
        ("GET", "/runs", vec![("Host", "evil.example")], 421),
        (
            "GET",
            "/web/main.js",
            vec![("Host", "evil.example:80")],
            421,
        ),
        ("GET", api, vec![auth, ("Host", "evil.example")], 421),
        ("GET", api, vec![auth, ("Host", "127.0.0.1:1")], 421),
        (
            "GET",
            api,
            vec![auth, ("Host", "127.0.0.1.evil.example")],
            421,
        ),
        ("GET", api, vec![auth, ("Host", "")], 421),
        ("GET", api, vec![auth, ("Host", &with_user)], 421),
        ("GET", api, vec![auth, ("Host", &with_path)], 421),
        ("GET", api, vec![auth, ("Host", &localhost)], 200),
        // Another site, and another port of this machine, with the cookie.
        (
            "GET",
            api,
            vec![("Cookie", &cookie), ("Sec-Fetch-Site", "cross-site")],
            403,
        ),
        (
            "GET",
            api,
            vec![("Cookie", &cookie), ("Sec-Fetch-Site", "same-site")],
            403,
        ),
        (
            "GET",
            "/web/main.js",
            vec![
                ("Sec-Fetch-Site", "cross-site"),
                ("Sec-Fetch-Mode", "no-cors"),
            ],
            403,
        ),
        (
            "GET",
            "/runs",
            vec![
                ("Sec-Fetch-Site", "cross-site"),
                ("Sec-Fetch-Mode", "navigate"),
            ],
            200,
        ),
        (
            "GET",
            "/runs",
            vec![("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "cors")],
            403,
        ),
        (
            "POST",
            stop,
            vec![("Cookie", &cookie), json, ("Origin", other_port)],
            403,
        ),
        (
            "POST",
            stop,
            vec![("Cookie", &cookie), json, ("Origin", "http://evil.example")],
            403,
        ),
        (
            "POST",
            stop,
            vec![("Cookie", &cookie), json, ("Origin", "null")],
            403,
        ),
        (
            "POST",
            stop,
            vec![("Cookie", &cookie), json, ("Sec-Fetch-Site", "same-site")],
            403,
        ),
        ("POST", stop, vec![("Cookie", &cookie), json], 403),
        (
            "POST",
            stop,
            vec![("Cookie", &cookie), json, ("Origin", &own)],
            200,
        ),
        ("POST", stop, vec![auth, json], 200),
        // What a form of another site can send.
        (
            "POST",
            stop,
            vec![auth, ("Content-Type", "text/plain")],
            415,
        ),
        ("POST", stop, vec![auth], 415),
        // Nothing is allowed to other sites, and nothing else is there.
        ("OPTIONS", stop, vec![auth, ("Origin", &own)], 405),
        ("PUT", stop, vec![auth, json], 405),
        ("GET", stop, vec![auth], 405),
        ("GET", "/api/v1/nothing", vec![auth], 404),
        ("GET", "/etc/passwd", vec![], 404),
        ("GET", "/web/../../Cargo.toml", vec![], 404),
        ("GET", "/web/%2e%2e/mod.rs", vec![], 404),
        ("GET", "/api/v1/runs/..%2f..", vec![auth], 404),
        ("GET", "/api/v1/runs/%2fetc", vec![auth], 404),
        ("GET", "/api/v1/runs/.", vec![auth], 404),
        ("GET", "/api/v1/runs?stauts=running", vec![auth], 400),
        ("GET", "/api/v1/runs?status=gone", vec![auth], 400),
    ] {
        let answered = served.ask(method, path, &headers, "");
        let shown = String::from_utf8_lossy(&answered.body).into_owned();
        assert_eq!(
            answered.status, status,
            "{method} {path} {headers:?}: {shown}"
        );
        let header = |name| answered.header(name).unwrap_or_default().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert!(
            header("content-security-policy").contains("default-src 'none'"),
            "{path}"
        );
        assert_eq!(
            answered.header("access-control-allow-origin"),
            None,
            "{path}"
        );
        if status >= 400 {
            assert_eq!(header("content-type"), "application/problem+json", "{path}");
            assert_eq!(answered.json()["status"], status, "{shown}");
        }
    }
}

#[test]
fn a_link_logs_one_browser_in_and_leaves_no_secret_in_its_address() {
    let runner = runner();
    let served = Served::start(&runner, &[]);
    let path = format!("/runs?login={}", served.login);
    // From another place it is a link like any other, and a page with scripts is no place to follow it to.
    let answered = served.ask("GET", &path, &[], "").expect(303);
    assert_eq!(answered.header("location"), Some("/runs"));
    let cookie = answered.header("set-cookie").unwrap().to_owned();
    assert!(
        cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/"),
        "{cookie}"
    );
    let (pair, _) = cookie.split_once(';').unwrap();
    served
        .ask("GET", "/api/v1/runs", &[("Cookie", pair)], "")
        .expect(200);
    let again = served.ask("GET", &path, &[], "").expect(303);
    assert_eq!(again.header("set-cookie"), None);
    let guessed = served.ask("GET", "/?login=0", &[], "").expect(303);
    assert_eq!(guessed.header("set-cookie"), None);

    let port = served.at.rsplit_once(':').unwrap().1;
    let host = format!("localhost:{port}");
    let moved = served
        .ask("GET", "/runs?q=a", &[("Host", &host)], "")
        .expect(307);
    assert_eq!(
        moved.header("location"),
        Some(&*format!("http://{}/runs?q=a", served.at))
    );
}

#[test]
fn where_nothing_may_be_changed_every_change_is_refused_before_it_is_looked_at() {
    let runner = runner();
    let served = Served::start(&runner, &["--read-only", "--scenarios", "."]);
    let before = runner.only_run().manifest();
    for (method, path) in [
        ("POST", "/runs"),
        ("POST", "/runs/latest/stop"),
        ("POST", "/runs/latest/cancel"),
        ("POST", "/runs/latest/resume"),
        ("POST", "/runs/latest/pin"),
        ("POST", "/runs/latest/rescore"),
        ("POST", "/runs/anything/stop"),
        ("POST", "/anything"),
        ("POST", "/prune"),
        ("POST", "/cleanup"),
        ("DELETE", "/runs/latest"),
    ] {
        let problem = served.send(method, path, "{}").expect(403).json();
        assert_eq!(problem["type"], "/problems/read-only", "{path}");
    }
    assert_eq!(served.get("/server").json()["is_read_only"], true);
    let actions = served.get("/runs/latest").json()["actions"].clone();
    assert_eq!(actions, serde_json::json!([]));
    assert_eq!(runner.only_run().manifest(), before);
}

#[test]
fn what_is_too_large_too_slow_or_too_much_is_cut_off() {
    let runner = runner();
    let served = Served::start(&runner, &[]);
    let large = format!("{{\"reason\":\"{}\"}}", "x".repeat(1 << 20));
    served.send("POST", "/runs/latest/pin", &large).expect(413);
    let long = format!("\"{}\"", "x".repeat(2000));
    served
        .send(
            "POST",
            "/runs/latest/pin",
            &format!("{{\"reason\":{long}}}"),
        )
        .expect(400);
    served
        .send("POST", "/runs/latest/pin", "{\"reson\":1}")
        .expect(400);
    served.send("POST", "/runs/latest/pin", "{").expect(400);
    let header = "x".repeat(64 * 1024);
    served
        .ask("GET", "/runs", &[("X-Long", &header)], "")
        .expect(431);

    // One that never says what it wants is gone after some seconds, and no other waits for it.
    let began = Instant::now();
    let mut slow = served.connect();
    slow.write_all(b"GET /runs HTTP/1.1\r\nHost: ").unwrap();
    served.get("/runs").expect(200);
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(
        began.elapsed() < Duration::from_secs(50),
        "{:?}",
        began.elapsed()
    );

    // Those that are too many are told so, and the others are answered.
    let idle: Vec<_> = (0..256).map(|_| served.connect()).collect();
    let refused = served.ask("GET", "/runs", &[], "").expect(503);
    assert_eq!(refused.header("retry-after"), Some("2"));
    drop(idle);
    crate::support::wait::wait_until("there is room again", || {
        served.ask("GET", "/runs", &[], "").status == 200
    });
}

#[test]
fn a_socket_that_is_a_file_needs_no_token_and_lets_nobody_else_in() {
    let runner = runner();
    let mut command = runner.command(&["serve", "--listen", "unix:socket"]);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let path = runner.path("socket");
    let ask = |host: &str| {
        let mut stream =
            crate::support::wait::wait_for("it listens", || UnixStream::connect(&path).ok());
        let request =
            format!("GET /api/v1/runs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("localhost").starts_with("HTTP/1.1 200 "));
    // A browser reaches it through a tunnel, and with it whatever name leads there.
    assert!(ask("evil.example").starts_with("HTTP/1.1 421 "));
    let mode = fs_err::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    child.kill().unwrap();
    child.wait().unwrap();

    // What a server has left that was killed is in nobody's way.
    let mut again = runner.command(&["serve", "--listen", "unix:socket"]);
    let mut child = again.stderr(std::process::Stdio::null()).spawn().unwrap();
    assert!(ask("localhost").starts_with("HTTP/1.1 200 "));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn nothing_but_a_socket_is_replaced_by_a_socket() {
    let runner = runner();
    runner.write("notes", "mine");
    std::os::unix::fs::symlink("notes", runner.path("link")).unwrap();
    fs_err::create_dir(runner.path("folder")).unwrap();
    for (name, kind) in [
        ("notes", "a file"),
        ("link", "a symbolic link"),
        ("folder", "a directory"),
    ] {
        let ran = runner.run(&["serve", "--listen", &format!("unix:{name}")]);
        let says = format!("there is {kind}, which is left alone; name another path");
        ran.expect(2)
            .says(&[&format!("cannot listen on `unix:{name}`"), &says]);
    }
    assert_eq!(fs_err::read_to_string(runner.path("link")).unwrap(), "mine");
    assert!(runner.path("link").is_symlink());
}

#[test]
fn what_cannot_be_served_is_refused_with_what_to_do() {
    let runner = runner();
    for (args, says) in [
        (vec!["--listen", "here"], "`--listen here` is no address"),
        (vec!["--listen", "0.0.0.0:0"], "no name was allowed"),
        (
            vec!["--listen", "192.0.2.1:1", "--allow-host", "x"],
            "cannot listen on",
        ),
        (vec!["--scenarios", "missing"], "`missing` is not a folder"),
        (vec!["--token-file", "short"], "has no token"),
        (vec!["--read-only", "--allow-writes"], "cannot be used with"),
    ] {
        runner.write("short", "abc");
        let ran = runner.run(&[&["serve"], &args[..]].concat()).expect(2);
        ran.says(&[says]);
    }
    let ran = runner.run(&["serve", "--results", "short"]).expect(7);
    ran.says(&["results root `short` is not a directory"]);
    // A token file that is not there is made, for its owner alone.
    let mut command = runner.command(&["serve", "--listen", "127.0.0.1:0", "--token-file", "new"]);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let made = crate::support::wait::wait_for("there is a token", || {
        fs_err::read_to_string(runner.path("new"))
            .ok()
            .filter(|text| text.ends_with('\n'))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(made.trim().len(), 64);
    let mode = fs_err::metadata(runner.path("new"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn another_machine_may_look_and_change_nothing_unless_that_is_allowed() {
    let runner = runner();
    let bearer = format!("Bearer {TOKEN}");
    let host = [("Host", "runs.example"), ("Authorization", &*bearer)].to_vec();
    let change = [host.clone(), vec![("Content-Type", "application/json")]].concat();
    for (args, status) in [
        (vec!["--allow-host", "runs.example"], 403),
        (vec!["--allow-host", "runs.example", "--allow-writes"], 200),
    ] {
        let mut served = Served::at(&runner, "0.0.0.0:0", &args);
        let port = served.at.rsplit_once(':').unwrap().1;
        let at = format!("127.0.0.1:{port}");
        served.at = at;
        served.ask("GET", "/api/v1/runs", &host, "").expect(200);
        served
            .ask(
                "GET",
                "/api/v1/runs",
                &[("Host", "other.example"), host[1]],
                "",
            )
            .expect(421);
        served
            .ask("POST", "/api/v1/runs/latest/pin", &change, "")
            .expect(status);
    }
}
