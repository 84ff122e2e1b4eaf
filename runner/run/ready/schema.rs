//! Checking values against a plugin's JSON Schema, which a stranger has written.
//!
//! A schema of a few lines can take exponential time and memory: by references that double, by alternatives that each
//! begin anew, by patterns that go back. So only one that is provably cheap is evaluated in this process, and every other
//! in a child process with limits of its own, which may be killed at any time.

use std::{
    fs::File,
    io::{self, BufRead as _, BufWriter, Read as _, Seek as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use bytesize::ByteSize;
use jsonschema::Validator;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::schema_cost::cost;
use crate::plugin::{
    Interrupt,
    child::{self, ChildEnd, ChildLimits, ChildWork, Helper},
};

/// The hidden argument that makes the runner's program check values against a schema; see [`schema_child`].
pub const SCHEMA_ARGUMENT: &str = "__schema";

/// What evaluating a schema in this process may cost: its parts, references followed, times the bytes of a value. At some
/// ten nanoseconds each this is a fifth of a second.
const MAX_COST_HERE: u64 = 20_000_000;
/// How many things that are wrong with one value are reported.
const MAX_ERRORS: usize = 5;
/// Characters of each: it has the value itself, or all that an alternative allows.
const MAX_ERROR_CHARACTERS: usize = 500;
/// How many values that do not fit are reported by name.
pub(super) const MAX_NAMED: usize = 10;

/// Bytes of memory that a child may take.
const CHILD_MEMORY: u64 = 256 * 1024 * 1024;
const CHILD_CPU_SECONDS: u64 = 60;
/// Bytes of what a child replies: some values that do not fit, with their names.
const CHILD_REPLY: u64 = 1024 * 1024;
/// How long a child may take for a schema and a single value.
const CHILD_TIME: Duration = Duration::from_secs(5);
/// How much longer for each value more.
const CHILD_TIME_PER_VALUE: Duration = Duration::from_millis(1);
const CHILD_MOST_TIME: Duration = Duration::from_secs(300);

/// Why a schema is of no use; completes the sentence "its schema of the … ".
#[derive(Debug)]
pub(super) enum Broken {
    /// It is none, for this reason.
    Invalid(String),
    /// It costs too much, as the end of a sentence.
    Costly(String),
    /// The child could not be run.
    Unchecked(String),
    /// A stop came first.
    Stopped,
}

/// Values that are checked against one schema: those that are cheap at once, the others in a child at the end.
pub(super) struct SchemaCheck<'a> {
    schema: &'a Value,
    /// How many parts it has, and how it is evaluated here; none if it must not be.
    here: Option<(u64, Validator)>,
    for_child: Option<Batch>,
    wrong: Wrong,
}

/// Values that do not fit.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Wrong {
    /// How many.
    pub(super) count: u64,
    /// The names of the first, with what is wrong.
    pub(super) named: Vec<(String, String)>,
}

/// Values for a child, in a file without a name.
struct Batch {
    file: BufWriter<File>,
    values: u32,
}

/// What a child replies.
#[derive(Deserialize, Serialize)]
enum ChildReply {
    Invalid(String),
    Checked(Wrong),
}

impl<'a> SchemaCheck<'a> {
    /// Begins with a schema. One that is not cheap is looked at by the child, at the end.
    pub(super) fn new(schema: &'a Value) -> Result<Self, Broken> {
        let here = match cost(schema) {
            Some(parts) => Some((parts, compile(schema).map_err(Broken::Invalid)?)),
            None => None,
        };
        Ok(Self {
            schema,
            here,
            for_child: None,
            wrong: Wrong::default(),
        })
    }

    /// Checks a value, or puts it aside for the child.
    pub(super) fn add(&mut self, name: &str, text: &str) -> Result<(), Broken> {
        if let Some((parts, validator)) = &self.here
            && parts.saturating_mul(text.len() as u64) <= MAX_COST_HERE
        {
            let value = serde_json::from_str(text).expect("what is checked is JSON");
            self.wrong.check(validator, name, &value);
            return Ok(());
        }
        self.batch()?
            .add(name, text)
            .map_err(|error| unchecked(&error))
    }

    /// Waits for the child, if one is needed.
    pub(super) async fn finish(
        mut self,
        helper: &Helper,
        interrupt: &Interrupt,
    ) -> Result<Wrong, Broken> {
        if self.here.is_none() {
            self.batch()?;
        }
        if let Some(batch) = self.for_child {
            let wrong = batch.finish(helper, interrupt).await?;
            self.wrong.count += wrong.count;
            self.wrong.named.extend(wrong.named);
            self.wrong.named.truncate(MAX_NAMED);
        }
        Ok(self.wrong)
    }

    fn batch(&mut self) -> Result<&mut Batch, Broken> {
        if self.for_child.is_none() {
            self.for_child = Some(Batch::new(self.schema).map_err(|error| unchecked(&error))?);
        }
        Ok(self.for_child.as_mut().expect("it was just made"))
    }
}

