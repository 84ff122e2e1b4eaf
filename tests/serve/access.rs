//! Access rules of the server.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt as _, symlink},
    os::unix::net::UnixStream,
    path::Path,
    time::Instant,
};

use serde_json::json;

use crate::messages::outputs::snapshot;
use crate::support::{
    http::{Answer, Site},
    runner::Runner,
    wait::{wait_for, wait_until},
};

const SAME_ORIGIN: &str = "Sec-Fetch-Site: same-origin";
const JSON: &str = "Content-Type: application/json";

/// A browser that is logged in.
struct Browser {
    /// The header `Host`.
    host: String,
    /// The header `Cookie`.
    cookie: String,
}

impl Browser {
    /// Opens a link.
    #[track_caller]
    fn open(site: &Site, link: &str) -> Option<Self> {
        let (host, path) = link.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let host = format!("Host: {host}");
        let answer = site.send("GET", &format!("/{path}"), &[&host], "").expect(303);
        let address = answer.header("location").unwrap();
        assert!(address.starts_with('/') && !address.contains("login"), "{address}");
        let cookie = answer.header("set-cookie")?;
        let (cookie, rest) = cookie.split_once("; ").unwrap();
        let attributes = "HttpOnly; SameSite=Strict; Path=/";
        let age = if host.contains(".localhost:") { "" } else { "; Max-Age=2592000" };
        assert_eq!(rest, format!("{attributes}{age}"));
        Some(Self { host, cookie: format!("Cookie: {cookie}") })
    }

    fn get(&self, site: &Site, headers: &[&str]) -> u16 {
        let headers = [&[self.host.as_str(), &self.cookie], headers].concat();
        site.send("GET", "/api/v1/runs", &headers, "").status
    }

