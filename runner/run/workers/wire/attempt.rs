//! Attempts in messages. The content of their artifacts stands elsewhere: there may be more of it than memory has room for.

use super::{
    bytes::{Decoder, Encoder, Garbled, Read},
    value,
};
use crate::model::{
    Artifact, Attempt, AttemptError, BoundSecret, Check, CheckVerdict, Denied, ErrorClass, Grant,
    HostFault, LogRecord, Metric, NetGrant, Outcome, TrialId, Usage,
};

const VERDICTS: [CheckVerdict; 3] = [CheckVerdict::Pass, CheckVerdict::Fail, CheckVerdict::Skip];
const FAULTS: [HostFault; 4] = [
    HostFault::Memory,
    HostFault::Files,
    HostFault::Storage,
    HostFault::Threads,
];
const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

const NET: u8 = 0;
const SECRET: u8 = 1;
const BOUND_SECRET: u8 = 2;

/// An artifact without its content.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::run) struct ArtifactHead {
    pub(in crate::run) name: String,
    pub(in crate::run) media_type: String,
    /// In bytes.
    pub(in crate::run) size: u64,
}

/// Writes an attempt; whoever reads it knows which trial it is of.
pub(super) fn encode(encoder: &mut Encoder, attempt: &Attempt) {
    encoder.u64(attempt.ordinal);
    encoder.u64(attempt.number.into());
    place(encoder, &Outcome::ALL, &attempt.outcome);
    encoder.option(attempt.score, Encoder::f64);
    encoder.list(&attempt.checks, encode_check);
    encoder.list(&attempt.metrics, encode_metric);
    encoder.option(attempt.output.as_ref(), value::encode);
    encoder.option(attempt.verdict, |encoder, verdict| {
        place(encoder, &VERDICTS, &verdict);
    });
    encoder.option(attempt.summary.as_deref(), Encoder::str);
    encoder.option(attempt.error.as_ref(), encode_error);
    encoder.timestamp(attempt.started_at);
    encoder.duration(attempt.duration);
    encoder.duration(attempt.suspended);
    encode_usage(encoder, &attempt.usage);
    encoder.list(&attempt.denied, encode_denied);
    encoder.list(&attempt.artifacts, encode_artifact);
    encoder.list(&attempt.log, encode_record);
    encoder.str(&attempt.stderr);
    encoder.str(&attempt.stdout);
}

/// Reads an attempt without its artifacts, and what these are. `trial_of` knows of which trial an attempt is, by its
/// ordinal and number.
pub(super) fn decode(
    decoder: &mut Decoder<'_>,
    trial_of: &mut dyn FnMut(u64, u32) -> Option<TrialId>,
) -> Read<(Attempt, Vec<ArtifactHead>)> {
    let (ordinal, number) = (decoder.u64()?, decoder.u32()?);
    let trial = trial_of(ordinal, number).ok_or(Garbled)?;
    let mut attempt = Attempt {
        ordinal,
        trial,
        number,
        outcome: placed(decoder, &Outcome::ALL)?,
        score: decoder.option(Decoder::f64)?,
        checks: decoder.list(decode_check)?,
        metrics: decoder.list(decode_metric)?,
        output: decoder.option(value::decode)?,
        verdict: decoder.option(|decoder| placed(decoder, &VERDICTS))?,
        summary: decoder.option(Decoder::string)?,
        error: decoder.option(decode_error)?,
        started_at: decoder.timestamp()?,
        duration: decoder.duration()?,
        suspended: decoder.duration()?,
        // Whoever hears it knows who has said it.
        worker: None,
        usage: decode_usage(decoder)?,
        denied: decoder.list(decode_denied)?,
        artifacts: Vec::new(),
        log: Vec::new(),
        stderr: String::new(),
        stdout: String::new(),
    };
    let artifacts = decoder.list(decode_artifact)?;
    attempt.log = decoder.list(decode_record)?;
    attempt.stderr = decoder.string()?;
    attempt.stdout = decoder.string()?;
    Ok((attempt, artifacts))
}

fn encode_check(encoder: &mut Encoder, check: &Check) {
    encoder.str(&check.name);
    place(encoder, &VERDICTS, &check.verdict);
    encoder.option(check.score, Encoder::f64);
    encoder.option(check.message.as_deref(), Encoder::str);
    encoder.option(check.expected.as_ref(), value::encode);
    encoder.option(check.actual.as_ref(), value::encode);
    encoder.option(check.diff.as_deref(), Encoder::str);
    encoder.option(check.details.as_ref(), value::encode);
}

fn decode_check(decoder: &mut Decoder<'_>) -> Read<Check> {
    Ok(Check {
        name: decoder.string()?.into(),
        verdict: placed(decoder, &VERDICTS)?,
        score: decoder.option(Decoder::f64)?,
        message: decoder.option(Decoder::string)?,
        expected: decoder.option(value::decode)?,
        actual: decoder.option(value::decode)?,
        diff: decoder.option(Decoder::string)?,
        details: decoder.option(value::decode)?,
    })
}

