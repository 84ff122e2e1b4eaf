//! [`Limits`]: bounds of one attempt. Keys of scenarios, the manifest and fingerprints are all derived from
//! [`Limits::TABLE`], so a new limit needs an entry here and the code that enforces it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Micros;
use crate::units::{grouped, parse_duration, parse_size};

/// A numeric limit.
pub struct Limit {
    /// The key in scenarios and manifests.
    pub key: &'static str,
    pub unit: LimitUnit,
    /// The default in the form of scenarios, as JSON.
    pub default: &'static str,
    /// Text for the documentation.
    pub about: &'static str,
    /// Whether the limit can change a result. If so, fingerprints cover it.
    pub decides_results: bool,
    pub get: fn(&Limits) -> u64,
    pub get_mut: fn(&mut Limits) -> &mut u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitUnit {
    /// Bytes, which scenarios can write as `64MiB`.
    Bytes,
    /// Bytes from [`MIN_STACK`] to [`MAX_STACK`].
    Stack,
    /// A number with this maximum.
    Count(u64),
}

/// The metric that prices add to an attempt, in dollars. Also the key of its limit.
pub const COST: &str = "cost_usd";

/// An amount above 0, never NaN.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Dollars(pub f64);

impl Eq for Dollars {}

/// The most tokens of `limits.total_tokens`. Numbers of metrics are exact up to it.
pub const MAX_TOKENS: u64 = 1 << 53;
/// The smallest and the default `limits.stack`, in bytes.
pub const MIN_STACK: u64 = 512 << 10;
/// The largest `limits.stack`, in bytes.
pub const MAX_STACK: u64 = 16 << 20;

/// Parses a `limits.stack`.
///
/// # Errors
///
/// The fault of the size, which continues a sentence.
pub fn parse_stack(text: &str) -> Result<u64, &'static str> {
    match parse_size(text)? {
        size @ MIN_STACK..=MAX_STACK => Ok(size),
        _ => Err("must be from 512KiB to 16MiB"),
    }
}

/// Default of limits in bytes, for stored limits without the key.
fn default_64_mib() -> u64 {
    64 << 20
}

/// Default of `transcript` in bytes, for stored limits without the key.
fn default_16_mib() -> u64 {
    16 << 20
}

/// Default of `tool_calls`, for stored limits without the key.
fn default_tool_calls() -> u64 {
    1000
}

/// The stack of attempts whose stored limits lack this key.
fn default_stack() -> u64 {
    MIN_STACK
}

/// Declares [`Limits`], its defaults and its table.
macro_rules! limits {
    ($(
        $(#[$meta:meta])*
        $key:ident: $unit:expr, $default:literal = $value:expr, $decides:literal, $about:literal;
    )+) => {
        /// Bounds of one attempt.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub struct Limits {
            /// Caps every attempt's timeout.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub time: Option<Micros>,
            /// Tokens that the provider may report during an attempt.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub total_tokens: Option<u64>,
            /// Cost of the metrics that the provider reports during an attempt.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub cost_usd: Option<Dollars>,
            $(#[doc = $about] $(#[$meta])* pub $key: u64,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { time: None, total_tokens: None, cost_usd: None, $($key: $value,)+ }
            }
        }

        impl Limits {
            /// All limits that have a default, in the order of the documentation.
            pub const TABLE: &'static [Limit] = &[$(Limit {
                key: stringify!($key),
                unit: $unit,
                default: $default,
                about: $about,
                decides_results: $decides,
                get: |limits| limits.$key,
                get_mut: |limits| &mut limits.$key,
            },)+];
        }
    };
}

use LimitUnit::{Bytes, Count, Stack};

