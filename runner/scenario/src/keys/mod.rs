//! The keys of scenarios, and checks between them.

pub(crate) mod consistency;
pub(crate) mod files;
mod gate_keys;
mod grant_keys;
pub(crate) mod matrix;
mod notify_keys;
mod provider_keys;
mod report_keys;
pub(crate) mod template_inputs;
mod test_keys;
pub(crate) mod vars;

pub(crate) use files::{ListFiles, ListFormat, NamedFile};
pub(crate) use gate_keys::GATE;
pub(crate) use grant_keys::{GRANTS, check_grants};
pub(crate) use matrix::{MATRIX, MATRIX_NAME};
pub(crate) use notify_keys::{NOTIFY, ROOT_NOTIFY};
pub use notify_keys::{Notify, NotifyCommand, NotifyEvents, Webhook, WebhookUrl};
pub(crate) use provider_keys::{
    BUDGET, CONCURRENCY, GRADERS, PRICES, PROVIDERS, add_prices, budget_of,
};
pub(crate) use report_keys::REPORT;
pub(crate) use test_keys::{
    DEFAULT_TIMEOUT, DEFAULTS, LIST, MAX_META, RETRIES, TEST, TestList, TestSettings,
    WrittenExpect, WrittenTest,
};
pub(crate) use vars::VARS;
pub use vars::Vars;
