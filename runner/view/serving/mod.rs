//! What `runner serve` answers with, beside the documents of the command line.

mod metrics;
mod runs;
mod server;
mod trials;

pub use metrics::{MeasuredMetric, MeasuredProvider, MetricsMaker, RunMetrics};
pub use runs::{
    ActionKind, BegunRun, RunAction, RunOpened, RunPage, RunProgress, RunWaiting, RunsPage,
    StartPlan,
};
pub use server::{FoundScenario, RetentionPlan, ScenarioList, ServerInfo};
pub use trials::{
    ListedTrial, MatrixTest, ProviderCell, ProviderLatency, RunSeries, SeriesBin, TrialMatrix,
    TrialsPage,
};
