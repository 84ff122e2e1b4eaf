//! [`RunOptions`]: how trials are run, and the one table of what can be said about that.
//!
//! The keys of scenarios and their schema, the flags of `exec` and `resume`, what manifests store and the plan's digest
//! are all made of [`RunOptions::TABLE`]: a new option is an entry here and whatever uses it. Limits of attempts have a
//! table of their own, [`Limits::TABLE`](crate::model::Limits::TABLE).

mod kinds;

use std::{num::NonZeroUsize, time::Duration};

use serde_json::{Map, Value};

use super::{Budgets, FailFast, budgets::BUDGET, form::Form};
use kinds::{Ceilings, GiveUp, Jobs, Minutes, Number, OptionKind, Size, Spendable, Time};

/// An option of a run: everything about it but who uses it.
pub struct RunOption {
    /// Its key in scenarios, if it has one.
    pub(super) key: Option<OptionKey>,
    /// The default as scenarios write it, as JSON; `None` where it depends on the machine.
    pub(super) default: Option<&'static str>,
    /// Its flag, if it has one.
    pub flag: Option<OptionFlag>,
    /// Its key in manifests.
    pub stored: &'static str,
    /// Whether it can make a result another one. If so, a run keeps it for its whole life.
    pub decides_results: bool,
    /// What it is, for the documentation.
    meaning: &'static str,
    of_scenario: fn(&mut RunOptions, &Value),
    of_text: fn(&mut RunOptions, &str) -> Result<(), String>,
    of_stored: fn(&mut RunOptions, &Value),
    to_stored: fn(&RunOptions) -> Option<Value>,
    take: fn(&mut RunOptions, &RunOptions),
}

/// Where a scenario has an option, and what it may look like there.
pub(super) struct OptionKey {
    pub(super) table: OptionTable,
    pub(super) name: &'static str,
    pub(super) form: Form,
}

/// A table of a scenario that has options.
#[derive(Clone, Copy)]
pub(super) enum OptionTable {
    /// The file itself.
    Top,
    /// `[run]`.
    Run,
}

/// How the command line has an option.
pub struct OptionFlag {
    /// `--long`.
    pub long: &'static str,
    /// `-s`.
    pub short: Option<char>,
    /// What help calls its value.
    pub value_name: &'static str,
    /// The value of a flag without one; `None` where it needs one.
    pub bare: Option<&'static str>,
    /// Whether it may be given more than once.
    pub is_repeatable: bool,
    /// The help of `exec`.
    pub help: &'static str,
    /// The help of `resume`, if that has the flag.
    pub help_of_resume: Option<&'static str>,
}

impl RunOption {
    /// What it is, for the documentation.
    pub(super) const fn meaning(&self) -> &'static str {
        // Comments begin with a space behind their slashes.
        match self.meaning.as_bytes() {
            [b' ', text @ ..] => match std::str::from_utf8(text) {
                Ok(text) => text,
                Err(_) => self.meaning,
            },
            _ => self.meaning,
        }
    }

    /// Sets it to what a flag says.
    ///
    /// # Errors
    ///
    /// Fails with what was expected instead.
    pub fn parse(&self, options: &mut RunOptions, text: &str) -> Result<(), String> {
        (self.of_text)(options, text)
    }
}

