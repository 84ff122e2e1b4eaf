//! [`Code`]: what a plugin is compiled to, and the one place where it is loaded.

use std::{fs::File, os::fd::AsFd as _};

use wasmtime::{Engine, Module, component::Component};

use super::private::path_of;

/// Bytes of what any plugin is compiled to; of a small file less is allowed.
pub(super) const MAX_ARTEFACT_BYTES: u64 = 1024 * 1024 * 1024;

/// The two forms of compiled code.
#[derive(Clone, Copy)]
pub(in crate::plugin) enum CodeForm {
    Component,
    Module,
}

/// Loaded code.
pub(in crate::plugin) enum Code {
    Component(Component),
    Module(Module),
}

impl Code {
    /// The bytes of its machine code and data.
    pub(in crate::plugin) fn size(&self) -> u64 {
        let image = match self {
            Self::Component(component) => component.image_range(),
            Self::Module(module) => module.image_range(),
        };
        (image.end.addr() - image.start.addr()) as u64
    }
}

/// Loads an artefact of our own compiler.
#[expect(
    unsafe_code,
    reason = "the one place where our own compiled artefacts are loaded"
)]
pub(super) fn deserialize(engine: &Engine, form: CodeForm, file: File) -> wasmtime::Result<Code> {
    // SAFETY: the file was written by our own compiler, into a folder that is ours alone or without a name, and is never
    // written to afterwards; it is the one that was looked at, whatever now has its name. Damage is found by the checksum,
    // another wasmtime by the header.
    unsafe {
        Ok(match form {
            // For components there is only the function that takes a path.
            CodeForm::Component => {
                Code::Component(Component::deserialize_file(engine, path_of(&file.as_fd()))?)
            }
            CodeForm::Module => Code::Module(Module::deserialize_open_file(engine, file)?),
        })
    }
}
