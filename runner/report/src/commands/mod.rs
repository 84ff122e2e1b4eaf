//! Documents of commands that show no results: events, previews, requests, upkeep and plugins.

mod event;
mod merge;
mod notify;
mod plugin;
mod preview;
mod queue;
mod upkeep;
pub(crate) mod verify;

pub use event::{Event, NumberedEvent};
pub use merge::MergeDocument;
pub use notify::{
    Notification, NotificationKind, NotifyDocument, PlannedReceiver, ReceiverKind, SentNotification,
};
pub use plugin::{DoctorDocument, GradeDocument, InspectDocument, PluginRunDocument, ToolStatus};
pub use preview::{PlanLine, PlanPart, RescoreChange, RescoreLine, ResumeLine, ScenarioProblem};
pub use queue::{
    QueueChange, QueueDocument, QueueEntry, QueueResult, QueueRun, QueueStep, StepResult,
};
pub use upkeep::{CleanupDocument, DeadRun, PruneDocument, RequestResult, Started};
pub use verify::VerifyDocument;
