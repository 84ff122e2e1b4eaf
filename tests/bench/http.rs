//! A server over a results root, and clients that keep their connections.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use super::lists::{Lists, peak_of};

const TOKEN: &str = "0123456789abcdef-of-a-benchmark";
/// Longer than any answer takes.
const LONG: Duration = Duration::from_secs(120);

/// A server; ends when it is dropped.
pub(crate) struct Server {
    child: Child,
    at: String,
}

/// A connection over which one question follows another.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    at: String,
}

/// A stream of events.
pub(crate) struct Events(BufReader<TcpStream>);

impl Server {
    pub(crate) fn start(lists: &Lists, results: &str) -> Self {
        fs_err::write(lists.path("token"), TOKEN).expect("a token can be written");
        let args = ["serve", "--listen", "127.0.0.1:0", "--token-file", "token"];
        let mut command = lists.program(&[&args[..], &["--results", results]].concat());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut said = BufReader::new(child.stderr.take().expect("it is a pipe"));
        let mut line = String::new();
        said.read_line(&mut line).expect("it says where it is");
        let at = line.trim().trim_start_matches("open http://");
        let (at, _) = at.split_once("/?").expect("it says where it is");
        let at = at.to_owned();
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, at }
    }

    pub(crate) fn client(&self) -> Client {
        Client {
            stream: BufReader::new(connect(&self.at)),
            at: self.at.clone(),
        }
    }

    pub(crate) fn events(&self, path: &str) -> Events {
        let mut stream = connect(&self.at);
        ask(&mut stream, &self.at, path);
        Events(BufReader::new(stream))
    }

    /// How much memory it had at most until now, in bytes.
    pub(crate) fn peak(&self) -> Option<u64> {
        peak_of(self.child.id())
    }

    /// How much it has now.
    pub(crate) fn resident(&self) -> Option<u64> {
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kibibytes * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client {
    /// Asks, and reads the whole answer, which is a good one.
    pub(crate) fn get(&mut self, path: &str) -> Vec<u8> {
        ask(self.stream.get_mut(), &self.at, path);
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("it answers");
        assert!(line.starts_with("HTTP/1.1 200 "), "{path}: {line}");
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line).expect("it answers");
            if line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').expect("a header has a name");
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length is a number");
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("it answers");
        body
    }
}

impl Events {
    /// The name and the data of the next event; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<(String, String)> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if let Some(text) = line.strip_prefix("event: ") {
                name = text.to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = text.to_owned();
            } else if line.is_empty() && !name.is_empty() {
                return Some((name, data));
            }
        }
    }
}

fn connect(at: &str) -> TcpStream {
    let stream = TcpStream::connect(at).expect("the server listens");
    stream.set_nodelay(true).expect("it is a socket");
    stream.set_read_timeout(Some(LONG)).expect("it is a socket");
    stream
}

fn ask(stream: &mut TcpStream, at: &str, path: &str) {
    let request = format!(
        "GET /api/v1{path} HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it listens");
}
