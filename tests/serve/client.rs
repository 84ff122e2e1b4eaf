//! [`Served`]: the program's own server, and [`Client`], which asks it as raw as a test wants.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::contract::assert_described;
use crate::support::runner::Runner;

/// The token of these servers.
pub(super) const TOKEN: &str = "0123456789abcdef-of-a-test";
/// Longer than any answer takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A server of a runner's folder; ends when it is dropped.
pub(super) struct Served {
    child: Child,
    /// Its address, with the port.
    pub(super) at: String,
    /// What its link logs a browser in with.
    pub(super) login: String,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Served {
    /// Starts a server on a free port.
    pub(super) fn start(runner: &Runner, args: &[&str]) -> Self {
        Self::at(runner, "127.0.0.1:0", args)
    }

    /// Starts a server at an address.
    pub(super) fn at(runner: &Runner, address: &str, args: &[&str]) -> Self {
        runner.write("token", TOKEN);
        let fixed = ["serve", "--listen", address, "--token-file", "token"];
        let mut command = runner.command(&[&fixed, args].concat());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        if !line.starts_with("open http://") {
            let _ = stderr.read_to_string(&mut line);
            panic!("{line}");
        }
        let rest = &line["open http://".len()..];
        let (at, login) = rest.trim().split_once("/?login=").unwrap();
        let (at, login) = (at.to_owned(), login.to_owned());
        // A pipe that nobody reads would fill.
        thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self { child, at, login }
    }

    /// The process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without any notice.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends the text of a request as it is, and reads the answer until the connection ends.
    #[track_caller]
    pub(super) fn raw(&self, request: &str) -> Answered {
        let mut stream = self.connect();
        // A server that has refused already does not read the rest.
        let _ = stream.write_all(request.as_bytes());
        Answered::read(stream)
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.at).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Asks with these headers, and none beside `Host` and those that a body needs.
    #[track_caller]
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answered {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            request += &format!("Host: {}\r\n", self.at);
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || method != "GET" {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        self.raw(&format!("{request}\r\n{body}"))
    }

    /// Asks as a program with the token does.
    #[track_caller]
    pub(super) fn get(&self, path: &str) -> Answered {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("Authorization", &*bearer)];
        let answered = self.ask("GET", &format!("/api/v1{path}"), &headers, "");
        assert_described("GET", path, &answered);
        answered
    }

    /// The same for a request to change something.
    #[track_caller]
    pub(super) fn send(&self, method: &str, path: &str, body: &str) -> Answered {
        self.send_with(method, path, &[], body)
    }

    /// The same with more headers.
    #[track_caller]
    pub(super) fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answered {
        let bearer = format!("Bearer {TOKEN}");
        let fixed = [
            ("Authorization", &*bearer),
            ("Content-Type", "application/json"),
        ];
        let headers = [&fixed, headers].concat();
        let answered = self.ask(method, &format!("/api/v1{path}"), &headers, body);
        assert_described(method, path, &answered);
        answered
    }

    /// Asks to change something, and expects this status.
    #[track_caller]
    pub(super) fn post(&self, path: &str, body: &str, status: u16) -> Value {
        self.send("POST", path, body).expect(status).json()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answered {
    #[track_caller]
    fn read(mut stream: impl Read) -> Self {
        let mut bytes = Vec::new();
        // The end of a connection that was refused may be a reset.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|end| end == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let body = bytes.split_off(end + 4);
        let is_chunked = headers
            .iter()
            .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        Self {
            status,
            body: match is_chunked {
                true => unchunked(&body),
                false => body,
            },
            headers,
        }
    }

    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// A body without the lengths of its chunks; what is missing of the last one is missing.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|end| end == b"\r\n") {
        let length = usize::from_str_radix(&String::from_utf8_lossy(&body[..end]), 16).unwrap();
        let rest = &body[end + 2..];
        if length == 0 || rest.len() < length {
            break;
        }
        whole.extend_from_slice(&rest[..length]);
        body = rest.get(length + 2..).unwrap_or_default();
    }
    whole
}
