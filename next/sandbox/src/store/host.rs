//! [`Host`]: what the contract's imports do for one call. Nothing is granted yet, so most of them deny.

use std::time::SystemTime;

use runner_model::{
    HostFault, Limits, Text, Time,
    log::{Level, LogRecord},
    row::Denied,
    visible::visible_line,
};

use crate::{
    contract::runner::provider::{artifacts, control, files, http, log, secrets, types},
    interrupt::Guard,
    message::cut,
};

/// How many different denials of one call are kept.
const MAX_DENIED: usize = 20;
/// Bytes that are shown of a name that a guest made up.
const SHOWN_NAME: usize = 128;
/// What a field of a log record takes in memory beside its text, so that a million empty ones are not free.
const FIELD_BYTES: usize = size_of::<(Text<'static>, Text<'static>)>();

/// What the imports of one call work on, and what they leave.
pub(crate) struct Host {
    pub(crate) guard: Guard,
    pub(crate) log: Log,
    pub(crate) denied: Vec<Denied<'static>>,
    pub(crate) calls: u64,
    pub(crate) bytes_in: u64,
    /// What the machine lacked.
    pub(crate) fault: Option<HostFault>,
}

/// Log records within their limits.
pub(crate) struct Log {
    pub(crate) records: Vec<LogRecord<'static>>,
    pub(crate) dropped: u64,
    pub(crate) bytes: u64,
    max_records: u64,
    max_bytes: u64,
}

impl Host {
    /// For a call that is handed `bytes_in` bytes.
    pub(crate) fn new(limits: &Limits, guard: Guard, bytes_in: u64) -> Self {
        Self {
            guard,
            log: Log {
                records: Vec::new(),
                dropped: 0,
                bytes: 0,
                max_records: limits.log_records,
                max_bytes: limits.log,
            },
            denied: Vec::new(),
            calls: 0,
            bytes_in,
            fault: None,
        }
    }

    /// Keeps what the guest was refused, once, while there is room for more.
    pub(crate) fn deny(&mut self, what: String, grant: Option<String>) {
        let denied = Denied {
            what: what.into(),
            grant: grant.map(Text::from),
        };
        if self.denied.len() < MAX_DENIED && !self.denied.contains(&denied) {
            self.denied.push(denied);
        }
    }
}

impl Log {
    /// Keeps a record if it fits, else counts it.
    pub(crate) fn push(&mut self, record: LogRecord<'static>) {
        let fields = record.fields.iter();
        let fields = fields.map(|(name, value)| name.len() + value.len() + FIELD_BYTES);
        let bytes = (record.message.len() + fields.sum::<usize>()) as u64;
        let is_full = self.records.len() as u64 >= self.max_records;
        if is_full || self.bytes.saturating_add(bytes) > self.max_bytes {
            self.dropped += 1;
            return;
        }
        self.bytes += bytes;
        self.records.push(record);
    }
}

impl types::Host for Host {}

impl log::Host for Host {
    fn log(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) {
        self.calls += 1;
        let fields = fields.into_iter();
        self.log.push(LogRecord {
            at: Time::from(SystemTime::now()),
            level: match level {
                log::Level::Trace => Level::Trace,
                log::Level::Debug => Level::Debug,
                log::Level::Info => Level::Info,
                log::Level::Warn => Level::Warn,
                log::Level::Error => Level::Error,
            },
            message: message.into(),
            fields: fields
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        });
    }
}

impl control::Host for Host {
    fn progress(&mut self, _fraction: Option<f64>, _message: String) {
        self.calls += 1;
    }

    fn stop_requested(&mut self) -> bool {
        self.calls += 1;
        self.guard.interrupt.is_requested()
    }

    fn remaining(&mut self) -> u32 {
        self.calls += 1;
        u32::try_from(self.guard.remaining().as_millis()).unwrap_or(u32::MAX)
    }
}

impl files::Host for Host {
    fn names(&mut self) -> Vec<files::File> {
        self.calls += 1;
        Vec::new()
    }

    fn read(&mut self, _: String, _: u32, _: u32) -> Result<Vec<u8>, files::FileError> {
        self.calls += 1;
        Err(files::FileError::NotFound)
    }
}

