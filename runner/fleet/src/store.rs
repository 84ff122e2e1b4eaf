//! [`WorkerStore`]: the folders, the plugin cache and the secrets of a worker's machine. Checks the setup of processes for runs
//! from other machines, and fetches their content.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, DirBuilder, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, atomic::AtomicBool};
use std::{env, os::unix::fs::DirBuilderExt as _, time::Instant};

use runner_model::cache::{CodeForm, is_compile_key};
use runner_model::provider::{PreparedProvider, code_forms};
use runner_model::{Digest, Grants, prepare::Prepare, units::show_size, visible::shown_path};
use runner_prepare::mounts::{self, FolderReader, Protected};
use runner_prepare::{PrepareError, Secrets, compiler, machine};
use runner_record::{PluginCache, Scratch};
use tokio::{sync::Mutex, task::spawn_blocking};

use crate::broker::{Broker, lock};
use crate::{ceiling::Ceiling, error::FleetError, wire::shown};

/// Maximum size of a plugin, attachment, schema or large test, in bytes.
const MAX_BLOB: u64 = 4 << 30;

/// Slots and memory of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessShape {
    pub(crate) slots: u32,
    /// Memory of all guests together, in bytes.
    pub(crate) memory: u64,
}

/// The folders, the plugin cache and the secrets of a worker's machine.
pub(crate) struct WorkerStore {
    ceiling: Ceiling,
    secret_files: Vec<PathBuf>,
    cache: PluginCache,
    /// Contains a temporary folder for each running session and process.
    folder: PathBuf,
    /// Cache entries that this worker has compiled, each with the time at which it was finished. Locked while a compiler runs.
    compiled: Mutex<HashMap<String, Instant>>,
    /// Locked while granted folders are read.
    folders: std::sync::Mutex<()>,
}

/// The folder of attachments, schemas and large tests of a session. `None` before its first process is set up.
pub(crate) type Shared = std::sync::Mutex<Option<Arc<Scratch>>>;

/// Reason why content is not available.
#[derive(Debug)]
pub(crate) enum Missing {
    /// The broker does not have the content, or has different content under its digest.
    NotFetched(String),
    /// The content was not fetched, and the pause after it is over.
    Postponed,
    /// The content cannot be used on this machine.
    Unusable(String),
}

impl WorkerStore {
    /// Opens the store, and removes folders that killed workers left. Creates `folder` if it is missing.
    pub(crate) fn open(
        mut ceiling: Ceiling,
        secret_files: Vec<PathBuf>,
        folder: Option<PathBuf>,
    ) -> Result<Self, FleetError> {
        let folder = folder.unwrap_or_else(env::temp_dir);
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        let absolute = created.and_then(|()| {
            ceiling.limit_scratch(&folder)?;
            fs::canonicalize(&folder)
        });
        let folder = absolute.map_err(|error| {
            let folder = shown_path(&folder);
            FleetError::Usage(format!(
                "cannot use the folder `{folder}`: {error}; name another one with `--store`"
            ))
        })?;
        let cache = PluginCache::open().map_err(|error| FleetError::Usage(error.to_string()))?;
        let compiled = Mutex::default();
        let folders = std::sync::Mutex::default();
        let store = Self { ceiling, secret_files, cache, folder, compiled, folders };
        store.sweep();
        Ok(store)
    }

    /// Returns messages about secrets, folders and memory that the flags allow and this machine lacks. `memory` is the value of
    /// `--memory`, in bytes.
    pub(crate) fn notices(&self, memory: u64) -> Vec<String> {
        let mut notices = self.ceiling.notices(|name| self.may_have(name));
        let machine = machine::memory() / 3 * 4;
        if memory > machine {
            let memory = show_size(memory);
            let machine = show_size(machine);
            notices.push(format!("`--memory` is {memory}, but this machine has {machine}"));
        }
        notices
    }

    /// Returns whether a secret is set in the environment or named in a file. [`Secrets::read`] checks the files for each run.
    fn may_have(&self, secret: &str) -> bool {
        env::var_os(secret).is_some_and(|value| !value.is_empty())
            || self.secret_files.iter().any(|file| {
                !file.is_file()
                    || fs::read_to_string(file).unwrap_or_default().lines().any(|line| {
                        let name = line.split('=').next().unwrap_or_default().trim();
                        name.strip_prefix("export ").unwrap_or(name).trim() == secret
                    })
            })
    }

    /// Removes folders that killed workers left. Keeps folders younger than a minute.
    pub(crate) fn sweep(&self) {
        Scratch::sweep(&self.folder);
    }

