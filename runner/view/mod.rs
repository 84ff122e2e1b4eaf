//! Typed documents: what `--json` prints, and what text on a screen is made of.
//!
//! A document is a value with a schema in `schemas/`. Whatever tells people or programs of a run makes one and hands it
//! over; `output` lays it out as text, and a program gets the same value as JSON. Durations are in milliseconds, sizes in
//! bytes, instants in UTC; what is not known is `null`.

mod activity;
mod attempt_logs;
mod cells;
mod compare;
mod compare_groups;
mod ended;
mod events;
mod fleet;
mod grades;
mod inspection;
mod live;
mod merge;
mod notification;
mod page;
mod paused;
mod plan;
mod providers;
mod queue;
mod rehearsal;
mod report;
mod rescoring;
mod schemas;
mod serving;
mod statistics;
mod summary;
mod tools;
mod trends;
mod trial;
mod upkeep;
mod version;
mod written;

pub use activity::{ComingAttempt, GuestPhase, InFlightAttempt, PlacedAttempt, RunActivity};
pub use attempt_logs::{SpokenAttempt, SpokenAttempts, SpokenGrader, said_line, said_record};
pub use cells::TrialCells;
pub use compare::{
    CaseClass, CaseCounts, CaseSide, ComparedCase, ComparedMeasure, ComparedPart, ComparedProvider,
    ComparedRun, Comparison, MeasureKind, MeasureTest, MeasureWords, UnfairComparison, UnfairKind,
};
pub use compare_groups::{Compared, GroupComparison};
pub use ended::EndedRun;
pub use events::{EventLine, Longest, StreamEvent, events_schema};
pub use fleet::{EngineCleaning, EngineReport, ListedWorker, WorkerList};
pub use grades::{
    GraderResult, MetricSum, TrialGrade, grade_costs, grade_words, measured_words, plain_checks,
    score_words,
};
pub use inspection::{CompiledPlugin, PluginDescription, PluginImport, PluginInspection};
pub use live::{Death, GradedAtDeath, LiveSession};
pub use merge::{MergeOutcome, MergeReport, MergedShard};
pub use notification::{NotifiedTarget, NotifyReport, RunNotification};
pub use page::{PageAttempt, PageFile, PlannedTest, TrialPage};
pub use paused::PausedDocument;
pub use plan::{PlanHead, PlanLine, PlanPart, PlannedAccess};
pub use providers::ProviderSummary;
pub use queue::{QueueChange, QueueStep, QueuedRun, RunQueue};
pub use rehearsal::{
    RehearsalRepeats, RehearsalReport, RehearsalTimes, RehearsalUsage, RehearsedArtifact,
    RehearsedCheck, RehearsedDenial, RehearsedError, RehearsedGrade, RehearsedMetric,
    RehearsedRecord, TimeSpread,
};
pub use report::{
    ProviderResult, ReportHead, ReportLine, ReportTrial, RunReport, TrialDetails, TrialEvidence,
};
pub use rescoring::{
    KeptTrial, MAX_RESCORED, RescoreCounts, RescoreReport, RescoredCheck, RescoredTrial,
    UngradedTrial,
};
pub use schemas::{SCHEMAS, schema};
pub use serving::{
    ActionKind, BegunRun, FoundScenario, ListedTrial, MatrixTest, MeasuredMetric, MeasuredProvider,
    MetricsMaker, ProviderCell, ProviderLatency, RetentionPlan, RunAction, RunMetrics, RunOpened,
    RunPage, RunProgress, RunSeries, RunWaiting, RunsPage, ScenarioList, SeriesBin, ServerInfo,
    StartPlan, TrialMatrix, TrialsPage,
};
pub use statistics::{GroupStatistics, MetricSpread, SeveralAttempts, SpreadSummary};
pub use summary::{RunDetail, RunHistory, RunList, RunSummary, ShownRow, ShownRun};
pub use tools::{ToolList, ToolState};
pub use trends::{SlowerTest, TestTrend, TestTrends, TrendOutcome, TrendRun};
pub use trial::{AttemptName, PlannedTrial, TrialBefore};
pub use upkeep::{
    CleanupReport, DoomedRun, FailedPath, FoundDamage, Leftover, PruneReport, SizedCount,
    SparedRun, SweptRun, UpkeepMode, VerifyReport,
};
pub use version::DocumentVersion;
pub use written::worked_between;
