//! [`Engine::link`]: from a file to a [`Plugin`] that can be run.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, MutexGuard, PoisonError},
};

use thiserror::Error;
use wasmtime::{Module, component::Component};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::{
    call::{
        command::{Program, ProgramCode},
        component,
    },
    code::{
        artefact::{Code, CodeForm},
        cache::CacheKey,
        compile::CompileError,
        file::{PluginFile, PluginFileError},
        offered::{PREVIEW_1, is_served},
        sniff::{CommandForm, Kind},
        surface::shortened,
    },
    engine::{Engine, EngineError, Room},
    interrupt::Interrupt,
    linked::{Compiled, LinkedAhead, LinkedPlugin, Plugin, Runnable},
};
use crate::model::{BoundedText, Digest};

/// How many of the missing imports a message names.
const SHOWN_IMPORTS: usize = 20;
/// What is kept of why a plugin does not fit: each of the names in it may have 100,000 bytes.
const MAX_REASON_BYTES: usize = 4 * 1024;

/// Why a plugin cannot be run.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The compiler gave no artefact.
    #[error("cannot compile plugin `{}`", path.display())]
    Compile {
        /// The plugin's file.
        path: PathBuf,
        /// Why.
        source: CompileError,
    },
    /// There is no place for the artefact.
    #[error("cannot store what plugin `{}` is compiled to", path.display())]
    Store {
        /// The plugin's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It imports what this host does not have.
    #[error("plugin `{}` needs what this runner does not offer: {imports}", path.display())]
    MissingImports {
        /// The plugin's file.
        path: PathBuf,
        /// Their names.
        imports: String,
    },
    /// Names are right, but their types or contents are not.
    #[error("plugin `{}` does not fit this runner: {reason}", path.display())]
    Incompatible {
        /// The plugin's file.
        path: PathBuf,
        /// Why, in wasmtime's words.
        reason: String,
    },
    /// Its bytes are not what they were.
    #[error(transparent)]
    File(#[from] PluginFileError),
    /// There is nothing to link it with.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It was interrupted.
    #[error("linking was interrupted")]
    Cancelled,
}

impl Engine {
    /// Takes a plugin from the cache or compiles it, and checks that everything it imports is there.
    ///
    /// Its sandboxes are pooled if it fits the pool, and else made on demand.
    pub async fn link(&self, file: &PluginFile, cancel: &Interrupt) -> Result<Plugin, LinkError> {
        let path = file.path.display();
        let unpooled = match &self.rooms.pooled {
            None => "there is no pool".to_owned(),
            Some((room, pool)) => match pool.fits(&file.footprint) {
                Err(why) => why.to_owned(),
                Ok(()) => match self.link_in(room, file, None, cancel).await {
                    // What it lacks it may have without a pool.
                    Err(LinkError::Incompatible { reason, .. }) => reason,
                    Err(LinkError::Compile { source, .. }) => source.to_string(),
                    Ok(plugin) => {
                        tracing::info!("sandboxes of plugin `{path}` are pooled");
                        return Ok(plugin);
                    }
                    Err(error) => return Err(error),
                },
            },
        };
        let on_demand = self.on_demand()?;
        let plugin = self
            .link_in(on_demand, file, Some(&unpooled), cancel)
            .await?;
        tracing::info!("sandboxes of plugin `{path}` are made on demand: {unpooled}");
        Ok(plugin)
    }

    /// Links a plugin that was compiled before and fits the pool, for whoever asks for it next. Whatever else is the case is
    /// found out then.
    pub fn link_ahead(&self, file: &PluginFile) {
        let Some((room, pool)) = &self.rooms.pooled else {
            return;
        };
        if pool.fits(&file.footprint).is_ok()
            && let Some(code) = room.cache.load(&room.wasmtime, key_of(file))
            && let size = code.size()
            && let Ok(code) = room.check(file, &code)
        {
            self.ahead().insert(file.sha256, LinkedAhead { size, code });
        }
    }

    fn ahead(&self) -> MutexGuard<'_, HashMap<Digest, LinkedAhead>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn link_in(
        &self,
        room: &Room,
        file: &PluginFile,
        unpooled: Option<&str>,
        cancel: &Interrupt,
    ) -> Result<Plugin, LinkError> {
        let ahead = match unpooled {
            None => self.ahead().remove(&file.sha256),
            Some(_) => None,
        };
        let (LinkedAhead { size, code }, is_cached) = match ahead {
            Some(linked) => (linked, true),
            None => {
                let (code, is_cached) = self.code(room, file, cancel).await?;
                let size = code.size();
                let code = room.check(file, &code)?;
                (LinkedAhead { size, code }, is_cached)
            }
        };
        let name = file.path.file_name().unwrap_or(file.path.as_os_str());
        Ok(Plugin(Arc::new(LinkedPlugin {
            kind: file.kind,
            compiled: Compiled {
                is_cached,
                size,
                unpooled: unpooled.map(str::to_owned),
            },
            name: name.to_string_lossy().into_owned(),
            code,
        })))
    }

    /// The code, and whether it was in the cache.
    async fn code(
        &self,
        room: &Room,
        file: &PluginFile,
        cancel: &Interrupt,
    ) -> Result<(Code, bool), LinkError> {
        let key = key_of(file);
        if let Some(code) = room.cache.load(&room.wasmtime, key) {
            return Ok((code, true));
        }

        let unstored = |source| LinkError::Store {
            path: file.path.clone(),
            source,
        };
        let draft = room.cache.draft().map_err(unstored)?;
        let writer = draft.writer().map_err(unstored)?;
        self.compiler
            .compile(&file.bytes()?, writer, room.config, cancel)
            .await
            .map_err(|source| match source {
                CompileError::Cancelled => LinkError::Cancelled,
                source => LinkError::Compile {
                    path: file.path.clone(),
                    source,
                },
            })?;
        room.cache
            .load_and_keep(&room.wasmtime, key, draft)
            .map(|code| (code, false))
            .map_err(|error| incompatible(file, &error))
    }
}