fn encode_metric(encoder: &mut Encoder, metric: &Metric) {
    encoder.str(&metric.name);
    encoder.f64(metric.value);
    encoder.option(metric.unit.as_deref(), Encoder::str);
}

fn decode_metric(decoder: &mut Decoder<'_>) -> Read<Metric> {
    Ok(Metric {
        name: decoder.string()?,
        value: decoder.f64()?,
        unit: decoder.option(Decoder::string)?,
    })
}

fn encode_error(encoder: &mut Encoder, error: &AttemptError) {
    encoder.option(error.class, |encoder, class| {
        place(encoder, &ErrorClass::ALL, &class);
    });
    encoder.str(&error.code);
    encoder.str(&error.message);
    encoder.option(error.retry_after, Encoder::duration);
    encoder.option(error.fault, |encoder, fault| {
        place(encoder, &FAULTS, &fault);
    });
}

fn decode_error(decoder: &mut Decoder<'_>) -> Read<AttemptError> {
    Ok(AttemptError {
        class: decoder.option(|decoder| placed(decoder, &ErrorClass::ALL))?,
        code: decoder.string()?,
        message: decoder.string()?,
        retry_after: decoder.option(Decoder::duration)?,
        fault: decoder.option(|decoder| placed(decoder, &FAULTS))?,
    })
}

fn encode_usage(encoder: &mut Encoder, usage: &Usage) {
    encoder.u64(usage.peak_memory);
    encoder.u64(usage.host_calls);
    encoder.u64(usage.http_requests);
    encoder.u64(usage.bytes_in);
    encoder.u64(usage.bytes_out);
    encoder.option(usage.fuel, Encoder::u64);
}

fn decode_usage(decoder: &mut Decoder<'_>) -> Read<Usage> {
    Ok(Usage {
        peak_memory: decoder.u64()?,
        host_calls: decoder.u64()?,
        http_requests: decoder.u64()?,
        bytes_in: decoder.u64()?,
        bytes_out: decoder.u64()?,
        fuel: decoder.option(Decoder::u64)?,
    })
}

fn encode_denied(encoder: &mut Encoder, denied: &Denied) {
    encoder.str(&denied.what);
    encoder.option(denied.grant.as_ref(), |encoder, grant| match grant {
        Grant::Net(net) => {
            encoder.u8(NET);
            encoder.str(&net.to_string());
        }
        Grant::Secret(name) => {
            encoder.u8(SECRET);
            encoder.str(name);
        }
        Grant::BoundSecret(bound) => {
            encoder.u8(BOUND_SECRET);
            encoder.str(&bound.name);
            encoder.str(&bound.host.to_string());
            encoder.str(&bound.header);
        }
    });
}

fn decode_denied(decoder: &mut Decoder<'_>) -> Read<Denied> {
    Ok(Denied {
        what: decoder.string()?,
        grant: decoder.option(|decoder| {
            Ok(match decoder.u8()? {
                NET => Grant::Net(NetGrant::parse(decoder.str()?).map_err(|_| Garbled)?),
                SECRET => Grant::Secret(decoder.string()?),
                BOUND_SECRET => {
                    let (name, host, header) = (decoder.str()?, decoder.str()?, decoder.str()?);
                    let bound = BoundSecret::parse(name, host, header);
                    Grant::BoundSecret(bound.map_err(|_| Garbled)?)
                }
                _ => return Err(Garbled),
            })
        })?,
    })
}

fn encode_artifact(encoder: &mut Encoder, artifact: &Artifact) {
    encoder.str(&artifact.name);
    encoder.str(&artifact.media_type);
    encoder.u64(artifact.content.size());
}

fn decode_artifact(decoder: &mut Decoder<'_>) -> Read<ArtifactHead> {
    Ok(ArtifactHead {
        name: decoder.string()?,
        media_type: decoder.string()?,
        size: decoder.u64()?,
    })
}

fn encode_record(encoder: &mut Encoder, record: &LogRecord) {
    encoder.option(record.at, Encoder::timestamp);
    place(encoder, &LEVELS, &record.level);
    encoder.str(&record.message);
    encoder.list(&record.fields, |encoder, (name, value)| {
        encoder.str(name);
        encoder.str(value);
    });
}

fn decode_record(decoder: &mut Decoder<'_>) -> Read<LogRecord> {
    Ok(LogRecord {
        at: decoder.option(Decoder::timestamp)?,
        level: placed(decoder, &LEVELS)?,
        message: decoder.string()?,
        fields: decoder.list(|decoder| Ok((decoder.string()?, decoder.string()?)))?,
    })
}

/// Writes the place of a value in the list of all that it can be.
fn place<T: PartialEq>(encoder: &mut Encoder, all: &[T], value: &T) {
    let place = all.iter().position(|one| one == value);
    encoder.usize(place.expect("the list has all of them"));
}

