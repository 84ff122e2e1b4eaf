//! The plan of a run that exists, from what was stored when it began: the originals may be changed or gone.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use miette::Diagnostic;
use thiserror::Error;

use super::{
    ceiling::Ceiling,
    error::PlanError,
    planned::{Plan, PlanParts, PlannedGrader, PlannedProvider},
};
use crate::{
    model::{Digest, bundled_name},
    plugin::{PluginFile, PluginFileError},
    record::{Manifest, ManifestProvider, RecordError, RunReader, regular},
    run::grants,
    scenario::{self, Grader, Provider, RunOptions, Selection, Suite},
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
    pub fn of_run(run: &RunReader, overrides: &RunOptions) -> Result<Self, StoredError> {
        let manifest = run.manifest();
        let overrides = RunOptions::of_stored(&manifest.options).resumed_with(overrides);
        let plan = Self::of_stored(run, overrides, || stored_suite(run))?;
        plan.check_digest(manifest)?;
        plan.check_attachments(run)?;
        Ok(plan)
    }

    /// Makes a plan of the scenario and the plugins that a run has stored, and of the list of tests that `suite` opens. Whether
    /// it is the run's own is to be checked by its digest.
    pub(super) fn of_stored(
        run: &RunReader,
        overrides: RunOptions,
        suite: impl FnOnce() -> Result<Suite, StoredError>,
    ) -> Result<Self, StoredError> {
        let text = run.scenario_text()?;
        let path = PathBuf::from(&run.manifest().scenario.path);
        let scenario = scenario::parse_stored(&path, &text).map_err(PlanError::from)?;
        let ceiling = Ceiling::of(&overrides)?;
        let suite = suite()?;
        let providers = scenario.providers().iter();
        let providers = providers
            .map(|definition| stored_provider(run, definition, &ceiling))
            .collect::<Result<_, _>>()?;
        let graders = scenario.graders().iter();
        let graders = graders
            .map(|definition| stored_grader(run, definition, &ceiling))
            .collect::<Result<_, _>>()?;
        let parts = PlanParts {
            scenario,
            suite,
            whole: None,
            providers,
            graders,
            overrides,
            selection: Selection::default(),
            path,
        };
        Ok(Self::of_parts(parts, &ceiling)?)
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

/// Opens the list of tests, which is hashed while it is read: it is long.
fn stored_suite(run: &RunReader) -> Result<Suite, StoredError> {
    const WHAT: &str = "the list of tests";
    let digest = run.manifest().metadata.suite;
    let path = run.content().path(digest);
    let file = regular::open(&path).map_err(|source| missing(WHAT, &path, source))?;
    let altered = || StoredError::Altered {
        what: WHAT.into(),
        path: path.clone(),
    };
    match Suite::open(file.into_parts().0) {
        Ok(suite) if suite.digest() == digest => Ok(suite),
        Ok(_) => Err(altered()),
        Err(source) => {
            // What was altered is mostly no list any more.
            verify(&path, digest, WHAT)?;
            Err(missing(WHAT, &path, source))
        }
    }
}

/// Takes a provider's plugin from the content store; `None` for one without trials.
fn stored_provider(
    run: &RunReader,
    definition: &Provider,
    ceiling: &Ceiling,
) -> Result<Option<PlannedProvider>, StoredError> {
    stored_plugin(
        run,
        &run.manifest().providers,
        definition,
        "provider",
        ceiling,
    )
}

/// Takes a grader's plugin from the content store; `None` for one that no test names.
fn stored_grader(
    run: &RunReader,
    definition: &Grader,
    ceiling: &Ceiling,
) -> Result<Option<PlannedGrader>, StoredError> {
    let (of, stored) = (&definition.provider, &run.manifest().graders);
    let plugin = stored_plugin(run, stored, of, "grader", ceiling)?;
    Ok(plugin.map(|plugin| PlannedGrader {
        definition: definition.clone(),
        plugin,
    }))
}

fn stored_plugin(
    run: &RunReader,
    stored: &[ManifestProvider],
    definition: &Provider,
    role: &str,
    ceiling: &Ceiling,
) -> Result<Option<PlannedProvider>, StoredError> {
    let mut stored = stored.iter();
    let Some(stored) = stored.find(|stored| stored.name == definition.id.as_str()) else {
        return Ok(None);
    };
    let what = format!("the plugin of {role} `{}`", definition.id);
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
    let is_file = path
        .extension()
        .is_some_and(|extension| extension == "wasm");
    if is_file || bundled_name(path).is_some() {
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

pub(super) fn missing(what: &str, path: &Path, source: io::Error) -> StoredError {
    StoredError::Missing {
        what: what.into(),
        path: path.into(),
        source,
    }
}