    fn secret(&self) -> &str {
        self.cookie.split_once('=').unwrap().1
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[test]
fn calls_without_the_token_are_refused() {
    let site = Site::start(&Runner::new(&[]), &[]);
    let token = &site.token;
    let wrong = [
        String::new(),
        bearer(""),
        bearer(&token[1..]),
        bearer(&format!("{token}0")),
        bearer(&"0".repeat(64)),
        format!("Authorization: Basic {token}"),
        format!("Authorization: {token}"),
        format!("Cookie: runner-{}={token}", site.port),
        format!("X-Token: {token}"),
    ];
    for path in ["/api/v1/runs", "/api/v1/runs/latest/stop", "/api/v1/nothing", "/api/v2/runs"] {
        for (method, more) in [("GET", ""), ("POST", JSON), ("DELETE", JSON)] {
            for header in &wrong {
                let headers: Vec<_> =
                    [header, more].into_iter().filter(|one| !one.is_empty()).collect();
                let answer = site.send(method, path, &headers, "");
                answer.refuses(401, &["valid token", "--link"]);
                assert!(!answer.text().contains(token.as_str()));
            }
        }
    }
    site.send("GET", "/api/v1/runs", &[&bearer(token)], "").expect(200);
    // The files of the pages have no data.
    for path in ["/", "/runs", "/web/main.js"] {
        site.send("GET", path, &[], "").expect(200);
    }
}

#[test]
fn only_names_of_the_server_are_answered() {
    let site = Site::start(&Runner::new(&[]), &["--allow-host", "box.example"]);
    let (port, token) = (site.port, bearer(&site.token));
    let allowed = [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("other.localhost:{port}"),
        format!("[::1]:{port}"),
        "box.example".to_owned(),
        "BOX.example:443".to_owned(),
    ];
    let foreign = [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{}", port ^ 1),
        format!("127.0.0.1:{port}.evil.example"),
        format!("evil.example#127.0.0.1:{port}"),
        format!("127.0.0.1:{port}@evil.example"),
        format!("localhost.evil.example:{port}"),
        format!("10.0.0.1:{port}"),
        "x.box.example".to_owned(),
        String::new(),
    ];
    for path in ["/api/v1/runs", "/", "/web/main.js"] {
        for host in &allowed {
            site.send("GET", path, &[&format!("Host: {host}"), &token], "").expect(200);
        }
        for host in &foreign {
            let answer = site.send("GET", path, &[&format!("Host: {host}"), &token], "");
            answer.refuses(421, &["--allow-host NAME"]);
        }
    }
    let own = format!("Host: {}", allowed[0]);
    site.send("GET", "/", &[&own, "Host: evil.example"], "").refuses(421, &[]);
    let absolute = format!("http://evil.example:{port}/api/v1/runs");
    site.send("GET", &absolute, &[&own, &token], "").refuses(421, &[]);
}

#[test]
fn pages_of_other_sites_are_refused() {
    let site = Site::start(&Runner::new(&[]), &[]);
    let (port, token) = (site.port, bearer(&site.token));
    let own = format!("Origin: http://127.0.0.1:{port}");
    for foreign in [
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: \u{e9}",
        "Origin: null",
        "Origin: http://evil.example",
        &format!("Origin: http://127.0.0.1:{}", port ^ 1),
        &format!("Origin: http://127.0.0.1:{port}.evil.example"),
        &format!("Origin: http://other.localhost:{port}"),
        &format!("Origin: ftp://127.0.0.1:{port}"),
    ] {
        for (method, path) in
            [("GET", "/api/v1/runs"), ("POST", "/api/v1/runs/x/stop"), ("POST", "/api/v1/login")]
        {
            let answer = site.send(method, path, &[foreign, &token, JSON], "");
            answer.refuses(403, &["another server"]);
        }
    }
    for header in [SAME_ORIGIN, "Sec-Fetch-Site: none", &own] {
        site.send("GET", "/api/v1/runs", &[header, &token], "").expect(200);
    }
    // Links of other sites lead to pages, and only as navigations.
    let cross = "Sec-Fetch-Site: cross-site";
    site.send("GET", "/runs", &[cross, "Sec-Fetch-Mode: navigate"], "").expect(200);
    site.send("GET", "/runs", &[cross, "Sec-Fetch-Mode: no-cors"], "").refuses(403, &[]);
    site.send("GET", "/web/main.js", &[cross, "Sec-Fetch-Mode: navigate"], "").refuses(403, &[]);
    // No other site may ask with a preflight.
    for answer in [
        site.send("OPTIONS", "/api/v1/runs", &[&token], ""),
        site.send("GET", "/api/v1/runs", &[&own, &token], ""),
    ] {
        let names = answer.headers.iter().map(|(name, _)| name);
        assert_eq!(names.filter(|name| name.starts_with("access-control")).count(), 0);
    }
}

#[test]
fn links_log_one_browser_in() {
    let site = Site::start(&Runner::new(&[]), &[]);
    let (host, path) = site.link.strip_prefix("http://").unwrap().split_once('/').unwrap();
    assert!(host.ends_with(&format!(".localhost:{}", site.port)), "{host}");
    // A preview of the link, or another name, does not use it up.
    let (path, host) = (format!("/{path}"), format!("Host: {host}"));
    assert_eq!(site.send("HEAD", &path, &[&host], "").header("set-cookie"), None);
    assert_eq!(site.send("GET", &path, &[], "").header("set-cookie"), None);
    let browser = Browser::open(&site, &site.link).unwrap();
    assert_eq!(browser.get(&site, &[SAME_ORIGIN]), 200);
    assert_eq!(browser.get(&site, &["Sec-Fetch-Site: none"]), 200);
    assert!(Browser::open(&site, &site.link).is_none(), "the link worked twice");
}

#[test]
fn cookies_are_useless_without_their_browser() {
    let site = Site::start(&Runner::new(&[]), &[]);
    let browser = Browser::open(&site, &site.link).unwrap();
    // Programs of other ports have no way to set these headers of a browser, and not the name.
    assert_eq!(browser.get(&site, &[]), 401);
    assert_eq!(browser.get(&site, &["Sec-Fetch-Site: same-site"]), 403);
    assert_eq!(browser.get(&site, &["Sec-Fetch-Site: cross-site"]), 403);
    for name in ["127.0.0.1", "localhost", "other.localhost"] {
        let host = format!("Host: {name}:{}", site.port);
        let headers = [&host, &browser.cookie, SAME_ORIGIN];
        site.send("GET", "/api/v1/runs", &headers, "").refuses(401, &[]);
    }
    // The cookie is neither the token nor a link.
    assert_ne!(browser.secret(), site.token);
    site.send("GET", "/api/v1/runs", &[&bearer(browser.secret())], "").refuses(401, &[]);
    let link = site.link.split_once("login=").unwrap().0.to_owned() + "login=" + browser.secret();
    assert!(Browser::open(&site, &link).is_none());
    let login = json!({ "token": browser.secret() });
    site.send("POST", "/api/v1/login", &[JSON], &login.to_string()).refuses(401, &[]);
}

#[test]
fn links_lead_to_no_other_server() {
    let site = Site::start(&Runner::new(&[]), &[]);
    for path in ["//evil.example/", "/\\evil.example/", "/\\/evil.example/"] {
        let answer = site.send("GET", &format!("{path}?login=x&page=2"), &[], "").expect(303);
        assert_eq!(answer.header("location"), Some("/evil.example/?page=2"), "{path}");
    }
}

#[test]
fn both_addresses_of_localhost_are_the_servers() {
    // A machine may lack the other address.
    let Ok(mut listener) = TcpListener::bind("[::1]:0") else { return };
    let port_of = |listener: &TcpListener| listener.local_addr().unwrap().port();
    // Another test may use the port of the first address.
    while TcpListener::bind(("127.0.0.1", port_of(&listener))).is_err() {
        listener = TcpListener::bind("[::1]:0").unwrap();
    }
    let port = port_of(&listener);
    let runner = Runner::new(&[]);
    let refused = |address: &str, other: &str| {
        let ran = runner.run(&["serve", "--listen", address]).expect(2);
        ran.says(&[other, "a program listens there already"]);
    };
    refused(&format!("127.0.0.1:{port}"), &format!("`[::1]:{port}`"));
    drop(listener);
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let args = ["serve", "--listen", address, "--token-file", "token"];
        let site = Site::started(&runner, runner.started(&args));
        for address in ["127.0.0.1", "::1"] {
            let mut stream = TcpStream::connect((address, site.port)).unwrap();
            let request = site.request("GET", "/api/v1/runs", &[&bearer(&site.token)], "");
            stream.write_all(request.as_bytes()).unwrap();
            Answer::read(&mut stream).expect(200);
        }
    }
}

#[test]
fn logins_end_with_their_server() {
    let runner = Runner::new(&[]);
    let site = Site::start(&runner, &[]);
    let browser = Browser::open(&site, &site.link).unwrap();
    site.running.kill();
    let site = Site::start(&runner, &[]);
    // A program that had the port in between may have scripts at the old name, which must not see the next link.
    let name = browser.host.split([' ', ':']).nth(2).unwrap();
    assert!(!site.link.contains(name), "{} {name}", site.link);
    let login = site.link.split('/').nth(2).unwrap();
    let cookie = format!("Cookie: runner-{}={}", site.port, browser.secret());
    for host in [format!("{name}:{}", site.port), login.to_owned()] {
        let host = format!("Host: {host}");
        // Addresses of pages stay valid, but ask for the token.
        site.send("GET", "/runs", &[&host], "").expect(200);
        let headers = [host.as_str(), &cookie, SAME_ORIGIN];
        site.send("GET", "/api/v1/runs", &headers, "").refuses(401, &[]);
    }
}

#[test]
fn token_in_a_page_gives_a_link() {
    let site = Site::start(&Runner::new(&[]), &[]);
    let page = format!("http://127.0.0.1:{}/runs?status=failed", site.port);
    let login = |token: &str, page: &str| {
        let body = json!({ "token": token, "page": page }).to_string();
        site.send("POST", "/api/v1/login", &[JSON, SAME_ORIGIN], &body)
    };
    let answer = login(&site.token, &page).expect(200);
    // Only the link's name keeps the cookie from other ports.
    assert_eq!(answer.header("set-cookie"), None);
    let link = answer.document()["link"].as_str().unwrap().to_owned();
    assert!(link.contains(".localhost:") && link.contains("/runs?login="), "{link}");
    assert!(link.ends_with("&status=failed"), "{link}");
    let browser = Browser::open(&site, &link).unwrap();
    assert_eq!(browser.get(&site, &[SAME_ORIGIN]), 200);
    snapshot(login("wrong", &page).refuses(401, &[]));
    login(&site.token, "http://evil.example/").refuses(400, &["`page`"]);
    let form = format!("token={}", site.token);
    site.send("POST", "/api/v1/login", &[], &form).refuses(415, &[]);
}

#[test]
fn changes_are_json_and_need_their_method() {
    let site = Site::start(&Runner::new(&[]), &[]);
    let token = bearer(&site.token);
    for media_type in ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
    {
        let header = format!("Content-Type: {media_type}");
        for method in ["POST", "DELETE"] {
            let answer = site.send(method, "/api/v1/runs/x", &[&header, &token], "{}");
            answer.refuses(415, &["Content-Type: application/json"]);
        }
    }
    let utf_8 = "Content-Type: application/json; charset=utf-8";
    site.send("POST", "/api/v1/runs/x/stop", &[utf_8, &token], "{}").refuses(404, &[]);
    for method in ["OPTIONS", "PUT", "PATCH", "TRACE", "CONNECT", "QUERY"] {
        site.send(method, "/api/v1/runs", &[JSON, &token], "").refuses(405, &[]);
        site.send(method, "/", &[JSON, &token], "").refuses(405, &[]);
    }
    site.ask("POST", "/events", Some(&json!({}))).refuses(405, &[]);
    snapshot(site.ask("GET", "/nothing", None).refuses(404, &[]));
    site.post("/login", &json!([])).refuses(400, &["JSON object"]);
}

#[test]
fn read_only_servers_refuse_every_change() {
    let runner = Runner::new(&[]);
    let refused = |args: &[&str]| {
        let site = Site::start(&runner, args);
        let calls =
            ["stop", "cancel", "pause", "unpause", "resume", "rescore", "labels", "pin", "unpin"];
        let others = ["/runs", "/plan", "/nothing", "/queue/x/move"].map(str::to_owned);
        for path in calls.map(|call| format!("/runs/x/{call}")).iter().chain(&others) {
            site.post(path, &json!({ "no": "key" })).refuses(403, &["read-only"]);
        }
        for path in ["/runs/x", "/queue/x"] {
            site.ask("DELETE", path, Some(&json!({}))).refuses(403, &["read-only"]);
        }
        site.get("/runs");
        site.post("/login", &json!({ "token": site.token })).expect(200);
        assert_eq!(site.get("/server")["read_only"], true);
    };
    refused(&["--read-only"]);
    assert!(!runner.path("results").exists(), "a read-only server has created the root");
    let site = Site::start(&runner, &["--read-only"]);
    site.get("/runs");
    runner.scenario("[providers.echo]\nplugin = \"bundled:echo\"\n[[tests]]\nid = \"a\"\n");
    runner.exec(&["-q"]).expect(0);
    assert_eq!(site.get("/runs")["runs"][0]["run"], runner.only_run().id());
    drop(site);
    refused(&["--allow-host", "box.example"]);
    let site = Site::start(&runner, &["--allow-host", "box.example", "--allow-writes"]);
    site.post("/runs/anything/stop", &json!({})).refuses(404, &[]);
    fs::create_dir_all(runner.path("results")).unwrap();
    runner.write("results/runner.toml", "[serve]\nread_only = true\n");
    refused(&[]);
}

#[test]
fn token_files_of_others_are_refused() {
    let runner = Runner::new(&[]);
    let path = runner.path("token");
    drop(Site::start(&runner, &[]));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let refused = || {
        let args = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token"];
        snapshot(&runner.run(&args).expect(2));
    };
    for mode in [0o644, 0o620, 0o666, 0o604] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        refused();
    }
    for text in ["", "short", "with spaces in the middle", "ünïcödé-ünïcödé-ünïcödé"] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        refused();
    }
    fs::remove_file(&path).unwrap();
    symlink(runner.path("elsewhere"), &path).unwrap();
    refused();
    assert!(!runner.path("elsewhere").exists());
    fs::remove_file(&path).unwrap();
    runner.pipe("token");
    refused();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    refused();
}