    /// Creates a private folder that is removed on drop.
    fn new_folder(&self) -> Result<Scratch, String> {
        Scratch::make(&self.folder).map_err(|error| format!("cannot create a folder: {error}"))
    }

    /// Checks the setup of a process, and creates its folders. `shared` belongs to the process's session.
    ///
    /// # Errors
    ///
    /// The reason why the worker declines the run.
    pub(crate) fn set_up(
        &self,
        prepare: Prepare,
        shape: ProcessShape,
        shared: &Shared,
    ) -> Result<(Prepare, ProcessFolders), String> {
        let mut prepare = self.fill(prepare, shape)?;
        let blobs = {
            let mut shared = lock(shared);
            let blobs = match shared.take() {
                Some(blobs) => blobs,
                None => Arc::new(self.new_folder()?),
            };
            Arc::clone(shared.insert(blobs))
        };
        let folders = ProcessFolders { scratch: self.new_folder()?, blobs };
        for (path, folder) in
            [(&mut prepare.blobs, folders.blobs()), (&mut prepare.scratch, folders.scratch())]
        {
            *path = path_text(&folder)?;
            fs::create_dir_all(&folder)
                .map_err(|error| format!("cannot create a folder: {error}"))?;
        }
        Ok((prepare, folders))
    }

    /// Checks the setup of a process against the ceiling, and fills in the values of this machine. Creates nothing.
    ///
    /// # Errors
    ///
    /// The reason why the worker declines the run.
    fn fill(&self, prepare: Prepare, shape: ProcessShape) -> Result<Prepare, String> {
        let mut providers = prepare.providers;
        let all = providers.iter().map(|prepared| &prepared.provider);
        let tested = all.clone().enumerate().filter(|(_, one)| one.is_tested());
        let called = tested.flat_map(|(place, one)| one.tools(all.clone()).chain([place]));
        let called: HashSet<_> = called.collect();
        let others = providers.iter_mut().enumerate().filter(|(place, _)| !called.contains(place));
        for (_, prepared) in others {
            // Graders and their tools run on the coordinator's machine, but a hostile coordinator could send attempts of graders.
            prepared.provider.grants = Grants::default();
            prepared.provider.limits = self.ceiling.lowered(&prepared.provider.limits);
            prepared.mounts.clear();
        }
        if let Some(refusal) = self.ceiling.refusal(&providers) {
            return Err(refusal);
        }
        let all = providers.iter().map(|prepared| &prepared.provider);
        let attempts = all.clone().filter(|provider| provider.is_tested());
        let largest = attempts.map(|provider| {
            provider.limits.all_memory().saturating_add(provider.tool_memory(all.clone()))
        });
        let largest = largest.max().unwrap_or(0);
        if largest > shape.memory {
            let largest = show_size(largest);
            let memory = show_size(shape.memory);
            return Err(format!(
                "a provider needs {largest} of memory, and a process of the worker has {memory}; start it with more \
                 `--memory` or fewer `--jobs`"
            ));
        }
        let secrets = Secrets::read(&providers, None, &self.secret_files);
        let secrets = secrets.map_err(|error| error.to_string())?;
        if let Some((_, name)) = secrets.missing.first() {
            return Err(format!(
                "secret `{name}` has no value on the worker's machine; set it there, or add `--secret-file`"
            ));
        }
        let problems = mounts::find(&mut providers, Path::new("/"), || self.protected());
        if let Some(problem) = problems.first() {
            return Err(format!("on the worker's machine, {}", problem.message));
        }
        let changed = {
            // Processes need the same folders, and the second one finds the digests of files in the cache.
            let _one = lock(&self.folders);
            FolderReader::new(&self.cache).changed(&providers)
        };
        if let Some(folder) = changed.first() {
            return Err(format!(
                "on the worker's machine, {folder} has other files than on that of the run; copy them"
            ));
        }
        Ok(Prepare {
            run: prepare.run,
            session: prepare.session,
            cache: path_text(self.cache.path())?,
            blobs: String::new(),
            scratch: String::new(),
            slots: prepare.slots.clamp(1, shape.slots),
            grader_slots: 0,
            memory: prepare.memory.min(shape.memory),
            grace: prepare.grace,
            describe: false,
            quick: false,
            providers,
            secrets: secrets.values,
        })
    }

    /// Returns the files and folders that no guest may write to.
    fn protected(&self) -> Vec<Protected> {
        let mut all = Protected::for_process(&self.cache);
        all.push(Protected::file("the worker's store", &self.folder));
        let files = self.secret_files.iter();
        all.extend(files.map(|file| Protected::file("a file with secrets", file)));
        all
    }

