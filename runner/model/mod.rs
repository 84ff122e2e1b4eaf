//! The words that several rooms share. Values only: no I/O, no clock, no serialization.

mod actor;
mod attempt;
mod bound_secret;
mod bounded_text;
mod bundled;
mod chain;
mod digest;
mod duration;
mod file_name;
mod fingerprint;
mod grant;
mod grants_toml;
mod histogram;
mod host_fault;
mod id;
mod json_cost;
mod json_length;
mod lanes;
mod limits;
mod lines;
mod machine_share;
mod media_type;
mod most_trials;
mod net_grant;
mod outcome;
mod ranges;
mod role;
mod secret_name;
mod shard;
mod shown;
mod statistics;
mod status;
mod stop;
mod trap;
mod visible;
mod words;

pub use actor::Actor;
pub use attempt::{
    Artifact, Attempt, AttemptError, Check, CheckVerdict, Content, Grade, LogRecord, Metric, Usage,
};
pub use bound_secret::BoundSecret;
pub use bounded_text::BoundedText;
pub use bundled::{BUNDLED_PLUGINS, bundled_name};
pub use chain::chain;
pub use digest::Digest;
pub(crate) use digest::parse_hex;
pub use duration::{MAX_DURATION, parse_age, parse_duration};
pub use file_name::is_file_name;
pub use fingerprint::Fingerprint;
pub use grant::{Denied, FsGrant, FsMode, Grant, Grants};
pub use grants_toml::{
    GrantsToml, add_indented, granted_text, key_and_value, toml_key, toml_string,
};
pub use histogram::Histogram;
pub use host_fault::HostFault;
pub use id::{IdError, ProviderId, TestId, TrialId};
pub use json_cost::{cost as json_cost, cost_of as json_cost_of};
pub use json_length::json_length;
pub use lanes::{cores, work_in_lanes};
pub use limits::{Limit, LimitUnit, Limits};
pub use lines::lines_of;
pub use machine_share::MachineShare;
pub use media_type::media_type;
pub use most_trials::{MOST_TOLD_TRIALS, MOST_TRIALS};
pub use net_grant::NetGrant;
pub(crate) use net_grant::is_host_name;
pub use outcome::{ErrorClass, Outcome};
pub use ranges::add_to_ranges;
pub use role::PluginRole;
pub use secret_name::is_secret_name;
pub use shard::Shard;
pub use shown::{ShownDuration, ShownNumber, quoted_text, shown_problem};
pub use statistics::{
    Resampled, Spread, all_of, any_of, clustered, holm, resampled, sign_test, wilson,
};
pub use status::{Counts, Reason, RunStatus, Stage, StopSignal, Verdict};
pub use stop::StopMode;
pub use trap::{OTHER_TRAP, TRAP_CODES};
pub use visible::{escape_json, escaped, steers, visible, visible_line};
pub use words::{count, duration, number, plural, quoted, scalar_text};
