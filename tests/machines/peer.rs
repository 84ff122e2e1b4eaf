//! Somebody at the engine who is no runner, and says what a test wants to be said: NATS in its text form.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// For how long something is waited for.
const LONG: Duration = Duration::from_secs(60);
/// How often something is said again until there is an answer.
const AGAIN: Duration = Duration::from_millis(500);

/// A connection to an engine.
pub(crate) struct Peer {
    stream: BufReader<TcpStream>,
    subscriptions: u32,
}

/// What was heard.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) subject: String,
    pub(crate) reply: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Heard {
    pub(crate) fn document(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Peer {
    pub(crate) fn at(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(AGAIN)).unwrap();
        let mut peer = Self {
            stream: BufReader::new(stream),
            subscriptions: 0,
        };
        peer.send("CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n".as_bytes());
        peer
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    pub(crate) fn hear(&mut self, subject: &str) {
        self.subscriptions += 1;
        let line = format!("SUB {subject} {}\r\n", self.subscriptions);
        self.send(line.as_bytes());
    }

    pub(crate) fn say(&mut self, subject: &str, reply: &str, body: &Value) {
        let body = body.to_string();
        let line = format!("PUB {subject} {reply} {}\r\n{body}\r\n", body.len());
        self.send(line.as_bytes());
    }

    /// Whether somebody hears what is said about a subject: where nobody does, the engine says so before it answers what it
    /// is asked next. What else comes meanwhile is passed over.
    pub(crate) fn is_heard(&mut self, subject: &str) -> bool {
        self.hear("peer.unheard");
        self.say(subject, "peer.unheard", &json!(null));
        self.send(b"PING\r\n");
        let mut is_heard = true;
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < LONG, "the engine does not answer");
            let mut line = String::new();
            if self.stream.read_line(&mut line).is_err() {
                continue;
            }
            is_heard &= !line.starts_with("HMSG peer.unheard ");
            if line == "PONG\r\n" {
                return is_heard;
            }
        }
    }

    /// The next message, if one comes soon.
    pub(crate) fn next(&mut self) -> Option<Heard> {
        loop {
            let mut line = String::new();
            // A line comes whole, or not at all: the server writes each at once.
            match self.stream.read_line(&mut line) {
                Ok(0) => panic!("the engine has closed the connection"),
                Ok(_) => {}
                Err(_) => return None,
            }
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["PING"] => self.send(b"PONG\r\n"),
                ["MSG", subject, _, ref rest @ ..] => {
                    let length: usize = rest.last().unwrap().parse().unwrap();
                    let mut body = vec![0; length + 2];
                    self.stream.read_exact(&mut body).unwrap();
                    body.truncate(length);
                    return Some(Heard {
                        subject: subject.to_owned(),
                        reply: (rest.len() == 2).then(|| rest[0].to_owned()),
                        body,
                    });
                }
                ["-ERR", ..] => panic!("the engine says {line}"),
                _ => {}
            }
        }
    }

    /// Says something again and again until what is heard is wanted.
    #[track_caller]
    pub(crate) fn say_until(
        &mut self,
        subject: &str,
        body: &Value,
        mut is_wanted: impl FnMut(&Heard) -> bool,
    ) -> Heard {
        let began = Instant::now();
        while began.elapsed() < LONG {
            self.say(subject, "", body);
            while let Some(heard) = self.next() {
                if is_wanted(&heard) {
                    return heard;
                }
            }
        }
        panic!("nobody answers {body}");
    }

    /// Asks JetStream for something.
    #[track_caller]
    pub(crate) fn ask_engine(&mut self, what: &str, body: &Value) -> Value {
        let inbox = format!("_INBOX.peer.{}", self.subscriptions);
        self.hear(&inbox);
        self.say(&format!("$JS.API.{what}"), &inbox, body);
        let began = Instant::now();
        while began.elapsed() < LONG {
            if let Some(heard) = self.next()
                && heard.subject == inbox
            {
                return heard.document();
            }
        }
        panic!("the engine does not answer {what}");
    }

    /// All streams of the engine with how many messages each has, and how many consumers.
    pub(crate) fn streams(&mut self) -> Vec<(String, u64, u64)> {
        let listed = self.ask_engine("STREAM.LIST", &json!({}));
        let streams = listed["streams"].as_array().cloned().unwrap_or_default();
        let stream = |stream: &Value| {
            let number = |key: &str| stream["state"][key].as_u64().unwrap();
            let name = stream["config"]["name"].as_str().unwrap().to_owned();
            (name, number("messages"), number("consumer_count"))
        };
        streams.iter().map(stream).collect()
    }
}