/// Makes [`RunOptions`], its accessors and its table of `name: type as kind = default { … }`, each below its meaning.
macro_rules! run_options {
    ($($(#[doc = $meaning:literal])+ $name:ident: $type:ty as $kind:ident $(= $default:literal)? {
        $($field:ident: $value:expr,)+
    })+) => {
        /// How trials are run, as one source says it: a scenario, a command line or a manifest. What is `None`, it leaves
        /// to others.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct RunOptions {
            $($(#[doc = $meaning])+ pub $name: Option<$type>,)+
        }

        impl RunOptions {
            /// Every option, in the order of the documentation.
            pub const TABLE: &'static [RunOption] = &[$(RunOption {
                $($field: $value,)+
                default: run_options!(@default $($default)?),
                meaning: concat!($($meaning),+),
                of_scenario: |options, value| options.$name = $kind::of_scenario(value),
                of_text: |options, text| {
                    let value = $kind::of_text(text)?;
                    options.$name = Some(match options.$name.take() {
                        Some(old) => $kind::again(old, value),
                        None => value,
                    });
                    Ok(())
                },
                of_stored: |options, value| options.$name = $kind::of_stored(value),
                to_stored: |options| options.$name.as_ref().and_then($kind::to_stored),
                take: |options, newer| {
                    if let Some(newer) = &newer.$name {
                        options.$name = Some(match options.$name.take() {
                            Some(old) => $kind::over(old, newer),
                            None => newer.clone(),
                        });
                    }
                },
            }),+];

            $($(
                #[doc = concat!("`", stringify!($name), "`, by default `", $default, "`.")]
                pub fn $name(&self) -> $type {
                    let default = || $kind::of_default($default);
                    self.$name.clone().unwrap_or_else(default)
                }
            )?)+
        }
    };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
}

const fn at_top(name: &'static str, form: Form) -> Option<OptionKey> {
    let table = OptionTable::Top;
    Some(OptionKey { table, name, form })
}

const fn in_run(name: &'static str, form: Form) -> Option<OptionKey> {
    let table = OptionTable::Run;
    Some(OptionKey { table, name, form })
}

const ANY_U32: Form = Form::Integer {
    min: 0,
    max: u32::MAX as i64,
};

run_options! {
    /// How many attempts run at once. Default: the number of cores, and 16 at least where a provider may reach servers.
    jobs: NonZeroUsize as Jobs {
        key: in_run("concurrency", Form::Integer { min: 1, max: kinds::MAX_JOBS }),
        flag: Some(OptionFlag {
            long: "jobs",
            short: Some('j'),
            value_name: "N",
            bare: None,
            is_repeatable: false,
            help: "How many attempts run at the same time [default: the scenario's, else the number of cores]",
            help_of_resume: Some("How many attempts run at the same time [default: as before]"),
        }),
        stored: "jobs",
        decides_results: false,
    }
    /// How many processes attempts are made in; 0 for the runner's own. Default: one a core, once there is enough to do.
    workers: u32 as Number {
        key: None,
        flag: Some(OptionFlag {
            long: "workers",
            short: None,
            value_name: "N",
            bare: None,
            is_repeatable: false,
            help: WORKERS_HELP,
            help_of_resume: Some(WORKERS_HELP),
        }),
        stored: "workers",
        decides_results: false,
    }
    /// What running attempts may hold of memory together. Default: 75 % of the memory there is.
    memory: u64 as Size {
        key: in_run("memory", Form::Size),
        flag: None,
        stored: "memory",
        decides_results: false,
    }
    /// How long the whole run may take, in minutes.
    timeout: Duration as Minutes = "60" {
        key: at_top("timeout_minutes", Form::Number { min: 1e-3, max: 525_600.0 }),
        flag: Some(OptionFlag {
            long: "timeout-minutes",
            short: None,
            value_name: "M",
            bare: None,
            is_repeatable: false,
            help: "Stop the whole run after this many minutes; a fraction is fine",
            help_of_resume: Some("Stop this session after this many minutes; a fraction is fine"),
        }),
        stored: "timeout_minutes",
        decides_results: false,
    }
    /// Ceilings for every provider's limits, as typed: `memory=64MiB`.
    limits: Vec<String> as Ceilings {
        key: None,
        flag: Some(OptionFlag {
            long: "limit",
            short: None,
            value_name: "KEY=VALUE",
            bare: None,
            is_repeatable: true,
            help: "Cap a limit of every provider, such as `memory=64MiB` or `time=2s`; may be given more than once",
            help_of_resume: None,
        }),
        stored: "limits",
        decides_results: true,
    }
    /// Gives up after the first bad trial (`true`), after a count of them, or once more than a fraction of all trials ended badly.
    /// Those of one session count.
    fail_fast: FailFast as GiveUp = "false" {
        key: in_run("fail_fast", Form::FailFast),
        flag: Some(OptionFlag {
            long: "fail-fast",
            short: None,
            value_name: "N",
            bare: Some("1"),
            is_repeatable: false,
            help: FAIL_FAST_HELP,
            help_of_resume: Some(FAIL_FAST_HELP),
        }),
        stored: "fail_fast",
        decides_results: false,
    }
    /// How much of what providers measure the run may use up.
    budget: Budgets as Spendable {
        key: in_run("budget", Form::Table(&[BUDGET])),
        flag: Some(OptionFlag {
            long: "budget",
            short: None,
            value_name: "METRIC=VALUE",
            bare: None,
            is_repeatable: true,
            help: BUDGET_HELP,
            help_of_resume: Some(BUDGET_HELP),
        }),
        stored: "budget",
        decides_results: false,
    }
    /// How long providers are asked to stop before they are interrupted.
    grace: Duration as Time = "\"0s\"" {
        key: in_run("grace", Form::Duration { zero: true }),
        flag: Some(OptionFlag {
            long: "grace",
            short: None,
            value_name: "DURATION",
            bare: None,
            is_repeatable: false,
            help: GRACE_HELP,
            help_of_resume: Some(GRACE_HELP),
        }),
        stored: "grace_ms",
        decides_results: false,
    }
    /// A number that is handed to every provider.
    seed: u32 as Number = "0" {
        key: in_run("seed", ANY_U32),
        flag: None,
        stored: "seed",
        decides_results: true,
    }
    /// A trial that was in flight at this many process deaths in a row is resumed last and alone; 0 for never.
    poison_after: u32 as Number = "3" {
        key: in_run("poison_after", ANY_U32),
        flag: None,
        stored: "poison_after",
        decides_results: false,
    }
}

