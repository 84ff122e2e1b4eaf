//! `validate`: checks a scenario and its plugins, and runs nothing.

use std::time::Duration;

use runner_model::Places;
use runner_scenario::Selection;

use crate::{
    EngineError, Validated,
    coordinator::Input,
    crew::{Crew, Early, News},
    exec::plan,
    plan::Shape,
    session::machine,
};

/// Plugins describe themselves within some seconds, but one may have to be compiled first.
const WITHIN: Duration = Duration::from_secs(300);

/// Reads a scenario with its lists, and lets a worker load and describe its plugins.
pub(crate) fn validate(early: Early, scenario: &std::path::Path) -> Result<Validated, EngineError> {
    let (plan, _) = plan(scenario, &Selection::default(), None)?;
    let shape = Shape {
        slots: 1,
        memory: crate::machine::memory(),
    };
    let crew = Crew::new(early, &plan, 1, &[shape], None);
    let (mut crew, inputs) = crew.map_err(machine)?;
    let mut news = Vec::new();
    loop {
        match inputs.recv_timeout(WITHIN) {
            Ok(Input::Link(worker, event)) => crew.hear(worker, event, &mut news),
            Ok(Input::Compiled(digest, result)) => crew.compiled(digest, result, &mut news),
            Ok(_) => {}
            Err(_) => {
                let problem = "the plugins did not describe themselves in time";
                return Err(EngineError::Usage(problem.to_owned()));
            }
        }
        for news in news.drain(..) {
            match news {
                News::Failed(_, message) => return Err(EngineError::Usage(message)),
                News::Described(_) => {
                    crew.finish();
                    crew.wait(&inputs);
                    return Ok(Validated {
                        name: plan.scenario.name.clone(),
                        tests: plan.suite.tests(),
                        trials: plan.suite.trials(),
                        providers: plan.providers.len() as u64,
                    });
                }
                _ => {}
            }
        }
    }
}
