//! The plan of a run that exists, from what was stored at its birth: the originals may be changed or gone.

use std::{
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use miette::Diagnostic;
use serde_json::Value;
use thiserror::Error;

use super::{
    ceiling::Ceiling,
    error::PlanError,
    grants,
    plan::{Overrides, Parts, Plan},
    planned::PlannedProvider,
};
use crate::{
    model::Digest,
    plugin::{PluginFile, PluginFileError},
    record::{Manifest, RecordError, RunReader, regular},
    scenario::{self, FailFast, Provider, Selection, Suite},
};

/// Why a run cannot be planned from what was stored with it.
#[derive(Debug, Error, Diagnostic)]
pub enum StoredError {
    /// Something is not in the content store any more.
    #[error("{what} of the run is missing: `{}` cannot be read", path.display())]
    Missing {
        /// What it is.
        what: String,
        /// Where it should be; its name is its digest.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// Something in the content store is not what was put there.
    #[error("{what} of the run was altered: `{}` does not have the digest that is its name", path.display())]
    Altered {
        /// What it is.
        what: String,
        /// Where it is.
        path: PathBuf,
    },
    /// The parts do not make the plan that was begun.
    #[error("the run's plan cannot be made again: its digest is {found}, and was {expected}")]
    #[diagnostic(help(
        "version {version} of the runner began it, and can go on with it if it is another one than this; its results \
         can be read in any case, and `runner exec` begins anew"
    ))]
    Plan {
        /// What the manifest says.
        expected: Digest,
        /// What comes out now.
        found: Digest,
        /// The version that began the run.
        version: String,
    },
    /// A stored plugin is none.
    #[error(transparent)]
    Plugin(#[from] PluginFileError),
    /// The run directory cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The parts do not fit together.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Parts(#[from] PlanError),
}

impl Plan {
    /// Plans a run that exists; `overrides` go before the settings that were stored with it.
    pub fn of_run(run: &RunReader, overrides: &Overrides) -> Result<Self, StoredError> {
        let manifest = run.manifest();
        let text = run.scenario_text()?;
        let path = PathBuf::from(&manifest.scenario.path);
        let scenario = scenario::parse_stored(&path, &text).map_err(PlanError::from)?;
        let overrides = stored_overrides(manifest).overridden_by(overrides);
        let ceiling = Ceiling::parse(&overrides.limits)?;

        let suite = run.content().path(manifest.metadata.suite);
        verify(&suite, manifest.metadata.suite, "the list of tests")?;
        let suite = regular::open(&suite)
            .and_then(|file| Suite::open(file.into_parts().0))
            .map_err(|source| missing("the list of tests", &suite, source))?;
        let providers = scenario.providers().iter();
        let providers = providers
            .map(|definition| stored_provider(run, definition, &ceiling))
            .collect::<Result<_, _>>()?;

        let parts = Parts {
            scenario,
            suite,
            providers,
            overrides,
            selection: Selection::default(),
            path,
        };
        let plan = Self::of_parts(parts, &ceiling)?;
        plan.check_digest(manifest)?;
        plan.check_attachments(run)?;
        Ok(plan)
    }

    fn check_digest(&self, manifest: &Manifest) -> Result<(), StoredError> {
        let expected = manifest.metadata.plan_digest;
        if self.has_digest(expected) {
            return Ok(());
        }
        Err(StoredError::Plan {
            expected,
            found: self.digest(),
            version: manifest.runner_version.clone(),
        })
    }

    /// Attachments are read when their tests run; that they are there is known before.
    fn check_attachments(&self, run: &RunReader) -> Result<(), StoredError> {
        let mut digests = self.suite().attachment_digests();
        digests.try_for_each(|digest| verify(&run.content().path(digest), digest, "an attachment"))
    }
}

impl Overrides {
    /// Puts what `newer` sets before what `self` sets.
    pub fn overridden_by(self, newer: &Self) -> Self {
        Self {
            jobs: newer.jobs.or(self.jobs),
            timeout: newer.timeout.or(self.timeout),
            // Limits decide results, so they stay as they were.
            limits: self.limits,
            fail_fast: newer.fail_fast.or(self.fail_fast),
            grace: newer.grace.or(self.grace),
        }
    }
}

/// Reads back the settings that were stored with a run: what [`Plan::options_json`] has written.
pub fn stored_overrides(manifest: &Manifest) -> Overrides {
    let options = &manifest.options;
    let jobs = options["jobs"]
        .as_u64()
        .and_then(|jobs| usize::try_from(jobs).ok());
    let minutes = options["timeout_minutes"].as_f64();
    let limits = options["limits"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let fail_fast = &options["fail_fast"];
    Overrides {
        jobs: jobs.and_then(NonZeroUsize::new),
        timeout: minutes.and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok()),
        limits: limits
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        fail_fast: match fail_fast {
            Value::Bool(false) => Some(FailFast::Off),
            Value::Number(number) => FailFast::parse(&number.to_string()),
            _ => None,
        },
        grace: options["grace_ms"].as_u64().map(Duration::from_millis),
    }
}

/// Reads back what the command line had selected when a run was born.
pub fn stored_selection(manifest: &Manifest) -> Selection {
    let selection = &manifest.selection;
    let list = |key: &str| {
        let globs = selection[key]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        globs
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    Selection {
        tests: list("tests"),
        providers: list("providers"),
        tags: list("tags"),
        exclude: list("exclude"),
        repeat: selection["repeat"]
            .as_u64()
            .and_then(|repeat| repeat.try_into().ok()),
    }
}

/// Takes a provider's plugin from the content store; `None` for one without trials.
fn stored_provider(
    run: &RunReader,
    definition: &Provider,
    ceiling: &Ceiling,
) -> Result<Option<PlannedProvider>, StoredError> {
    let stored = run.manifest().providers.iter();
    let Some(stored) = stored
        .into_iter()
        .find(|stored| stored.name == definition.id.as_str())
    else {
        return Ok(None);
    };
    let what = format!("the plugin of provider `{}`", definition.id);
    let path = run.content().path(stored.plugin_sha256);
    verify(&path, stored.plugin_sha256, &what)?;
    Ok(Some(PlannedProvider {
        file: PluginFile::read_as(&original_path(definition), &path, u64::MAX)?,
        limits: ceiling.cap(definition.limits),
        mounts: grants::stored_mounts(&stored.grants),
        secrets: Arc::default(),
        definition: definition.clone(),
    }))
}

/// The path that the plugin had, whose file name is a command's `argv[0]`.
fn original_path(definition: &Provider) -> PathBuf {
    let path = &definition.plugin;
    if path
        .extension()
        .is_some_and(|extension| extension == "wasm")
    {
        return path.clone();
    }
    path.join("dist/plugin.wasm")
}

/// Reads a stored file once, piece by piece, and compares it with its name.
fn verify(path: &Path, digest: Digest, what: &str) -> Result<(), StoredError> {
    let found = regular::open(path)
        .and_then(Digest::of_reader)
        .map_err(|source| missing(what, path, source))?;
    if found == digest {
        return Ok(());
    }
    Err(StoredError::Altered {
        what: what.into(),
        path: path.into(),
    })
}

fn missing(what: &str, path: &Path, source: io::Error) -> StoredError {
    StoredError::Missing {
        what: what.into(),
        path: path.into(),
        source,
    }
}