limits! {
    artifact_files: Count(1_000_000), "100" = 100, true, "Number of artifacts.";
    artifacts: Bytes, "\"64MiB\"" = 64 << 20, true, "Bytes of all artifacts together.";
    file: Bytes, "\"64MiB\"" = 64 << 20, false, "Bytes of the plugin's file.";
    http_requests: Count(1_000_000), "100" = 100, true, "HTTP requests of one attempt.";
    http_response: Bytes, "\"10MiB\"" = 10 << 20, true, "Bytes of one HTTP response's body.";
    input: Bytes, "\"4MiB\"" = 4 << 20, true, "Bytes of the input, of the configuration, and of standard input.";
    #[serde(default = "default_64_mib")]
    journal: Bytes, "\"64MiB\"" = 64 << 20, false, "Bytes of the requests and responses of one attempt of a `deterministic` run.";
    log: Bytes, "\"1MiB\"" = 1 << 20, true, "Bytes of log messages; the rest is dropped and counted.";
    log_records: Count(1 << 48), "10000" = 10_000, true, "Log records; the rest is dropped and counted.";
    memory: Bytes, "\"256MiB\"" = 256 << 20, true, "Bytes of all memories together.";
    reply: Bytes, "\"4MiB\"" = 4 << 20, true, "Bytes of a reply, or of a plain command's standard output.";
    scratch: Bytes, "0" = 0, true,
        "Bytes that an attempt may write to files. Growth of a file and each new file, folder or link (4 KiB) count too. More than 0 gives an empty private `/scratch` and `/tmp`, and `/artifacts` to commands.";
    #[serde(default = "default_stack")]
    stack: Stack, "\"512KiB\"" = MIN_STACK, true, "Bytes of the call stack, from 512 KiB to 16 MiB. Rounded up to a power of two.";
    stdio: Bytes, "\"64KiB\"" = 64 << 10, true,
        "Bytes kept from the start and from the end of standard output and of standard error.";
    table_elements: Count(u32::MAX as u64), "1000000" = 1_000_000, true, "Elements of all tables together.";
    #[serde(default = "default_tool_calls")]
    tool_calls: Count(1_000_000), "1000" = 1000, true, "Calls of tools.";
    #[serde(default = "default_16_mib")]
    transcript: Bytes, "\"16MiB\"" = 16 << 20, true, "Bytes of the steps of a transcript; the rest is dropped and counted.";
    #[serde(default = "default_64_mib")]
    workspace: Bytes, "\"64MiB\"" = 64 << 20, true, "Bytes of the files that an attempt has added or changed in its `workspace`.";
}

impl Limits {
    /// Returns the bytes of stack beyond the default, which no peak includes.
    pub fn more_stack(&self) -> u64 {
        self.stack.clamp(MIN_STACK, MAX_STACK).next_power_of_two() - MIN_STACK
    }

    /// Returns the greatest number of bytes that an attempt may use: its memories, and the stack beyond the default.
    pub fn all_memory(&self) -> u64 {
        self.memory.saturating_add(self.more_stack())
    }

    /// Sets a limit by an argument such as `memory=64MiB`, `time=10s` or `http_requests=5`.
    ///
    /// # Errors
    ///
    /// The fault of the argument.
    pub fn set(&mut self, text: &str) -> Result<(), String> {
        let (key, value) = text
            .split_once('=')
            .ok_or("expected a limit with its value, such as `memory=64MiB`")?;
        let invalid = |reason| format!("`{value}` {reason}");
        if key == "time" {
            let time = parse_duration(value).map_err(invalid)?;
            if time.is_zero() {
                return Err(invalid("is not more than 0"));
            }
            self.time = Some(time.into());
            return Ok(());
        }
        if key == COST {
            let dollars =
                value.parse().ok().filter(|dollars: &f64| *dollars > 0.0 && dollars.is_finite());
            let dollars = dollars.ok_or_else(|| invalid("is not a number above 0"))?;
            self.cost_usd = Some(Dollars(dollars));
            return Ok(());
        }
        if key == "total_tokens" {
            let tokens = parse_count(value, MAX_TOKENS)?;
            self.total_tokens = Some(tokens).filter(|tokens| *tokens > 0);
            return self.total_tokens.map(drop).ok_or_else(|| invalid("is not more than 0"));
        }
        let limit = Self::TABLE.iter().find(|limit| limit.key == key).ok_or_else(|| {
            let others = ["time", "total_tokens", COST];
            let known = || Self::TABLE.iter().map(|limit| limit.key).chain(others);
            // Starts of a key are the usual short forms, and a missing letter is a usual slip.
            let is_near = |known: &&str| {
                let mut letters = known.chars();
                !key.is_empty() && key.chars().all(|letter| letters.any(|other| other == letter))
            };
            if let Some(near) = known().filter(is_near).min_by_key(|known| !known.starts_with(key))
            {
                return format!("there is no limit `{key}`; did you mean `{near}`?");
            }
            let known: Vec<_> = known().map(|known| format!("`{known}`")).collect();
            format!("there is no limit `{key}`; choose from: {}", known.join(", "))
        })?;
        *(limit.get_mut)(self) = match limit.unit {
            Bytes => parse_size(value).map_err(invalid)?,
            Stack => parse_stack(value).map_err(invalid)?,
            Count(max) => parse_count(value, max)?,
        };
        Ok(())
    }
}

fn parse_count(value: &str, max: u64) -> Result<u64, String> {
    let number = value.replace('_', "").parse().ok().filter(|number| *number <= max);
    number.ok_or_else(|| format!("expected a whole number of at most {}", grouped(max)))
}
