//! Statistics of results: intervals, tests of differences, and summaries.

mod differences;
mod rates;
mod spread;

pub use differences::{Bootstrap, holm, paired_bootstrap, sign_test};
pub use rates::{pass_at_k, pass_hat_k, wilson, wilson_of_rate};
pub use spread::{Mean, clustered_mean, percentile};

#[cfg(test)]
#[path = "../tests/statistics.rs"]
mod tests;
