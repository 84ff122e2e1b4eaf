//! [`Site`]: a running `runner serve`, and a plain client for it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    contract,
    runner::Runner,
    running::Running,
    wait::{LONG, wait_for},
};

/// A server on a free port of 127.0.0.1.
pub(crate) struct Site {
    pub(crate) running: Running,
    pub(crate) port: u16,
    /// The token of `--token-file`.
    pub(crate) token: String,
    /// The link that the server has printed.
    pub(crate) link: String,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Headers in order, with names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Site {
    /// Starts `runner serve` with the results in `results`, and waits until it answers.
    #[track_caller]
    pub(crate) fn start(runner: &Runner, args: &[&str]) -> Self {
        let all = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token"];
        Self::started(runner, runner.started(&[&all, args].concat()))
    }

    /// Waits until a started server with the token file `token` answers.
    #[track_caller]
    pub(crate) fn started(runner: &Runner, mut running: Running) -> Self {
        let link = wait_for("the server prints a link", || {
            assert!(running.is_alive(), "it ended:\n{}", running.shown());
            let printed = running.printed();
            let line = printed.split_inclusive('\n').find(|line| line.starts_with("link:"))?;
            Some(line.strip_prefix("link:")?.strip_suffix('\n')?.trim().to_owned())
        });
        let port = link.split('/').nth(2).and_then(|host| host.rsplit_once(':')?.1.parse().ok());
        let token = fs::read_to_string(runner.path("token")).unwrap_or_default();
        Self { running, port: port.unwrap(), token: token.trim().to_owned(), link }
    }

    /// Returns the document of a call below `/api/v1` that succeeds.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        self.ask("GET", path, None).expect(200).document()
    }

    /// Sends a request to a call below `/api/v1`, with the token. Body and answer must be as the API's
    /// document has them.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut headers = vec![format!("Authorization: Bearer {}", self.token)];
        if body.is_some() {
            headers.push("Content-Type: application/json".to_owned());
        }
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        let text = body.map(Value::to_string).unwrap_or_default();
        let answer = self.send(method, &format!("/api/v1{path}"), &headers, &text);
        contract::check(method, path, body, &answer);
        answer
    }

    /// Sends a `POST` with a body of JSON to a call below `/api/v1`, with the token.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, Some(body))
    }

    /// Sends a request with these headers and no token. Without a header `Host`, it has the server's address.
    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let mut stream = self.connect();
        // The writing side stays open: without it, the server ends the call.
        stream.write_all(self.request(method, path, headers, body).as_bytes()).unwrap();
        Answer::read(&mut stream)
    }

    /// Returns the text of a request on a connection of its own.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[&str], body: &str) -> String {
        let has = |name: &str| headers.iter().any(|header| header.starts_with(name));
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !has("Host:") {
            text += &format!("Host: 127.0.0.1:{}\r\n", self.port);
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        headers.iter().for_each(|header| text += &format!("{header}\r\n"));
        text + "\r\n" + body
    }

    /// Opens a connection.
    #[track_caller]
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }
}

impl Answer {
    /// Reads an answer to the end of its connection.
    #[track_caller]
    pub(crate) fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let (started, mut piece) = (Instant::now(), [0; 16 * 1024]);
        // The rest of a connection that the server has reset is lost.
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            bytes.extend_from_slice(&piece[..count]);
            assert!(started.elapsed() < LONG, "{} bytes, and no end", bytes.len());
        }
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let headers: Vec<_> = lines.map(header).collect();
        let body = bytes.split_off(end + 4);
        let is_chunked = headers.contains(&("transfer-encoding".into(), "chunked".into()));
        Self { status, headers, body: if is_chunked { joined(&body) } else { body } }
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }

    /// Returns the value of a header. `name` is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Fails unless this is a problem document with its own status, and its text contains all of these texts. Returns itself.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, texts: &[&str]) -> &Self {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.document();
        assert_eq!(problem["status"], status, "{problem}");
        for text in texts {
            assert!(self.text().contains(text), "`{text}` is not in {problem}");
        }
        self
    }
}

/// Joins the chunks of a body. The last one may be torn.
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = chunks.windows(2).position(|part| part == b"\r\n") {
        let length = std::str::from_utf8(&chunks[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        let rest = &chunks[end + 2..];
        body.extend(&rest[..length.min(rest.len())]);
        chunks = rest.get(length + 2..).unwrap_or_default();
    }
    body
}