const WORKERS_HELP: &str = "Make attempts in this many processes, which share the jobs; 0 for this one [default: one a core, once there is enough to do]";
const FAIL_FAST_HELP: &str = "Begin no new trials once this many ended badly: a count, a fraction of the plan such as 0.1, or `off`";
const BUDGET_HELP: &str = "Begin no further attempts once so much of a metric is used up, such as `tokens=2000000`; `PROVIDER:METRIC=VALUE` for one provider, `off` for none";
const GRACE_HELP: &str =
    "On a stop, let guests go on for this long before they are interrupted, such as `2s`";

impl RunOptions {
    /// Reads the options of a scenario, whose tables have been checked.
    pub(super) fn of_scenario(top: &Map<String, Value>, run: &Map<String, Value>) -> Self {
        let mut options = Self::default();
        for option in Self::TABLE {
            let value = option.key.as_ref().and_then(|key| match key.table {
                OptionTable::Top => top.get(key.name),
                OptionTable::Run => run.get(key.name),
            });
            if let Some(value) = value {
                (option.of_scenario)(&mut options, value);
            }
        }
        options
    }

    /// Reads what [`to_stored`](Self::to_stored) has written; what it does not know it leaves out.
    pub fn of_stored(stored: &Value) -> Self {
        let mut options = Self::default();
        for option in Self::TABLE {
            if let Some(value) = stored.get(option.stored) {
                (option.of_stored)(&mut options, value);
            }
        }
        options
    }

    /// Writes what is set for a manifest.
    pub fn to_stored(&self) -> Value {
        let set = Self::TABLE.iter().filter_map(|option| {
            let value = (option.to_stored)(self)?;
            Some((option.stored.to_owned(), value))
        });
        Value::Object(set.collect())
    }