impl secrets::Host for Host {
    fn get(&mut self, name: String) -> Result<String, secrets::SecretError> {
        self.calls += 1;
        let grant = is_secret_name(&name).then(|| format!("secrets = [\"{name}\"]"));
        self.deny(format!("the secret `{}`", shown(&name)), grant);
        Err(secrets::SecretError::Denied)
    }
}

impl artifacts::Host for Host {
    fn append(&mut self, _: String, _: String, _: Vec<u8>) -> Result<(), artifacts::ArtifactError> {
        self.calls += 1;
        Err(artifacts::ArtifactError::Unavailable)
    }
}

impl http::Host for Host {
    fn send(&mut self, request: http::Request) -> Result<http::Response, http::HttpError> {
        self.calls += 1;
        let origin = origin(&request.url);
        let to = origin.as_ref().unwrap_or(&request.url);
        let what = format!("a request to `{}`", shown(to));
        let grant = origin.map(|origin| format!("net = [\"{origin}\"]"));
        self.deny(what.clone(), grant);
        Err(http::HttpError::Denied(format!("{what} is not granted")))
    }
}

/// The beginning of a name that a guest made up, on one line.
fn shown(name: &str) -> String {
    cut(SHOWN_NAME, visible_line(&cut(SHOWN_NAME, name)))
}

/// Tells whether a secret can have this name: that of a variable of a shell.
fn is_secret_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.len() <= SHOWN_NAME
        && name.bytes().next().is_some_and(is_letter)
        && name
            .bytes()
            .all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

/// Scheme, host and port of a URL, as a grant names them; `None` if it is not plain enough to be granted.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let is_granted = (scheme == "http" || scheme == "https")
        && !host.is_empty()
        && host.len() <= 260
        && host.bytes().all(is_plain);
    is_granted.then(|| format!("{scheme}://{}", host.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use runner_model::{Limits, Micros};

    use super::{Host, http::Host as _, origin, secrets::Host as _};
    use crate::{
        contract::runner::provider::http::Request,
        interrupt::{Guard, Interrupt},
    };

    fn host() -> Host {
        let guard = Guard::new(Interrupt::default(), Micros(1_000_000));
        Host::new(&Limits::default(), guard, 0)
    }

    #[test]
    fn a_denial_names_the_line_that_would_grant_it() {
        let mut host = host();
        for name in [
            "KEY",
            "KEY",
            "a b",
            &"A".repeat(129),
            &"\u{1b}".repeat(1 << 20),
        ] {
            host.get(name.to_owned()).unwrap_err();
        }
        for url in ["HTTPS://Example.com:8443/a?b", "file:///etc/passwd"] {
            let request = Request {
                method: "GET".to_owned(),
                url: url.to_owned(),
                headers: Vec::new(),
                body: None,
                timeout: None,
                extra: None,
            };
            host.send(request).unwrap_err();
        }
        let denied: Vec<_> = host
            .denied
            .iter()
            .map(|denied| (&*denied.what, denied.grant.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(
            denied[..2],
            [
                ("the secret `KEY`", "secrets = [\"KEY\"]"),
                ("the secret `a b`", "-")
            ]
        );
        assert!(denied[2].0.ends_with("A…`") && denied[3].0.starts_with("the secret `\\u{1b}"));
        assert!(denied[3].0.len() < 150);
        assert_eq!(
            denied[4..],
            [
                (
                    "a request to `https://example.com:8443`",
                    "net = [\"https://example.com:8443\"]"
                ),
                ("a request to `file:///etc/passwd`", "-"),
            ]
        );
        for number in 0..30 {
            host.get(format!("K{number}")).unwrap_err();
        }
        assert_eq!(host.denied.len(), 20);
    }

    #[test]
    fn only_a_plain_origin_can_be_granted() {
        for url in [
            "https://",
            "https:///a",
            "https://user@host/",
            "ftp://host/",
            "https://ü/",
            "http://a\"b",
        ] {
            assert_eq!(origin(url), None, "{url}");
        }
        assert_eq!(origin("http://[::1]:80").unwrap(), "http://[::1]:80");
    }
}
