//! [`AttemptTools`]: the tools that the guest of one attempt may call.

use std::{fmt, fs, sync::Arc};

use runner_model::row::RowError;
use runner_model::{ErrorClass, TrialId};
use runner_sandbox::{
    Activity, Call, Ended, Ending, Inside, ListedTool, RunningTool, Toolbox, failure,
};
use serde_json::value::RawValue;

use crate::judge::max_tree_bytes;
use crate::provider::{Filled, LoadedProvider, Tools};
use crate::redact_row::redact;

/// The tools of an attempt.
pub struct AttemptTools {
    pub tools: Arc<Tools>,
    pub trial: TrialId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    pub seed: u32,
}

impl Toolbox for AttemptTools {
    fn list(&self) -> &[ListedTool] {
        self.tools.listed()
    }

    fn run<'a>(&'a self, tool: usize, input: &'a str, inside: Inside) -> RunningTool<'a> {
        Box::pin(async move {
            let tool = self.tools.loaded(tool);
            let mut ended = match self.fill(tool, input) {
                Ok(filled) => self.call(tool, input, filled, inside).await,
                Err(error) => Ended::without_sandbox(Ending::Error(error)),
            };
            let cost = tool.settings.cost(&ended.reported);
            ended.reported.extend(cost);
            if let Some(redactor) = tool.access.secrets.redactor() {
                redact(redactor, &mut ended, max_tree_bytes(tool.settings.limits.reply));
            }
            ended
        })
    }
}

impl AttemptTools {
    /// Checks the input of a call, and fills the templates of the tool.
    fn fill(&self, tool: &LoadedProvider, input: &str) -> Result<Filled, RowError<'static>> {
        let refuse = |message: String| failure(ErrorClass::InvalidInput, "input", message);
        if let Some(reasons) = tool.refusal(input) {
            return Err(refuse(format!("it refuses the input: {reasons}")));
        }
        let input: &RawValue =
            serde_json::from_str(input).map_err(|error| refuse(error.to_string()))?;
        tool.fill(input, &self.trial, &[], |path| fs::read(path))
    }

    async fn call(
        &self,
        tool: &LoadedProvider,
        input: &str,
        filled: Filled,
        inside: Inside,
    ) -> Ended {
        let limits = &tool.settings.limits;
        let call = Call {
            trial: &self.trial.to_string(),
            test: &self.trial.test,
            provider: &self.trial.provider,
            repeat: self.trial.repeat,
            attempt: self.attempt,
            seed: self.seed,
            random: None,
            input,
            config: &tool.config,
            tags: &[],
            files: &[],
            env: &filled.env,
            access: &tool.access,
            // The status line shows the caller's activity.
            activity: &Activity::default(),
            command: filled.command,
            limits,
            timeout: inside.rest,
            deterministic: None,
            workspace: None,
            journal: None,
            records: None,
            tools: None,
            inside: Some(inside),
        };
        tool.plugin.run(&mut None, call).await
    }
}

impl fmt::Debug for AttemptTools {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.tools.listed().iter().map(|tool| &tool.name)).finish()
    }
}