/// What a plugin is called in the cache.
fn key_of(file: &PluginFile) -> CacheKey {
    CacheKey {
        sha256: file.sha256,
        form: match file.kind {
            Kind::Component { .. } | Kind::Command(CommandForm::Component) => CodeForm::Component,
            Kind::Command(CommandForm::Module) => CodeForm::Module,
        },
    }
}

impl Room {
    fn check(&self, file: &PluginFile, code: &Code) -> Result<Runnable, LinkError> {
        let missing = match code {
            Code::Component(component) => self.missing_in_component(component),
            Code::Module(module) => missing_in_module(module),
        };
        if !missing.is_empty() {
            let imports = listed(&missing);
            return Err(LinkError::MissingImports {
                path: file.path.clone(),
                imports,
            });
        }
        self.runnable(file, code)
            .map_err(|error| incompatible(file, &error))
    }

    fn runnable(&self, file: &PluginFile, code: &Code) -> wasmtime::Result<Runnable> {
        let (metering, footprint) = (self.config.metering, file.footprint);
        let command = |code| {
            Runnable::Command(Program {
                code,
                metering,
                footprint,
            })
        };
        Ok(match (code, file.kind) {
            (Code::Module(module), _) => {
                command(ProgramCode::Module(self.modules.instantiate_pre(module)?))
            }
            (Code::Component(component), Kind::Command(_)) => {
                let pre = self.components.instantiate_pre(component)?;
                command(ProgramCode::Component(CommandPre::new(pre)?))
            }
            (Code::Component(component), Kind::Component { .. }) => {
                let pre = self.components.instantiate_pre(component)?;
                Runnable::Component(component::LinkedComponent::new(pre, metering, footprint)?)
            }
        })
    }

    /// wasmtime names only the first; what is missing inside of a served package is left to it.
    fn missing_in_component(&self, component: &Component) -> Vec<String> {
        let component_type = component.component_type();
        let imports = component_type.imports(&self.wasmtime);
        imports
            .map(|(name, _)| name)
            .filter(|name| !is_served(name))
            .map(|name| format!("`{}`", shortened(name)))
            .collect()
    }
}

fn missing_in_module(module: &Module) -> Vec<String> {
    module
        .imports()
        .filter(|import| import.module() != PREVIEW_1)
        .map(|import| {
            format!(
                "`{}::{}`",
                shortened(import.module()),
                shortened(import.name())
            )
        })
        .collect()
}

/// The first of them, and how many more there are.
fn listed(imports: &[String]) -> String {
    let shown = &imports[..imports.len().min(SHOWN_IMPORTS)];
    let more = imports.len() - shown.len();
    let rest = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    shown.join(", ") + &rest
}

fn incompatible(file: &PluginFile, error: &wasmtime::Error) -> LinkError {
    LinkError::Incompatible {
        path: file.path.clone(),
        reason: BoundedText::of(MAX_REASON_BYTES, format_args!("{error:#}")),
    }
}
