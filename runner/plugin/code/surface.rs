//! [`Surface`]: what a WASM file imports and exports, read from its sections.

use std::borrow::Cow;

use wasmparser::{
    BinaryReaderError, ComponentExternalKind, Encoding, ExternalKind, Parser, Payload, TypeRef,
};

use super::{bounds, footprint::Footprint, offered::is_offered, sniff_error::SniffError};

/// What a contract's export is called, without its version.
pub(super) const CONTRACT: &str = "runner:provider/provider@";
const LIFECYCLE: &str = "runner:provider/lifecycle@";
/// Characters of a name that a message has: the longest of WASI's has half of that, and a stranger's may have 100,000.
const SHOWN_CHARACTERS: usize = 120;

/// What the outermost module or component of a file imports and exports; it need not be a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surface {
    /// Whether it is a component; else it is a core module.
    pub is_component: bool,
    /// What it imports: interfaces such as `wasi:cli/stderr@0.2.6`, of a module functions such as
    /// `wasi_snapshot_preview1::fd_write`.
    pub imports: Vec<Import>,
    /// What it exports: interfaces and functions.
    pub exports: Vec<String>,
    /// What its instances cost.
    pub(in crate::plugin) footprint: Footprint,
}

/// Something that a file imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its name.
    pub name: String,
    /// Whether this host has it, as far as its name tells.
    pub is_offered: bool,
}

impl Surface {
    /// Reads the surface of a file's bytes.
    ///
    /// # Errors
    ///
    /// Fails if they are not WASM, or damaged, or have more of anything than is allowed.
    pub fn of(bytes: &[u8]) -> Result<Self, SniffError> {
        if bytes.is_empty() {
            return Err(SniffError::Empty);
        }
        if !bytes.starts_with(b"\0asm") {
            return Err(SniffError::NotWasm);
        }
        let footprint = bounds::measure(bytes)?;
        read(bytes, footprint).map_err(|error| bounds::damaged(&error))
    }

    /// The version of the contract that it exports, as written; this host need not speak it.
    pub fn contract(&self) -> Option<&str> {
        let mut exports = self.exports.iter();
        exports.find_map(|name| name.strip_prefix(CONTRACT))
    }

    /// Tells whether it exports the contract's `lifecycle`.
    pub fn has_lifecycle(&self) -> bool {
        self.exports.iter().any(|name| name.starts_with(LIFECYCLE))
    }
}

/// A name for a message, cut where it is too long.
pub(in crate::plugin) fn shortened(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

/// Reads the sections of the outermost module or component; what is nested in it is stepped over.
fn read(bytes: &[u8], footprint: Footprint) -> Result<Surface, BinaryReaderError> {
    let mut surface = Surface {
        is_component: false,
        imports: Vec::new(),
        exports: Vec::new(),
        footprint,
    };
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        match payload {
            Payload::Version { encoding, .. } => {
                depth += 1;
                if depth == 1 {
                    surface.is_component = encoding == Encoding::Component;
                }
            }
            Payload::End(_) => depth -= 1,
            payload if depth == 1 => surface.add(payload)?,
            _ => {}
        }
    }
    Ok(surface)
}

impl Surface {
    fn add(&mut self, payload: Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let kind = match import.ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => "",
                        TypeRef::Memory(_) => " (memory)",
                        TypeRef::Table(_) => " (table)",
                        TypeRef::Global(_) => " (global)",
                        TypeRef::Tag(_) => " (tag)",
                    };
                    self.import(format!("{}::{}{kind}", import.module, import.name));
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    self.import(import?.name.name.to_owned());
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        self.exports.push(export.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    if matches!(
                        export.kind,
                        ComponentExternalKind::Instance | ComponentExternalKind::Func
                    ) {
                        self.exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, name: String) {
        let is_offered = is_offered(&name);
        self.imports.push(Import { name, is_offered });
    }
}

#[cfg(test)]
mod tests {
    use super::Surface;

    #[test]
    fn what_is_imported_is_named_and_compared_with_what_the_host_has() {
        let bytes = wat::parse_str(
            r#"(module
                (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
                (import "env" "memory" (memory 1))
                (func (export "_start"))
                (global (export "version") i32 (i32.const 1)))"#,
        );
        let surface = Surface::of(&bytes.unwrap()).unwrap();
        assert!(!surface.is_component);
        let imports: Vec<_> = surface
            .imports
            .iter()
            .map(|import| (import.name.as_str(), import.is_offered))
            .collect();
        assert_eq!(
            imports,
            [
                ("wasi_snapshot_preview1::fd_write", true),
                ("env::memory (memory)", false)
            ]
        );
        assert_eq!(surface.exports, ["_start"]);
    }

    #[test]
    fn a_component_is_read_without_what_is_nested_in_it() {
        let bytes = wat::parse_str(
            r#"(component
                (import "wasi:nn/tensor@0.2.0" (instance))
                (component (instance $i) (export "inner" (instance $i)))
                (instance $i)
                (export "runner:provider/provider@0.2.0" (instance $i))
                (export "runner:provider/lifecycle@0.1.0" (instance $i)))"#,
        );
        let surface = Surface::of(&bytes.unwrap()).unwrap();
        assert!(surface.is_component && surface.has_lifecycle());
        assert_eq!(surface.contract(), Some("0.2.0"));
        assert_eq!(surface.imports.len(), 1);
        assert!(!surface.imports[0].is_offered);
        assert_eq!(surface.exports.len(), 2);
    }
}
