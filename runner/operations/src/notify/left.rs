//! [`RunNotifications`]: finds and sends the notifications of a run that are left.

use std::{collections::HashSet, ffi::OsString, path, time::Duration};

use runner_model::{Time, digest};
use runner_record::{
    Manifest, NotificationLine, NotificationResult, NotifiedEvent, RecordError, ResultsRoot,
    RunDir, RunHead, now,
};
use runner_report::{Notification, RunSummary, SentNotification, json::one_line, plan, short_of};

use super::attempt::{Attempt, Deadline, Message};
use super::receiver::{Receiver, Receivers};
use super::send::send_all;
use crate::settings::Settings;

/// Pause of upkeep after a failed attempt. After [`EARLY`] attempts it doubles, up to an hour.
const PAUSE: Duration = Duration::from_secs(60);
const EARLY: u32 = 5;
/// Longest pause that a receiver may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// A selection of notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendScope {
    /// All, including delivered ones, which get a new id.
    Again,
    /// All that have not been delivered.
    All,
    /// The same except refused ones. If `runner.toml` has changed since the run's end, its receivers count only after a failed
    /// attempt: a new receiver is not notified of old runs.
    Expected,
    /// Expected notifications without a recent attempt.
    Due(Time),
}

/// The notifications of a run.
pub struct RunNotifications<'a> {
    root: &'a ResultsRoot,
    run: &'a RunDir,
    manifest: &'a Manifest,
    receivers: Receivers,
    /// Last change of `runner.toml`.
    changed: Option<Time>,
}

impl<'a> RunNotifications<'a> {
    /// Reads the receivers of a run: those of the results root, and those of the stored scenario.
    pub fn new(
        root: &'a ResultsRoot,
        settings: &Settings,
        run: &'a RunDir,
        manifest: &'a Manifest,
    ) -> Self {
        let of_scenario = plan::scenario(run, manifest).map(|scenario| scenario.notify);
        let receivers = Receivers::new(&settings.keys.notify, &of_scenario.unwrap_or_default());
        Self { root, run, manifest, receivers, changed: settings.changed }
    }

    /// Returns a warning for each receiver that cannot be notified before its settings are changed.
    pub fn mistakes(&self) -> Vec<String> {
        self.receivers.mistakes()
    }

    /// Returns the longest time that the process of a session waits.
    pub fn wait(&self) -> Duration {
        self.receivers.wait
    }

    /// Leaves out webhooks of these hosts, and commands of these programs.
    pub fn leave_out(&mut self, names: &HashSet<String>) {
        self.receivers.all.retain(|receiver| !names.contains(&receiver.to_string()));
    }

    /// Returns the notifications that are left, without sending them.
    pub fn left(&self, scope: SendScope) -> Result<Vec<SentNotification>, RecordError> {
        let lines = self.run.notifications()?;
        let left = self.select(scope, &lines);
        Ok(left.into_iter().map(|(receiver, event)| self.unsent(receiver, event, &lines)).collect())
    }

    /// Sends the notifications that are left. `None` if another process still sends those of the run after `patience`.
    pub fn send(
        &self,
        scope: SendScope,
        patience: Duration,
        deadline: &Deadline<'_>,
    ) -> Result<Option<Vec<SentNotification>>, RecordError> {
        // Most runs have no notifications left, and need no log.
        if self.select(scope, &self.run.notifications()?).is_empty() {
            return Ok(Some(Vec::new()));
        }
        let Some(mut log) = self.run.lock_notifications(patience)? else { return Ok(None) };
        let lines = self.run.notifications()?;
        let left = self.select(scope, &lines);
        let mut sent: Vec<_> =
            left.iter().map(|(receiver, event)| self.unsent(receiver, *event, &lines)).collect();
        let with_ids: Vec<_> = left
            .iter()
            .map(|(receiver, event)| (*receiver, self.id(receiver, *event, &lines)))
            .collect();
        let mut written = Ok(());
        send_all(&with_ids, &self.message(), deadline, |index, attempt| {
            let (receiver, id) = &with_ids[index];
            let sent = &mut sent[index];
            let (result, answer, retry_after) = match attempt {
                Attempt::Delivered(answer) => (NotificationResult::Delivered, answer, None),
                Attempt::Refused(answer) => (NotificationResult::Refused, answer, None),
                Attempt::Failed { answer, retry_after } => {
                    (NotificationResult::Failed, answer, retry_after)
                }
            };
            sent.attempts += 1;
            sent.result = Some(result);
            sent.answer = Some(answer.clone());
            let line = NotificationLine {
                retry_after_ms: retry_after.map(|time| time.min(LONGEST_PAUSE).as_millis() as u32),
                ..self.line(receiver, id, sent.event, result, answer)
            };
            if written.is_ok() {
                written = log.append(&line);
            }
        });
        written.map(|()| Some(sent))
    }

    /// Returns the receivers that are notified of the run's state, and for which a notification is left.
    fn select(
        &self,
        scope: SendScope,
        lines: &[NotificationLine],
    ) -> Vec<(&Receiver, NotifiedEvent)> {
        let all = self.receivers.all.iter();
        all.filter_map(|receiver| {
            let event = receiver.event(self.manifest)?;
            let attempts = lines.iter().filter(|line| line.receiver == receiver.key);
            let attempts: Vec<_> = attempts.filter(|line| line.event == event).collect();
            self.is_left(receiver, &attempts, scope).then_some((receiver, event))
        })
        .collect()
    }