    /// Fetches a plugin into `folder` and compiles it. Does nothing if another process has compiled the
    /// plugin while this call waited.
    pub(crate) async fn compile(
        &self,
        broker: &Broker,
        digest: Digest,
        key: String,
        RunPlugin { most, forms }: RunPlugin,
        folder: PathBuf,
        cancelled: Arc<AtomicBool>,
    ) -> Result<(), Missing> {
        let requested = Instant::now();
        // One compiler at a time: it has several threads, and processes need the same plugins.
        let mut compiled = self.compiled.lock().await;
        let names: Vec<_> = forms.iter().map(|form| form.entry_name(&digest, &key)).collect();
        let is_new = |name: &String| compiled.get(name).is_some_and(|at| *at >= requested);
        if !is_compile_key(&key) || names.iter().all(is_new) {
            return Ok(());
        }
        let path = folder.join(format!("plugin-{digest}"));
        let fetched = fetch(broker, &digest, &path, most).await;
        let opened = fetched.and_then(|()| File::open(&path).map_err(|error| unusable(&error)));
        let _ = fs::remove_file(&path);
        let plugin = opened?;
        let cache = self.cache.clone();
        let make = move || compiler::compile(&cache, &digest, &plugin, &key, &forms, &cancelled);
        let made = spawn_blocking(make).await.map_err(|error| unusable(&error))?;
        made.map_err(|error| match error {
            PrepareError::Refused(why) | PrepareError::Interrupted(why) => {
                Missing::Unusable(format!("cannot use a plugin, which {why}"))
            }
            error => unusable(&error),
        })?;
        compiled.extend(names.into_iter().map(|name| (name, Instant::now())));
        Ok(())
    }
}

/// What the providers of a run need of a plugin.
#[derive(Clone, Default)]
pub(crate) struct RunPlugin {
    /// Most bytes.
    pub(crate) most: u64,
    pub(crate) forms: Vec<CodeForm>,
}

impl RunPlugin {
    /// Returns the plugins of a run by their digests.
    pub(crate) fn all(providers: &[PreparedProvider]) -> BTreeMap<Digest, Self> {
        let mut plugins = BTreeMap::<_, Self>::new();
        for PreparedProvider { provider, digest, .. } in providers {
            let plugin = plugins.entry(*digest).or_default();
            plugin.most = provider.limits.file.max(plugin.most);
            plugin.forms = code_forms(providers, digest, false);
        }
        plugins
    }
}

/// The folders of a process, removed on drop. The process cannot reach the lock files, which are outside the folders that it
/// gets.
pub(crate) struct ProcessFolders {
    scratch: Scratch,
    blobs: Arc<Scratch>,
}

impl ProcessFolders {
    /// Returns a folder that the process cannot use.
    pub(crate) fn private(&self) -> PathBuf {
        self.scratch.path().to_owned()
    }

    fn scratch(&self) -> PathBuf {
        self.scratch.path().join("process")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.blobs.path().join("blobs")
    }
}

/// Fetches an attachment, schema or large test into `folder`. The file's name is the digest.
pub(crate) async fn fetch_blob(
    broker: &Broker,
    digest: &Digest,
    folder: &Path,
) -> Result<(), Missing> {
    let draft = folder.join(format!("draft-{digest}"));
    let placed = fetch(broker, digest, &draft, MAX_BLOB).await.and_then(|()| {
        fs::rename(&draft, folder.join(digest.to_string())).map_err(|error| unusable(&error))
    });
    if placed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    placed
}

async fn fetch(broker: &Broker, digest: &Digest, path: &Path, most: u64) -> Result<(), Missing> {
    let mut file = File::create(path).map_err(|error| unusable(&error))?;
    let fetched = broker.fetch_blob(digest, &mut file, most.min(MAX_BLOB)).await;
    fetched.map_err(|error| Missing::NotFetched(error.to_string()))
}

fn unusable(error: &dyn std::error::Error) -> Missing {
    Missing::Unusable(format!("cannot prepare a file of the run: {}", shown(&error.to_string())))
}

/// Returns the path as text, which frames need.
fn path_text(path: &Path) -> Result<String, String> {
    let text = path.to_str().map(ToOwned::to_owned);
    text.ok_or_else(|| format!("the path `{}` is not UTF-8", shown_path(path)))
}

#[cfg(test)]
#[path = "tests/store.rs"]
mod tests;
