//! Checks of replies and errors that both protocols share.

use runner_model::ErrorClass;
use runner_model::row::RowError;

use super::ended::{Ending, Reply};
use crate::interrupt::Interrupt;
use crate::message::failure;

const MAX_CHECKS: usize = 10_000;
const MAX_METRICS: usize = 1_000;

/// Returns the ending of a provider's own error. No class means `stopped`, which counts only if a
/// stop was requested.
pub(crate) fn provider_error(error: RowError<'static>, interrupt: &Interrupt) -> Ending {
    match error.class {
        Some(_) => Ending::Error(error),
        None if interrupt.is_requested() => Ending::Stopped,
        None => {
            let message = "the guest returned `stopped`, but no stop was requested";
            Ending::Error(failure(ErrorClass::Protocol, "stopped", message))
        }
    }
}

/// Refuses a reply with too many checks or metrics. Those without texts cost nothing of
/// `limits.reply`.
pub(crate) fn bounded(reply: Reply) -> Result<Reply, RowError<'static>> {
    for (what, count, most) in
        [("checks", reply.checks.len(), MAX_CHECKS), ("metrics", reply.metrics.len(), MAX_METRICS)]
    {
        if count > most {
            let message = format!("the reply has {count} {what}, and at most {most} are allowed");
            return Err(failure(ErrorClass::Limit, "reply", message));
        }
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use runner_model::outcome::Verdict;
    use runner_model::row::{Check, Metric, Raw};

    use super::bounded;
    use crate::Reply;

    #[test]
    fn checks_and_metrics_of_a_reply_are_bounded() {
        let check = Check::own("", Verdict::Pass);
        let metric = Metric { name: "".into(), value: 0.0, unit: None };
        let refusal = |checks: usize, metrics: usize| {
            let reply = Reply {
                checks: vec![check.clone(); checks],
                metrics: vec![metric.clone(); metrics],
                ..Reply::new(Raw::of(&0).unwrap())
            };
            bounded(reply).err().map(|error| error.message.to_string())
        };
        assert_eq!(refusal(10_000, 1_000), None);
        for (checks, metrics, says) in [
            (10_001, 0, "10001 checks, and at most 10000 are allowed"),
            (0, 1_001, "1001 metrics, and at most 1000 are allowed"),
        ] {
            let says = format!("the reply has {says}");
            assert_eq!(refusal(checks, metrics), Some(says));
        }
    }
}