    /// Puts what these set before what `base` sets.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        let mut options = base.clone();
        for option in Self::TABLE {
            (option.take)(&mut options, self);
        }
        options
    }

    /// Puts what `newer` sets before what these set, for a run that has begun by these: what decides results stays.
    #[must_use]
    pub fn resumed_with(&self, newer: &Self) -> Self {
        let mut options = self.clone();
        for option in Self::TABLE {
            if !option.decides_results {
                (option.take)(&mut options, newer);
            }
        }
        options
    }

    /// What a scenario can say and decides results, by the keys of manifests; ceilings are in the limits of providers.
    pub fn deciding(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let deciding = Self::TABLE.iter();
        let deciding = deciding.filter(|option| option.decides_results && option.key.is_some());
        deciding.map(|option| {
            let default = || option.default.map_or(Value::Null, kinds::json);
            let value = (option.to_stored)(self).unwrap_or_else(default);
            (option.stored, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Every option, set by a text that a flag could have.
    fn all() -> RunOptions {
        let mut options = RunOptions::default();
        let texts = [
            "3",
            "2",
            "1GiB",
            "0.02",
            "memory=1MiB",
            "1.0",
            "tokens=2e6",
            "1500ms",
            "7",
            "0",
        ];
        assert_eq!(texts.len(), RunOptions::TABLE.len());
        for (option, text) in RunOptions::TABLE.iter().zip(texts) {
            option.parse(&mut options, text).unwrap();
        }
        options
    }

    #[test]
    fn what_is_stored_has_these_bytes_and_is_read_back() {
        let options = all();
        let stored = options.to_stored();
        assert_eq!(
            stored,
            json!({
                "jobs": 3,
                "workers": 2,
                "memory": 1_u64 << 30,
                "timeout_minutes": 0.02,
                "limits": ["memory=1MiB"],
                "fail_fast": 1.0,
                "budget": {"tokens": 2e6},
                "grace_ms": 1500,
                "seed": 7,
                "poison_after": 0,
            })
        );
        assert_eq!(RunOptions::of_stored(&stored), options);
        assert_eq!(RunOptions::default().to_stored(), json!({}));
        // `null` stands where there are no options, and a newer version may have others.
        assert_eq!(RunOptions::of_stored(&Value::Null), RunOptions::default());
        let newer = json!({"jobs": "many", "colour": "red"});
        assert_eq!(RunOptions::of_stored(&newer), RunOptions::default());
    }

    #[test]
    fn every_default_is_read_and_none_is_set() {
        let none = RunOptions::default();
        assert_eq!(none.timeout(), Duration::from_secs(3600));
        assert_eq!(none.fail_fast(), FailFast::Off);
        assert_eq!(none.grace(), Duration::ZERO);
        assert_eq!((none.seed(), none.poison_after()), (0, 3));
        for option in RunOptions::TABLE {
            let Some(default) = option.default else {
                continue;
            };
            let mut options = RunOptions::default();
            (option.of_scenario)(&mut options, &kinds::json(default));
            assert_ne!(options, none, "{}", option.stored);
        }
    }

    #[test]
    fn the_nearer_source_wins_and_what_decides_results_stays_with_a_run() {
        let (some, all) = (
            RunOptions {
                jobs: NonZeroUsize::new(1),
                ..RunOptions::default()
            },
            all(),
        );
        assert_eq!(some.over(&all).jobs, some.jobs);
        assert_eq!(some.over(&all).grace, all.grace);
        let resumed = RunOptions::default().resumed_with(&all);
        assert_eq!(resumed.jobs, all.jobs);
        assert_eq!((resumed.limits, resumed.seed), (None, None));
        assert_eq!(all.resumed_with(&some).limits, all.limits);
    }

    #[test]
    fn what_decides_results_has_its_default_where_nothing_is_set() {
        let deciding = |options: &RunOptions| options.deciding().collect::<Vec<_>>();
        assert_eq!(deciding(&RunOptions::default()), [("seed", json!(0))]);
        assert_eq!(deciding(&all()), [("seed", json!(7))]);
    }
}
