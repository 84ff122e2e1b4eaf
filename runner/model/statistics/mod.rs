//! What numbers that were measured say about those behind them.

mod bootstrap;
mod exact;
mod rates;
mod spread;

pub use bootstrap::{Resampled, resampled};
pub use exact::{holm, sign_test};
pub use rates::{all_of, any_of, wilson};
pub use spread::{Spread, clustered};