/// Sends a request over a socket file.
fn ask_file(path: &Path, token: Option<&str>) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    let token = token.map(|token| bearer(token) + "\r\n").unwrap_or_default();
    let text = format!(
        "GET /api/v1/runs HTTP/1.1\r\nHost: localhost:9\r\n{token}Connection: close\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Sends a large body over a socket file, after its head.
fn send_file(path: &Path, call: &str, token: Option<&str>) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    let token = token.map(|token| bearer(token) + "\r\n").unwrap_or_default();
    let body = vec![b' '; 1 << 20];
    let head = format!(
        "POST {call} HTTP/1.1\r\nHost: localhost:9\r\n{token}Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The server has time to close the connection.
    stream.write_all(&body).expect("the server closes the connection");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn socket_files_need_the_token_too() {
    let runner = Runner::new(&[]);
    let args = ["serve", "--listen", "unix:socket", "--token-file", "token"];
    let path = runner.path("socket");
    for _ in 0..2 {
        // The second server replaces the socket of the first, which was killed.
        let site = Site::started(&runner, runner.started(&args));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(site.running.printed().contains(&format!("ssh -L 7878:{} HOST", path.display())));
        assert!(ask_file(&path, None).starts_with("HTTP/1.1 401"));
        assert!(ask_file(&path, Some(&site.token)).starts_with("HTTP/1.1 200"));
        // The server has refused them before it has read their bodies.
        for (call, token, status) in [
            ("/api/v1/runs", None, 401),
            ("/page", Some(&site.token), 405),
            ("/api/v1/runs", Some(&site.token), 413),
        ] {
            let answer = send_file(&path, call, token.map(String::as_str));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{call}: {answer}");
        }
        snapshot(&runner.run(&args).expect(2));
        site.running.kill();
    }
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    snapshot(&runner.run(&args).expect(2));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn addresses_that_cannot_be_used_are_explained() {
    let runner = Runner::new(&[]);
    let site = Site::start(&runner, &[]);
    let refused = |address: &str| {
        snapshot(&runner.run(&["serve", "--listen", address]).expect(2));
    };
    let used = format!("127.0.0.1:{}", site.port);
    refused(&used);
    refused("0.0.0.0:0");
    refused("203.0.113.1:7878");
    refused("127.0.0.2:7878");
    refused("7878");
    refused("localhost:7878");
    let args = ["serve", "--listen", "203.0.113.1:7878", "--allow-host", "x"];
    snapshot(&runner.run(&args).expect(2));
}

#[test]
fn too_large_requests_are_refused() {
    let site = Site::start(&Runner::new(&[]), &[]);
    let token = bearer(&site.token);
    let header = |bytes: usize| format!("X-Long: {}", "x".repeat(bytes));
    site.send("GET", "/api/v1/runs", &[&token, &header(30 << 10)], "").expect(200);
    for bytes in [33 << 10, 40 << 10, 50 << 10] {
        site.send("GET", "/api/v1/runs", &[&token, &header(bytes)], "").refuses(431, &["32 KiB"]);
    }
    let query = format!("/api/v1/runs?q={}", "x".repeat(33 << 10));
    site.send("GET", &query, &[&token], "").refuses(431, &["32 KiB"]);
    let large = " ".repeat((256 << 10) + 1);
    let path = "/api/v1/runs/x/stop";
    site.send("POST", path, &[&token, JSON], &large).refuses(413, &["262144 bytes"]);
    site.send("POST", path, &[&token, JSON], &large[2..]).refuses(400, &[]);
    let chunked = format!("40001\r\n{large}\r\n0\r\n\r\n");
    let headers = [&token, JSON, "Transfer-Encoding: chunked"];
    let mut stream = site.connect();
    let mut request = site.request("POST", path, &headers, "");
    request += &chunked;
    stream.write_all(request.as_bytes()).unwrap();
    Answer::read(&mut stream).refuses(413, &[]);
    // Without the token, less is read.
    site.send("POST", "/api/v1/login", &[JSON], &large[..5 << 10]).refuses(413, &["4096 bytes"]);
}

/// Returns whether the server has closed a connection.
fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    match read {
        Ok(read) => read == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// With `RUNNER_TESTS=full`, because the limits are 10 s.
#[test]
fn slow_requests_are_cut_off() {
    if env::var("RUNNER_TESTS").as_deref() != Ok("full") {
        return;
    }
    let site = Site::start(&Runner::new(&[]), &[]);
    let sent = |text: &str| {
        let mut stream = site.connect();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let body = "Content-Length: 9";
    let request =
        site.request("POST", "/api/v1/runs/x/stop", &[&bearer(&site.token), JSON, body], "");
    let (silent, mut slow) = (sent(""), sent("GET / HTTP/1.1\r\nX-Slow: "));
    let (mut torn, began) = (sent(&(request + "{")), Instant::now());
    wait_until("requests without an end of their headers are closed", || {
        // The limit is for all headers together.
        let _ = slow.write_all(b"x");
        is_closed(&silent) && is_closed(&slow)
    });
    Answer::read(&mut torn).refuses(408, &["longer than 10 s"]);
    let took = began.elapsed().as_secs();
    assert!((9..40).contains(&took), "{took} s");
}

#[test]
fn silent_connections_keep_no_holder_out() {
    let site = Site::start(&Runner::new(&[]), &[]);
    // Silent connections are younger and older than that of a holder of the token.
    let silent = |count: usize| (0..count).map(|_| site.connect()).collect::<Vec<_>>();
    let before = silent(100);
    let mut kept = site.connect();
    let request = site.request("GET", "/api/v1/server", &[&bearer(&site.token)], "");
    let request = request.replace("Connection: close\r\n", "");
    let mut ask = |stream: &mut TcpStream| {
        stream.write_all(request.as_bytes()).unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        // The rest of the answer.
        let rest = stream.read(&mut [0; 4096]).unwrap();
        assert!(rest > 0);
    };
    ask(&mut kept);
    let after = silent(300);
    site.get("/server");
    ask(&mut kept);
    let all = || before.iter().chain(&after);
    wait_until("the oldest silent connections are closed", || {
        all().filter(|stream| !is_closed(stream)).count() <= 192
    });
    assert!(before.iter().all(is_closed), "older connections go first");
    // Holders get the rest of the 256 connections.
    let mut holders: Vec<_> = (0..63).map(|_| site.connect()).collect();
    holders.iter_mut().for_each(&mut ask);
    ask(&mut kept);
}

#[test]
fn answers_have_strict_headers() {
    let site = Site::start(&Runner::new(&[]), &[]);
    let token = bearer(&site.token);
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
        connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
        require-trusted-types-for 'script'; trusted-types 'none'";
    for (path, cache) in [
        ("/api/v1/runs", "no-store"),
        ("/api/v1/nothing", "no-store"),
        ("/", "no-cache"),
        ("/runs/x/trials/y", "no-cache"),
        ("/web/main.js", "no-cache"),
        ("/web/nothing.js", "no-store"),
    ] {
        let answer = site.send("GET", path, &[&token], "");
        for (name, value) in [
            ("content-security-policy", policy),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", cache),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {name}");
        }
    }
    for (path, media_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/web/main.js", "text/javascript; charset=utf-8"),
        ("/web/app.css", "text/css; charset=utf-8"),
        ("/api/v1/runs", "application/json"),
    ] {
        let answer = site.send("GET", path, &[&token], "").expect(200);
        assert_eq!(answer.header("content-type"), Some(media_type), "{path}");
    }
    let page = site.send("GET", "/", &[], "").expect(200);
    let known = format!("If-None-Match: {}", page.header("etag").unwrap());
    let again = site.send("GET", "/start", &[&known], "").expect(304);
    assert_eq!(again.body, b"");
    for path in ["/web/../main.js", "/web/%2e%2e/index.html", "/web//main.js", "/web/", "/web/base"]
    {
        site.send("GET", path, &[], "").refuses(404, &["no file"]);
    }
}

/// Returns a started server whose browser is a script.
fn with_browser(runner: &Runner, script: &str) -> Site {
    fs::create_dir_all(runner.path("bin")).unwrap();
    runner.write("bin/xdg-open", script);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(runner.path("bin/xdg-open"), mode).unwrap();
    let args = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token", "--open"];
    let mut command = runner.command(&args);
    // This machine may have another one.
    command.env("PATH", runner.path("bin"));
    Site::started(runner, crate::support::running::Running::start(&mut command))
}

#[test]
fn opened_browsers_show_no_secret() {
    let runner = Runner::new(&[]);
    let script = "#!/bin/sh\nPATH=/usr/bin:/bin\necho \"$@\" > seen\nstat -c %a \"$1\" >> seen\ncat \"$1\" >> seen\necho >> seen\n";
    let site = with_browser(&runner, script);
    let seen = wait_for("the browser opens a file", || {
        let seen = fs::read_to_string(runner.path("seen")).unwrap_or_default();
        (seen.lines().count() == 3).then_some(seen)
    });
    let [arguments, mode, page] = seen.lines().collect::<Vec<_>>()[..] else { panic!("{seen}") };
    let secret = site.link.split_once("login=").unwrap().1;
    assert!(!arguments.contains(secret) && arguments.ends_with(".html"), "{arguments}");
    assert_eq!(mode, "600");
    assert!(page.contains(&site.link), "{page}");
}

#[test]
fn missing_browser_is_a_warning() {
    for (script, says) in [
        ("#!/nothing\n", "cannot start `xdg-open`"),
        ("#!/bin/sh\nexit 3\n", "`xdg-open` opened no browser"),
    ] {
        let runner = Runner::new(&[]);
        let site = with_browser(&runner, script);
        wait_until("there is a warning", || {
            let shown = site.running.shown();
            shown.contains(says) && shown.contains("open the link yourself")
        });
        site.get("/runs");
    }
}

#[test]
fn folders_that_do_not_exist_are_refused() {
    let runner = Runner::new(&[]);
    for flag in ["--scenarios", "--results"] {
        let ran = runner.run(&["serve", "--listen", "127.0.0.1:0", flag, "nope"]).expect(2);
        snapshot(&ran);
        ran.says(&[flag]);
    }
}

#[test]
fn link_command_prints_a_link_for_another_browser() {
    let runner = Runner::new(&[]);
    fs::create_dir(runner.path("results")).unwrap();
    snapshot(&runner.run(&["serve", "--link"]).expect(2));
    let site = Site::start(&runner, &[]);
    let first = Browser::open(&site, &site.link).unwrap();
    let printed = wait_for("the server is asked", || {
        let ran = runner.run(&["serve", "--link"]);
        (ran.code == Some(0)).then_some(ran.stdout)
    });
    let second = Browser::open(&site, printed.trim()).unwrap();
    assert_ne!(first.cookie, second.cookie);
    for browser in [first, second] {
        assert_eq!(browser.get(&site, &[SAME_ORIGIN]), 200);
    }
    // Another root has another server.
    fs::create_dir(runner.path("other")).unwrap();
    runner.run(&["serve", "--link", "--results", "other"]).expect(2);
}

#[test]
fn browsers_at_an_allowed_name_can_log_in() {
    let site = Site::start(&Runner::new(&[]), &["--allow-host", "box.example", "--allow-writes"]);
    assert!(site.link.starts_with("http://box.example:"), "{}", site.link);
    let browser = Browser::open(&site, &site.link).unwrap();
    // Browsers send `Sec-Fetch-Site` only to this machine and over HTTPS.
    assert_eq!(browser.get(&site, &[]), 200);
    assert_eq!(browser.get(&site, &["Sec-Fetch-Site: same-site"]), 403);
    let change = |headers: &[&str]| {
        let headers = [&[browser.host.as_str(), &browser.cookie, JSON], headers].concat();
        site.send("POST", "/api/v1/runs/x/stop", &headers, "{}").status
    };
    assert_eq!(change(&[]), 401);
    assert_eq!(change(&[&browser.host.replace("Host: ", "Origin: http://")]), 404);
}

#[test]
fn logins_at_an_allowed_name_outlive_a_restart() {
    let runner = Runner::new(&[]);
    let flags = ["--allow-host", "box.example", "--allow-host", "other.example"];
    let site = Site::start(&runner, &flags);
    let browser = Browser::open(&site, &site.link).unwrap();
    // Logins at `localhost` end with the server, also those of a server with other names.
    let page = format!("http://127.0.0.1:{}/", site.port);
    let login = site.post("/login", &json!({ "token": site.token, "page": page })).document();
    let local = Browser::open(&site, login["link"].as_str().unwrap()).unwrap();
    assert_eq!(local.get(&site, &[SAME_ORIGIN]), 200);
    let restart = |site: Site| {
        site.running.kill();
        let args =
            ["serve", "--listen", &format!("127.0.0.1:{}", site.port), "--token-file", "token"];
        Site::started(&runner, runner.started(&[&args[..], &flags].concat()))
    };
    let site = restart(site);
    assert_eq!(browser.get(&site, &[]), 200);
    let at = |host: &str, of: &Browser| {
        let host = format!("Host: {host}:{}", site.port);
        let headers = [&host, &of.cookie, SAME_ORIGIN];
        site.send("GET", "/api/v1/runs", &headers, "").status
    };
    assert_eq!(at("BOX.example", &browser), 200);
    assert_eq!(at("other.example", &browser), 401);
    assert_eq!(at("box.example", &local), 401);
    assert_eq!(local.get(&site, &[SAME_ORIGIN]), 401);
    let fresh = site.post("/login", &json!({ "token": site.token, "page": page })).document();
    let name = fresh["link"].as_str().unwrap().split(['/', ':']).nth(3).unwrap().to_owned();
    assert_eq!((at(&name, &browser), at(&name, &local)), (401, 401), "{name}");
    fs::remove_file(runner.path("token")).unwrap();
    let site = restart(site);
    assert_eq!(browser.get(&site, &[]), 401);
}
