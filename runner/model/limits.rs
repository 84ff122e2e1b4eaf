//! [`Limits`]: what one attempt may use, and the one table of them.
//!
//! The scenario's keys, `--limit`, the manifest, its schema and fingerprints are all made of [`Limits::TABLE`]: a new
//! limit is an entry here and whatever enforces it.

use std::time::Duration;

/// A limit that is a number: everything about it but who enforces it.
pub struct Limit {
    /// Its key in scenarios, manifests and on the command line.
    pub key: &'static str,
    /// What is counted.
    pub unit: LimitUnit,
    /// The default as scenarios write it, as JSON.
    pub default: &'static str,
    /// Whether it can make a result another one. If so, fingerprints cover it.
    pub decides_results: bool,
    /// What it bounds, for the documentation.
    meaning: &'static str,
    get: fn(&Limits) -> u64,
    get_mut: fn(&mut Limits) -> &mut u64,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitUnit {
    /// Bytes; a scenario may write `64MiB`.
    Bytes,
    /// Things.
    Count {
        /// The most that a scenario may set.
        most: i64,
    },
}

impl Limit {
    /// What it bounds, for the documentation.
    pub const fn meaning(&self) -> &'static str {
        // Comments begin with a space behind their slashes.
        match self.meaning.as_bytes() {
            [b' ', text @ ..] => match std::str::from_utf8(text) {
                Ok(text) => text,
                Err(_) => self.meaning,
            },
            _ => self.meaning,
        }
    }

    /// Its value.
    pub fn get(&self, limits: &Limits) -> u64 {
        (self.get)(limits)
    }

    /// Where its value is.
    pub fn get_mut<'a>(&self, limits: &'a mut Limits) -> &'a mut u64 {
        (self.get_mut)(limits)
    }
}

impl Limits {
    /// Finds a limit by its key; `time` is none of the table.
    pub fn find(key: &str) -> Option<&'static Limit> {
        Self::TABLE.iter().find(|limit| limit.key == key)
    }
}

/// Makes [`Limits`], its defaults and its table of `key: unit(default), decides results;`, each below its meaning.
macro_rules! limits {
    ($($(#[doc = $meaning:literal])+ $key:ident: $unit:ident($($default:tt)+), $decides:literal;)+) => {
        /// What one attempt may use. Every limit is always present.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Limits {
            /// Caps the attempt's `timeout`, where the scenario or the command line sets it.
            pub time: Option<Duration>,
            $($(#[doc = $meaning])+ pub $key: u64,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { time: None, $($key: limits!(@value $($default)+),)+ }
            }
        }

        impl Limits {
            /// Every limit but `time`, in the order of the documentation.
            pub const TABLE: &'static [Limit] = &[$(Limit {
                key: stringify!($key),
                unit: limits!(@unit $unit $($default)+),
                default: limits!(@text $($default)+),
                decides_results: $decides,
                meaning: concat!($($meaning),+),
                get: |limits| limits.$key,
                get_mut: |limits| &mut limits.$key,
            }),+];
        }
    };
    (@value $number:literal KiB) => { $number * 1024 };
    (@value $number:literal MiB) => { $number * 1024 * 1024 };
    (@value $number:literal of $most:expr) => { $number };
    (@value $number:literal) => { $number };
    (@text $number:literal of $most:expr) => { stringify!($number) };
    (@text $number:literal $suffix:ident) => { concat!("\"", $number, stringify!($suffix), "\"") };
    (@text $number:literal) => { stringify!($number) };
    (@unit bytes $($default:tt)+) => { LimitUnit::Bytes };
    (@unit count $number:literal of $most:expr) => { LimitUnit::Count { most: $most } };
}

limits! {
    /// Bytes of the input, of the configuration, and of standard input.
    input: bytes(4 MiB), true;
    /// Bytes of all memories together.
    memory: bytes(256 MiB), true;
    /// Elements of all tables together.
    table_elements: count(1000000 of u32::MAX as i64), true;
    /// Bytes of the plugin's file.
    file: bytes(64 MiB), false;
    /// Bytes of a reply, or of a plain command's standard output.
    reply: bytes(4 MiB), true;
    /// Bytes of log messages; what is over is dropped and counted.
    log: bytes(1 MiB), true;
    /// Log records; what is over is dropped and counted.
    log_records: count(10000 of 1 << 48), true;
    /// Bytes kept of standard output and standard error, from the start and from the end each.
    stdio: bytes(64 KiB), true;
    /// Bytes of all artifacts together.
    artifacts: bytes(64 MiB), true;
    /// How many artifacts.
    artifact_files: count(100 of 1_000_000), true;
    /// HTTP requests of one attempt.
    http_requests: count(100 of 1_000_000), true;
    /// Bytes of one HTTP response's body.
    http_response: bytes(10 MiB), true;
    /// Bytes that may be written to files in all; a file that grows without them and each new file, folder or link
    /// (4 KiB) count too. More than 0 gives an empty private `/scratch`, and `/artifacts` to commands.
    scratch: bytes(0), true;
}