fn placed<T: Copy>(decoder: &mut Decoder<'_>, all: &[T]) -> Read<T> {
    all.get(decoder.usize()?).copied().ok_or(Garbled)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use jiff::Timestamp;
    use serde_json::json;

    use super::{
        super::bytes::{Decoder, Encoder},
        ArtifactHead, FAULTS, LEVELS, VERDICTS, decode, encode,
    };
    use crate::model::{
        Artifact, Attempt, AttemptError, BoundSecret, Check, Denied, ErrorClass, Grant, LogRecord,
        Metric, NetGrant, Outcome, ProviderId, TestId, TrialId, Usage,
    };

    fn trial() -> TrialId {
        TrialId {
            test: TestId::parse("a/b").unwrap(),
            provider: ProviderId::parse("p").unwrap(),
            repeat: 3,
        }
    }

    /// An attempt that has everything, of which `nth` chooses what there is one of.
    fn attempt(nth: usize) -> Attempt {
        let grants = [
            Grant::Net(NetGrant::parse("https://*.example.com:8443").unwrap()),
            Grant::Secret("KEY".to_owned()),
            Grant::BoundSecret(BoundSecret::parse("KEY", "http://[::1]:80", "X-Key").unwrap()),
        ];
        let denied = |grant| Denied {
            what: "what it tried".to_owned(),
            grant,
        };
        let mut all: Vec<_> = grants
            .into_iter()
            .map(|grant| denied(Some(grant)))
            .collect();
        all.push(denied(None));
        Attempt {
            ordinal: u64::MAX,
            trial: trial(),
            number: 7,
            outcome: Outcome::ALL[nth % Outcome::ALL.len()],
            score: Some(0.1),
            checks: vec![Check {
                name: "equals".into(),
                verdict: VERDICTS[nth % VERDICTS.len()],
                score: Some(-0.0),
                message: Some("ü".to_owned()),
                expected: Some(json!({"a": [1, null]})),
                actual: Some(json!(1e300)),
                diff: Some("-a\n+b".to_owned()),
                details: Some(json!(null)),
            }],
            metrics: vec![Metric {
                name: "m".to_owned(),
                value: 5e-324,
                unit: Some("s".to_owned()),
            }],
            output: Some(json!("text")),
            verdict: Some(VERDICTS[nth % VERDICTS.len()]),
            summary: Some(String::new()),
            error: Some(AttemptError {
                class: Some(ErrorClass::ALL[nth % ErrorClass::ALL.len()]),
                code: "code".to_owned(),
                message: "message".to_owned(),
                retry_after: Some(Duration::from_nanos(1)),
                fault: Some(FAULTS[nth % FAULTS.len()]),
            }),
            started_at: "1969-12-31T23:59:59.123456789Z"
                .parse::<Timestamp>()
                .unwrap(),
            duration: Duration::new(3, 999_999_999),
            suspended: Duration::from_millis(5),
            worker: None,
            usage: Usage {
                peak_memory: 1 << 40,
                host_calls: 127,
                http_requests: 128,
                bytes_in: 0,
                bytes_out: u64::MAX,
                fuel: Some(16_384),
            },
            denied: all,
            artifacts: vec![Artifact {
                name: "a.txt".to_owned(),
                media_type: "text/plain".to_owned(),
                content: Arc::new(vec![1, 2, 3]),
            }],
            log: vec![LogRecord {
                at: nth.is_multiple_of(2).then_some(Timestamp::UNIX_EPOCH),
                level: LEVELS[nth % LEVELS.len()],
                message: "said".to_owned(),
                fields: vec![("key".to_owned(), "value".to_owned())],
            }],
            stderr: "stderr".to_owned(),
            stdout: "stdout".to_owned(),
        }
    }

    #[test]
    fn an_attempt_is_read_back_whole_and_no_part_of_one_is() {
        for nth in 0..12 {
            let sent = attempt(nth);
            let mut encoder = Encoder::default();
            encode(&mut encoder, &sent);
            let mut of = |ordinal, number| ((ordinal, number) == (u64::MAX, 7)).then(trial);
            let mut decoder = Decoder::new(&encoder.0);
            let (read, artifacts) = decode(&mut decoder, &mut of).unwrap();
            assert!(decoder.is_at_end());
            let head = ArtifactHead {
                name: "a.txt".to_owned(),
                media_type: "text/plain".to_owned(),
                size: 3,
            };
            assert_eq!(artifacts, [head]);
            let without = Attempt {
                artifacts: Vec::new(),
                ..sent
            };
            assert_eq!(format!("{read:?}"), format!("{without:?}"));
            for cut in 0..encoder.0.len() {
                assert!(decode(&mut Decoder::new(&encoder.0[..cut]), &mut of).is_err());
            }
            assert!(decode(&mut Decoder::new(&encoder.0), &mut |_, _| None).is_err());
        }
    }
}
