//! [`Counts`]: counts the parts of a WASM file from its section headers, before anything else reads
//! them.
//!
//! The memory of the compiler, the linker and an instance grows with these counts, and the file may
//! be hostile. No toolchain comes near the bounds: the component of a whole Python interpreter has
//! 14 modules, 70 instances, 13,400 functions, 2,300 imports, 4,200 exports and 1,100 types.

use std::collections::HashMap;

use runner_model::units::show_size;
use wasmparser::{
    BinaryReaderError, CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, ElementItems, Encoding, Imports, Instance, Payload,
};

/// A kind of part, and the most parts of a file, including nested ones.
type Bound = (&'static str, u64);

// About 1,300 bytes of the runner's memory each.
const TYPES: Bound = ("types", 20_000);
// About 200 bytes each, in the compiled plugin and on the screen.
const IMPORTS: Bound = ("imports", 50_000);
const EXPORTS: Bound = ("exports", 50_000);
// About 30 bytes each in the compiled plugin, in addition to their code.
const FUNCTIONS: Bound = ("functions", 500_000);
// 16 bytes and an initial expression each, in every instance.
const GLOBALS: Bound = ("globals", 100_000);
const TABLES: Bound = ("tables", 1_000);
const MEMORIES: Bound = ("memories", 100);
// Time to fill their table, in every instance.
const ELEMENTS: Bound = ("elements", 1_000_000);
const DATA_SEGMENTS: Bound = ("data segments", 100_000);
const MODULES: Bound = ("nested modules", 500);
const COMPONENTS: Bound = ("nested components", 1_000);
const INSTANCES: Bound = ("instances", 10_000);
const ALIASES: Bound = ("aliases", 100_000);
const CANONICALS: Bound = ("canonical functions", 50_000);
/// wasm-tools nests two. Each level makes the compiler process its whole content again.
const DEPTH: Bound = ("levels of nested components", 16);
/// Instances of the whole file, if a component is instantiated several times.
const ALL_INSTANCES: Bound = ("instances in all", 1_000);
/// Bytes of all sections with names and types. In memory they take up to thirty times as much.
const MAX_NAME_BYTES: u64 = 8 * 1024 * 1024;

const SHARED_NAMES: &str =
    "has imports that share the name of their module, which no compiler for plugins writes";
const FOREIGN_PARTS: &str = "instantiates a component that is an argument or an export of an instance; only \
                             components that are defined in an enclosing scope are allowed";

/// The counts of a file.
#[derive(Default)]
pub(crate) struct Counts {
    found: HashMap<&'static str, u64>,
    name_bytes: u64,
    /// Whether parts of the file may call each other, so that several calls can wait at once.
    is_composed: bool,
    /// Whether the outermost component has lifted a function.
    has_lift: bool,
    /// Modules and components that are being read, innermost last.
    scopes: Vec<Scope>,
}

/// A module or component that is being read.
struct Scope {
    is_component: bool,
    /// Instances that it creates, itself included.
    instances: u64,
    /// Instances of each component in the index space. `None` if it is not defined in this
    /// file.
    components: Vec<Option<u64>>,
}

pub(crate) fn damaged(error: &BinaryReaderError) -> String {
    let message = error.message();
    format!("is damaged WASM, so build or copy it again: {message}")
}

impl Counts {
    /// Nesting of the section counted last: 1 in the outermost module or component.
    pub(crate) fn depth(&self) -> usize {
        self.scopes.len()
    }

    /// Returns the number of parts of one kind.
    pub(crate) fn total(&self, parts: &str) -> u64 {
        self.found.get(parts).copied().unwrap_or(0)
    }

    /// Returns whether a call of one part of the file may reach another part, or the part itself again.
    pub(crate) fn is_composed(&self) -> bool {
        self.is_composed
    }

    /// Counts one section. An error's message completes the sentence "plugin `FILE` …".
    pub(crate) fn count(&mut self, payload: &Payload<'_>) -> Result<(), String> {
        let (most, count, names) = match payload {
            Payload::ModuleSection { .. } => (MODULES, 1, 0..0),
            Payload::ComponentSection { .. } => (COMPONENTS, 1, 0..0),
            Payload::TypeSection(section) => (TYPES, section.count(), section.range()),
            Payload::CoreTypeSection(section) => (TYPES, section.count(), section.range()),
            Payload::ComponentTypeSection(section) => (TYPES, section.count(), section.range()),
            Payload::ImportSection(section) => (IMPORTS, section.count(), section.range()),
            Payload::ComponentImportSection(section) => (IMPORTS, section.count(), section.range()),
            Payload::ExportSection(section) => (EXPORTS, section.count(), section.range()),
            Payload::ComponentExportSection(section) => (EXPORTS, section.count(), section.range()),
            Payload::FunctionSection(section) => (FUNCTIONS, section.count(), 0..0),
            Payload::GlobalSection(section) => (GLOBALS, section.count(), 0..0),
            Payload::TableSection(section) => (TABLES, section.count(), 0..0),
            Payload::MemorySection(section) => (MEMORIES, section.count(), 0..0),
            Payload::DataSection(section) => (DATA_SEGMENTS, section.count(), 0..0),
            Payload::InstanceSection(section) => (INSTANCES, section.count(), section.range()),
            Payload::ComponentInstanceSection(section) => {
                (INSTANCES, section.count(), section.range())
            }
            Payload::ComponentAliasSection(section) => (ALIASES, section.count(), section.range()),
            Payload::ComponentCanonicalSection(section) => (CANONICALS, section.count(), 0..0),
            _ => return self.count_inside(payload),
        };
        self.add(most, count.into())?;
        self.name_bytes += names.len() as u64;
        if self.name_bytes > MAX_NAME_BYTES {
            return Err(format!(
                "has {} of types, imports, exports and aliases, and at most {} are allowed",
                show_size(self.name_bytes),
                show_size(MAX_NAME_BYTES)
            ));
        }
        self.count_inside(payload)
    }

    /// Counts the parts inside a section.
    fn count_inside(&mut self, payload: &Payload<'_>) -> Result<(), String> {
        let damaged = |error: BinaryReaderError| damaged(&error);
        match payload {
            Payload::Version { encoding, .. } => {
                self.scopes.push(Scope {
                    is_component: *encoding == Encoding::Component,
                    instances: 1,
                    components: Vec::new(),
                });
                within(DEPTH, self.scopes.len() as u64)?;
            }
            Payload::End(_) => self.end_scope(),
            Payload::ImportSection(section) => {
                for group in section.clone() {
                    // Written out, a name of 100 KB that 50,000 imports share would take gigabytes.
                    if !matches!(group.map_err(damaged)?, Imports::Single(..)) {
                        return Err(SHARED_NAMES.to_owned());
                    }
                }
            }
            Payload::ElementSection(section) => {
                for element in section.clone() {
                    let count = match &element.map_err(damaged)?.items {
                        ElementItems::Functions(items) => items.count(),
                        ElementItems::Expressions(_, items) => items.count(),
                    };
                    self.add(ELEMENTS, count.into())?;
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    if let Instance::Instantiate { .. } = instance.map_err(damaged)? {
                        self.add_instances(Some(1))?;
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } =
                        instance.map_err(damaged)?
                    {
                        let instances = self.instances_of(0, component_index);
                        self.add_instances(instances)?;
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(&alias.map_err(damaged)?);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for function in section.clone() {
                    let is_outermost = self.scopes.len() == 1;
                    // A function that is lowered before the first one is lifted can only be the host's.
                    match function.map_err(damaged)? {
                        CanonicalFunction::Lift { .. } if is_outermost => self.has_lift = true,
                        CanonicalFunction::Lower { .. } if is_outermost && !self.has_lift => {}
                        CanonicalFunction::Lift { .. } | CanonicalFunction::Lower { .. } => {
                            self.is_composed = true;
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    if let ComponentTypeRef::Component(_) = import.map_err(damaged)?.ty {
                        self.define(None);
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export.map_err(damaged)?;
                    // An export adds an entry to the index space of its kind.
                    if export.kind == ComponentExternalKind::Component {
                        let instances = self.instances_of(0, export.index);
                        self.define(instances);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end_scope(&mut self) {
        if let Some(ended) = self.scopes.pop()
            && ended.is_component
        {
            self.define(Some(ended.instances));
        }
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                self.define(None);
            }
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                self.define(self.instances_of(*count, *index));
            }
            _ => {}
        }
    }

    /// Returns the instances of a component that is defined `outside` levels out.
    fn instances_of(&self, outside: u32, index: u32) -> Option<u64> {
        let scope = self.scopes.iter().rev().nth(outside as usize)?;
        scope.components.get(index as usize).copied().flatten()
    }

    /// Adds a component to the innermost index space.
    fn define(&mut self, instances: Option<u64>) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.components.push(instances);
        }
    }

    /// Adds instances to those of the innermost component.
    fn add_instances(&mut self, more: Option<u64>) -> Result<(), String> {
        // The compiler would follow the component to its definition. If each step doubled it, that would not end.
        let more = more.ok_or(FOREIGN_PARTS)?;
        let Some(scope) = self.scopes.last_mut() else {
            return Ok(());
        };
        scope.instances += more;
        within(ALL_INSTANCES, scope.instances)
    }

    fn add(&mut self, most: Bound, more: u64) -> Result<(), String> {
        let found = self.found.entry(most.0).or_default();
        *found += more;
        within(most, *found)
    }
}

fn within((parts, most): Bound, found: u64) -> Result<(), String> {
    if found > most {
        return Err(format!("has {found} {parts}, and at most {most} are allowed"));
    }
    Ok(())
}
