//! [`Ended`], the end of an agent: the one place that decides by a server's words how an exchange ended.

/// How an agent ended. The word is `extra.ended` of its transcript's last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The model answered.
    Done,
    /// The conversation is too long for the model.
    Context,
    /// The agent has used all its turns.
    Turns,
    /// The model or a filter of the server refused.
    Refused,
    /// A limit cut the last answer, such as `max_tokens`.
    Limit,
}

/// Reason why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    Finished,
    /// At the maximum length of an answer.
    Cut,
    Context,
    Refused,
    /// The server has paused its own tools, and continues if the answer is sent back.
    Paused,
    /// The model wrote a call that the server refused or could not read.
    Malformed,
    /// The server broke off.
    Failed,
    Unknown(String),
}

impl Ended {
    /// Returns the word in a transcript.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Context => "context",
            Self::Turns => "turns",
            Self::Refused => "refused",
            Self::Limit => "limit",
        }
    }
}

impl Stop {
    /// Reads the `finish_reason` or `stop_reason` of an answer.
    pub(crate) fn read(reason: &str) -> Self {
        let letters = letters(&[reason]);
        match letters.as_str() {
            "" | "stop" | "stopsequence" | "endturn" | "eos" | "eostoken" | "complete"
            | "toolcall" | "toolcalls" | "tooluse" | "functioncall" | "functioncalls" => {
                Self::Finished
            }
            "length" | "maxtokens" => Self::Cut,
            "modellength" | "modelcontextwindowexceeded" => Self::Context,
            "contentfilter"
            | "contentfiltered"
            | "refusal"
            | "safety"
            | "recitation"
            | "blocklist"
            | "prohibitedcontent"
            | "spii"
            | "sensitive"
            | "guardrailintervened" => Self::Refused,
            "pauseturn" => Self::Paused,
            // vLLM and SGLang, whose engine ended the request; DeepSeek; Zhipu.
            "abort" | "cancelled" | "insufficientsystemresource" | "networkerror" => Self::Failed,
            // Google writes `function_call_filter: MALFORMED_FUNCTION_CALL`.
            _ if ["malformedfunctioncall", "unexpectedtoolcall"]
                .iter()
                .any(|word| letters.ends_with(word)) =>
            {
                Self::Malformed
            }
            _ => Self::Unknown(reason.to_owned()),
        }
    }

    /// Returns the end of an agent whose last answer stopped so. `None` if the answer is whole. An unknown reason may be a cut.
    pub(crate) fn ended(&self) -> Option<Ended> {
        match self {
            Self::Cut | Self::Unknown(_) => Some(Ended::Limit),
            Self::Context => Some(Ended::Context),
            Self::Refused => Some(Ended::Refused),
            Self::Finished | Self::Paused | Self::Malformed | Self::Failed => None,
        }
    }
}

/// Codes and words of a conversation that is too long for a model, as [`letters`].
const CONTEXT: &[&str] = &[
    "contextlengthexceeded",
    "contextwindowexceeded",
    // OpenAI, vLLM, SGLang, DeepSeek, Mistral, OpenRouter.
    "maximumcontextlength",
    "maximumpromptlength",
    "exceedcontextsize",
    "exceedstheavailablecontextsize",
    // Ollama, LM Studio.
    "exceedsthecontextlength",
    "exceedsmaximumcontextlength",
    "exceededmaxcontextlength",
    "greaterthanthecontextlength",
    "loadedwithcontextlengthofonly",
    "longerthanthemodelscontextlength",
    "exceednctx",
    "exceedcontextwindow",
    "exceedsthecontextwindow",
    "exceedsthemodelscontextwindow",
    // Anthropic, Bedrock.
    "promptistoolong",
    "inputistoolong",
    "exceedcontextlimit",
    "exceedsthecontextlimit",
    // Google: `The input token count (9) exceeds the maximum number of tokens allowed (8)`.
    "exceedsthemaximumnumberoftokens",
    // vLLM before 0.6, whose prompt leaves no token for an answer.
    "maxtokensmustbeatleastgot",
    "tokenslimitreached",
    "exceededmodeltokenlimit",
    "promptexceedsmaxlength",
    "rangeofinputlengthshouldbe",
];

/// Codes and words of a filter that refuses a conversation.
const REFUSED: &[&str] = &[
    // Azure.
    "contentfilter",
    "contentmanagementpolicy",
    "responsibleaipolicyviolation",
    "contentpolicyviolation",
    // xAI.
    "contentviolates",
    "datainspectionfailed",
    // DeepSeek.
    "contentexistsrisk",
    // OpenRouter.
    "inputwasflagged",
];

/// Words of a policy that a conversation violates, or, with the status 403, an account.
const POLICY: &[&str] = &["usagepolicy", "usageguidelines"];

/// Returns the end of an agent by the error of a server. `None` for all other errors.
pub(crate) fn of_error(status: u16, code: &str, message: &str) -> Option<Ended> {
    let letters = letters(&[code, message]);
    let has = |words: &[&str]| words.iter().any(|word| letters.contains(word));
    // Quotas of an account may have the same words.
    if status == 429 || has(&["ratelimit", "quota", "perminute"]) {
        None
    } else if has(CONTEXT) || status == 413 {
        Some(Ended::Context)
    } else {
        let is_refused = match status {
            401 | 402 => false,
            403 => has(REFUSED),
            _ => (400..500).contains(&status) && (has(REFUSED) || has(POLICY)),
        };
        is_refused.then_some(Ended::Refused)
    }
}

/// Returns whether the error of a conversation that is too long may be one of the configuration or of a proxy: it counts
/// `max_tokens`, too, or the bytes of a request.
pub(crate) fn may_be_of_settings(message: &str) -> bool {
    let letters = letters(&[message]);
    let has = |words: &[&str]| words.iter().any(|word| letters.contains(word));
    has(&["maxtokens", "maxcompletiontokens", "inthecompletion", "forthecompletion"])
        || !has(CONTEXT)
}

/// Joins the letters of texts in lower case, because servers write `rate_limit`, `RateLimit` and `rate limit`.
pub(crate) fn letters(texts: &[&str]) -> String {
    let letters = texts.iter().flat_map(|text| text.chars()).filter(|char| char.is_alphabetic());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::{Ended, of_error};

    #[test]
    fn account_that_violates_a_policy_is_no_refusal_of_the_model() {
        let guidelines = "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO";
        let account = "Your account violates our usage policy.";
        for (status, message, ended) in [
            (403, guidelines, Some(Ended::Refused)),
            (403, "your input was flagged", Some(Ended::Refused)),
            (403, account, None),
            (401, account, None),
            (401, guidelines, None),
            (400, "Your prompt may violate our usage policy.", Some(Ended::Refused)),
        ] {
            assert_eq!(of_error(status, "", message), ended, "{status}: {message}");
        }
    }
}