impl Wrong {
    fn check(&mut self, validator: &Validator, name: &str, value: &Value) {
        if let Some(errors) = errors(validator, value) {
            self.count += 1;
            if self.named.len() < MAX_NAMED {
                self.named.push((name.to_owned(), errors));
            }
        }
    }
}

impl Batch {
    fn new(schema: &Value) -> io::Result<Self> {
        let mut file = BufWriter::new(tempfile::tempfile()?);
        serde_json::to_writer(&mut file, schema)?;
        Ok(Self { file, values: 0 })
    }

    fn add(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.values = self.values.saturating_add(1);
        let raw: &RawValue = serde_json::from_str(text)?;
        self.file.write_all(b"\n")?;
        serde_json::to_writer(&mut self.file, &(name, raw))?;
        Ok(())
    }

    async fn finish(self, helper: &Helper, interrupt: &Interrupt) -> Result<Wrong, Broken> {
        let timeout = CHILD_TIME + CHILD_TIME_PER_VALUE * self.values;
        let timeout = timeout.min(CHILD_MOST_TIME);
        let input = self
            .file
            .into_inner()
            .map_err(|error| unchecked(&error.into()))?;
        let mut output = tempfile::tempfile().map_err(|error| unchecked(&error))?;
        let work = ChildWork {
            arguments: &[SCHEMA_ARGUMENT],
            env: &[],
            input,
            output: output.try_clone().map_err(|error| unchecked(&error))?,
            timeout,
        };
        match helper
            .run(work, interrupt)
            .await
            .map_err(|error| unchecked(&error))?
        {
            ChildEnd::Done => {}
            ChildEnd::Failed(reason) => return Err(Broken::Unchecked(reason)),
            ChildEnd::Died(..) => {
                let most = ByteSize(CHILD_MEMORY);
                return Err(Broken::Costly(format!(
                    "takes more than {most} of memory, or {CHILD_CPU_SECONDS} s, to check values against"
                )));
            }
            ChildEnd::TimedOut => {
                let seconds = timeout.as_secs();
                return Err(Broken::Costly(format!(
                    "takes longer than {seconds} s to check values against"
                )));
            }
            ChildEnd::Cancelled => return Err(Broken::Stopped),
        }
        let mut reply = Vec::new();
        output.rewind().map_err(|error| unchecked(&error))?;
        output
            .take(CHILD_REPLY)
            .read_to_end(&mut reply)
            .map_err(|error| unchecked(&error))?;
        match serde_json::from_slice(&reply).map_err(|error| unchecked(&error.into()))? {
            ChildReply::Invalid(reason) => Err(Broken::Invalid(reason)),
            ChildReply::Checked(wrong) => Ok(wrong),
        }
    }
}

/// Checks values against a schema: the schema and then each value with its name on a line of standard input, what is wrong
/// on standard output.
pub fn schema_child() -> ExitCode {
    let limits = ChildLimits {
        memory: CHILD_MEMORY,
        cpu_seconds: CHILD_CPU_SECONDS,
        file: CHILD_REPLY,
    };
    limits.apply();
    match check_stdin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => child::give_up(&error.to_string()),
    }
}

fn check_stdin() -> io::Result<()> {
    let mut lines = io::stdin().lock().lines();
    let schema: Value = serde_json::from_str(&lines.next().transpose()?.unwrap_or_default())?;
    let validator = match compile(&schema) {
        Ok(validator) => validator,
        Err(reason) => return child::reply(&serde_json::to_vec(&ChildReply::Invalid(reason))?),
    };
    let mut wrong = Wrong::default();
    for line in lines {
        let (name, value): (String, Value) = serde_json::from_str(&line?)?;
        wrong.check(&validator, &name, &value);
    }
    child::reply(&serde_json::to_vec(&ChildReply::Checked(wrong))?)
}

/// Makes an evaluator. Nothing is fetched: the crate is built without the means to.
fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::validator_for(schema).map_err(|error| shortened(&error.to_string()))
}

/// What is wrong with a value, and where: the first few things of it.
pub(in crate::run) fn errors(validator: &Validator, value: &Value) -> Option<String> {
    // Most values fit, which is found out without making any error.
    if validator.is_valid(value) {
        return None;
    }
    let mut all = validator.iter_errors(value);
    let mut told: Vec<_> = all
        .by_ref()
        .take(MAX_ERRORS)
        .map(|error| {
            let path = shortened(&error.instance_path().to_string());
            let place = if path.is_empty() { "/" } else { &path };
            format!("{} (at `{place}`)", shortened(&error.to_string()))
        })
        .collect();
    if all.next().is_some() {
        told.push("and more".to_owned());
    }
    Some(told.join("; "))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_ERROR_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn unchecked(error: &io::Error) -> Broken {
    Broken::Unchecked(error.to_string())
}
