//! `runner notify`: sends the notifications of ended runs that were not delivered.

use std::time::Duration;

use runner_model::{RunStatus, exit::Exit, units::show_duration, visible::visible_line};
use runner_operations::notify::{Deadline, Receivers, RunNotifications, SendScope, visit_recent};
use runner_operations::settings::Settings;
use runner_record::{NotificationResult, RecordError, now};
use runner_report::schemars::{self, JsonSchema};
use runner_report::{PlannedReceiver, SentNotification, VERSION, short_id};
use runner_scenario::Notify;
use serde::Serialize;

use crate::args::{DocumentArgs, RunArg};
use crate::text::{CommandError, Out, mistake};

/// Send the notifications that were not delivered
#[derive(clap::Args)]
#[command(after_help = "Without RUN, it sends those of all runs that have ended within a day.")]
pub struct Args {
    #[command(flatten)]
    run: RunArg,
    /// Send also those that were delivered, with a new `webhook-id`
    #[arg(long)]
    again: bool,
    /// Print the notifications, and send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    document: DocumentArgs,
}

/// `runner notify`: the notifications that were left.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NotifyDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// Nothing was sent.
    pub dry_run: bool,
    /// The notifications that were left.
    pub notifications: Vec<SentNotification>,
    /// Runs whose notifications could not be sent, and why.
    pub problems: Vec<String>,
}

pub fn run(args: &Args, out: &Out) -> Result<Exit, CommandError> {
    let root = args.document.root.open()?;
    let settings = Settings::read(&root)?;
    settings.ignored.iter().for_each(|why| out.warn(why));
    let mut notifications = Vec::new();
    let mut exit = Exit::Success;
    let mut send = |run: &RunNotifications<'_>, scope| -> Result<(), RecordError> {
        if args.dry_run {
            notifications.extend(run.left(scope)?);
            return Ok(());
        }
        let deadline = Deadline { until: None, is_over: &|| false };
        match run.send(scope, Duration::ZERO, &deadline)? {
            Some(sent) => notifications.extend(sent),
            None => {
                out.warn("another process is sending the notifications of this run");
                exit = Exit::Held;
            }
        }
        Ok(())
    };
    let problems = match args.run.name() {
        Some(name) => {
            let run = root.find(&name)?.for_use()?;
            let manifest = run.truth()?;
            if manifest.status == RunStatus::Running {
                let id = run.id();
                return Err(mistake!("run {id} is running\nits process notifies at its end"));
            }
            let scope = if args.again { SendScope::Again } else { SendScope::All };
            send(&RunNotifications::new(&root, &settings, &run, &manifest), scope)?;
            Vec::new()
        }
        None if args.again => {
            let notify = root.command(&["notify", "latest", "--again"]);
            return Err(mistake!("`--again` needs a run\nfor the newest run: {notify}"));
        }
        None => visit_recent(
            &root,
            &settings,
            now(),
            &|head| head.status != RunStatus::Running,
            &mut |_, run| send(&run, SendScope::Expected),
        )?,
    };
    let document = NotifyDocument { v: VERSION, dry_run: args.dry_run, notifications, problems };
    out.document_or(args.document.json, &document, |document| {
        print(document, out);
        // A warning has said that the receivers of `runner.toml` are left out.
        if document.notifications.is_empty() && settings.ignored.is_none() {
            out.talk(if args.again {
                "no receiver is notified of runs that end like this one"
            } else {
                "no notification is due"
            });
        }
        document.problems.iter().for_each(|problem| out.warn(problem));
    });
    let is_done = args.dry_run || document.notifications.iter().all(SentNotification::is_delivered);
    exit = exit.worse(if is_done { Exit::Success } else { Exit::Bad });
    Ok(exit.worse(if document.problems.is_empty() { Exit::Success } else { Exit::Storage }))
}

fn print(document: &NotifyDocument, out: &Out) {
    for sent in &document.notifications {
        let run = short_id(&sent.run);
        out.data(&format!("{}  {}", visible_line(run), text(sent)));
    }
}

/// Formats a receiver, and the last attempt to notify it.
pub fn text(sent: &SentNotification) -> String {
    let answer = sent.answer.as_deref().unwrap_or_default();
    let result = match sent.result {
        Some(NotificationResult::Delivered) => format!("notified ({answer})"),
        Some(NotificationResult::Refused) if answer.starts_with("HTTP ") => {
            format!("refused ({answer})")
        }
        Some(NotificationResult::Refused | NotificationResult::Failed) => {
            format!("not notified: {answer}")
        }
        None => "not notified yet".to_owned(),
    };
    visible_line(&format!("{}: {result}", sent.to)).into_owned()
}

/// Warns of receivers that cannot be notified. Runs start without them.
pub fn warn(root: &Notify, scenario: &Notify, out: &Out) {
    Receivers::new(root, scenario).mistakes().iter().for_each(|mistake| out.warn(mistake));
}

/// Formats a receiver for a plan.
pub fn planned(receiver: &PlannedReceiver) -> String {
    let mut on: Vec<_> = receiver.on.iter().map(|ending| ending.as_str().to_owned()).collect();
    on.extend(
        receiver.longer_than_ms.map(|ms| {
            format!("longer than {}", show_duration(Duration::from_secs_f64(ms / 1000.0)))
        }),
    );
    let source = if receiver.is_of_scenario { "scenario" } else { "runner.toml" };
    format!("notifies {} ({source}): {}", visible_line(&receiver.to), on.join(", "))
}