    /// Returns whether a notification is left after these attempts to notify a receiver of the event.
    fn is_left(
        &self,
        receiver: &Receiver,
        attempts: &[&NotificationLine],
        scope: SendScope,
    ) -> bool {
        let run = self.manifest;
        if scope == SendScope::Again {
            return true;
        }
        let delivered =
            attempts.iter().rev().find(|line| line.result == NotificationResult::Delivered);
        // A session that ends like the one before needs no notification. Each long session needs one.
        if delivered.is_some_and(|line| {
            let ending = (line.status, line.reason, line.verdict);
            line.session == self.manifest.last_session()
                || line.event == NotifiedEvent::End
                    && ending == (run.status, run.reason, run.verdict)
        }) {
            return false;
        }
        let mut tried = attempts.iter().filter(|line| line.session == self.manifest.last_session());
        let is_new = !receiver.is_of_scenario
            && run.completed_at.zip(self.changed).is_some_and(|(ended, changed)| ended < changed);
        let count = tried.clone().count() as u32;
        let last = tried.next_back();
        let is_expected = last.map_or(!is_new, |line| line.result != NotificationResult::Refused);
        let pause = PAUSE * 2_u32.pow(count.saturating_sub(EARLY).min(6));
        match scope {
            SendScope::Again | SendScope::All => true,
            SendScope::Expected => is_expected,
            SendScope::Due(now) => {
                is_expected
                    && last.is_none_or(|line| {
                        let requested = line.retry_after_ms.unwrap_or_default().into();
                        let pause = pause.max(Duration::from_millis(requested));
                        now < line.at || now.since(line.at) >= pause
                    })
            }
        }
    }

    /// Returns the id of a notification, the same for each attempt until it is delivered.
    fn id(&self, receiver: &Receiver, event: NotifiedEvent, lines: &[NotificationLine]) -> String {
        let attempts = self.attempts(receiver, event, lines);
        let deliveries =
            attempts.filter(|line| line.result == NotificationResult::Delivered).count();
        let (run, session, key) = (self.manifest, self.manifest.last_session(), &receiver.key);
        let of = format!("{} {} {session} {event:?} {key} {deliveries}", run.id, run.started_at);
        format!("msg_{}", &digest(of.as_bytes()).to_string()[..24])
    }

    /// Returns the attempts to notify a receiver of an event of the last session.
    fn attempts<'l>(
        &self,
        receiver: &Receiver,
        event: NotifiedEvent,
        lines: &'l [NotificationLine],
    ) -> impl DoubleEndedIterator<Item = &'l NotificationLine> {
        let session = self.manifest.last_session();
        lines.iter().filter(move |line| {
            line.receiver == receiver.key && line.event == event && line.session == session
        })
    }

    fn unsent(
        &self,
        receiver: &Receiver,
        event: NotifiedEvent,
        lines: &[NotificationLine],
    ) -> SentNotification {
        let last = self.attempts(receiver, event, lines).next_back();
        SentNotification {
            run: self.manifest.id.clone(),
            event,
            kind: receiver.kind(),
            to: receiver.to_string(),
            result: last.map(|line| line.result),
            answer: last.map(|line| line.answer.clone()),
            attempts: 0,
        }
    }

    fn line(
        &self,
        receiver: &Receiver,
        id: &str,
        event: NotifiedEvent,
        result: NotificationResult,
        answer: String,
    ) -> NotificationLine {
        NotificationLine {
            at: now(),
            session: self.manifest.last_session(),
            event,
            to: receiver.to_string(),
            receiver: receiver.key.clone(),
            id: id.to_owned(),
            status: self.manifest.status,
            reason: self.manifest.reason,
            verdict: self.manifest.verdict,
            result,
            answer,
            retry_after_ms: None,
        }
    }

    fn message(&self) -> Message {
        let run = self.manifest;
        // The path of a root may be relative to the folder of this process.
        let folder = path::absolute(self.root.path());
        let folder = folder.unwrap_or_else(|_| self.root.path().to_owned());
        let run_dir = folder.join(&run.id);
        let short = short_of(self.root, &run.id);
        let summary = RunSummary::new(RunHead::from(run), short, run_dir.clone());
        let text = |text: &str| OsString::from(text);
        let reason = run.reason.map_or("", |reason| reason.as_str());
        Message {
            body: one_line(&Notification::new(summary, now())),
            variables: vec![
                ("RUNNER_RUN", text(&run.id)),
                ("RUNNER_RUN_DIR", run_dir.into_os_string()),
                ("RUNNER_RESULTS", folder.clone().into_os_string()),
                ("RUNNER_SCENARIO", text(&run.scenario)),
                ("RUNNER_STATUS", text(run.status.as_str())),
                ("RUNNER_REASON", text(reason)),
                ("RUNNER_VERDICT", text(run.verdict.as_str())),
            ],
            folder,
            secrets: self.secrets(),
        }
    }

    /// Returns the names of the run's secrets, and of those of the receivers.
    fn secrets(&self) -> Vec<String> {
        let providers = self.manifest.providers.iter();
        let granted = providers.flat_map(|provider| provider.grants.secret_names());
        granted.chain(self.receivers.all.iter().flat_map(Receiver::secrets)).collect()
    }
}
