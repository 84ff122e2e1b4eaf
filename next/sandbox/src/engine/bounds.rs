//! [`check`]: how much there is of everything in a WASM file, from the headers of its sections, before anything else is done
//! with it.
//!
//! What the compiler, the linker and an instance take of the host grows with these counts, and a stranger has written the
//! file. No toolchain comes near the bounds: the component of a whole Python interpreter has 14 modules and 70 instances,
//! 13,400 functions, 2,300 imports, 4,200 exports and 1,100 types.

use std::collections::HashMap;

use runner_model::units::show_size;
use wasmparser::{
    BinaryReaderError, CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, ElementItems, Encoding, FromReader, Imports,
    Instance, Parser, Payload, SectionLimited,
};

/// A kind of part, and the most that a file may have of it, what is nested in it included.
type Most = (&'static str, u64);

// About 1,300 bytes of the runner's memory each; Python has 1,100.
const TYPES: Most = ("types", 20_000);
// About 200 bytes each, in the compiled plugin and on the screen.
const IMPORTS: Most = ("imports", 50_000);
const EXPORTS: Most = ("exports", 50_000);
// About 30 bytes each in the compiled plugin, beside their code.
const FUNCTIONS: Most = ("functions", 500_000);
// 16 bytes and an initial expression each, in every instance.
const GLOBALS: Most = ("globals", 100_000);
const TAGS: Most = ("tags", 10_000);
const TABLES: Most = ("tables", 1_000);
const MEMORIES: Most = ("memories", 100);
const ELEMENT_SEGMENTS: Most = ("element segments", 10_000);
// 16 bytes each in every instance, where their segment is passive; else time to put them into their table.
const ELEMENTS: Most = ("elements", 1_000_000);
const DATA_SEGMENTS: Most = ("data segments", 100_000);
const CUSTOM_SECTIONS: Most = ("custom sections", 10_000);
const MODULES: Most = ("nested modules", 500);
const COMPONENTS: Most = ("nested components", 1_000);
const INSTANCES: Most = ("instances", 10_000);
const ALIASES: Most = ("aliases", 100_000);
const CANONICALS: Most = ("canonical functions", 50_000);
/// How deep components may be nested; wasm-tools nests two. Each level costs the compiler all that is in it once more.
const DEPTH: Most = ("levels of nested components", 16);
/// What is made when the file is instantiated, if one component is instantiated several times.
const MADE: Most = ("instances that are made in all", 1_000);

// Bytes of sections. A core type may have thousands of fields, and is a dozen times as large in memory.
const CORE_TYPE_BYTES: Most = ("core types", 1024 * 1024);
// A name of two bytes takes some sixty in memory. Python has 12 KiB.
const TYPE_BYTES: Most = ("types of components", 1024 * 1024);
// A compiled plugin has all that has names in memory.
const NAME_BYTES: Most = ("imports, exports and aliases", 8 * 1024 * 1024);

const SHARED_NAMES: &str =
    "has imports that share the name of their module, which no compiler for plugins writes";
const STREAMS: &str = "makes streams or futures of the component model for its own parts, which nothing in the \
                       provider's world has";
const FOREIGN_PARTS: &str = "instantiates a component that comes as an argument or out of an instance; only those that \
                             are defined around the place are allowed";

/// What was found so far.
#[derive(Default)]
struct Counts {
    found: HashMap<&'static str, u64>,
    /// The modules and components whose sections are being read, the innermost last.
    scopes: Vec<Scope>,
}

/// A module or component whose sections are being read.
#[derive(Default)]
struct Scope {
    is_component: bool,
    /// How many instances it makes, itself included.
    made: u64,
    /// Its index space of components: how many instances each makes; `None` of one that is not defined in the file.
    components: Vec<Option<u64>>,
}

/// Refuses a file that has more of anything than is allowed. The message completes the sentence "plugin `FILE` …".
pub(crate) fn check(wasm: &[u8]) -> Result<(), String> {
    let mut counts = Counts::default();
    for payload in Parser::new(0).parse_all(wasm) {
        counts.count(payload.map_err(|error| damaged(&error))?)?;
    }
    Ok(())
}

pub(crate) fn damaged(error: &BinaryReaderError) -> String {
    let message = error.message();
    format!("is damaged WASM, so build or copy it again: {message}")
}

impl Counts {
    /// Counts one section, before any of it is read.
    fn count(&mut self, payload: Payload<'_>) -> Result<(), String> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.scopes.push(Scope {
                    is_component: encoding == Encoding::Component,
                    made: 1,
                    components: Vec::new(),
                });
                within(DEPTH, self.scopes.len() as u64)
            }
            Payload::End(_) => {
                self.end();
                Ok(())
            }
            Payload::ModuleSection { .. } => self.add(MODULES, 1),
            Payload::ComponentSection { .. } => self.add(COMPONENTS, 1),
            Payload::TypeSection(section) => {
                self.add_bytes(CORE_TYPE_BYTES, &section)?;
                self.add_all(TYPES, &section)?;
                for group in section {
                    let more = group.map_err(|error| damaged(&error))?.types().len() as u64;
                    // The group itself is counted already.
                    self.add(TYPES, more.saturating_sub(1))?;
                }
                Ok(())
            }
            Payload::CoreTypeSection(section) => {
                self.add_bytes(TYPE_BYTES, &section)?;
                self.add_all(TYPES, &section)
            }
            Payload::ComponentTypeSection(section) => {
                self.add_bytes(TYPE_BYTES, &section)?;
                self.add_all(TYPES, &section)
            }
            Payload::FunctionSection(section) => self.add_all(FUNCTIONS, &section),
            Payload::CodeSectionStart { count, .. } => within(FUNCTIONS, count.into()),
            Payload::GlobalSection(section) => self.add_all(GLOBALS, &section),
            Payload::TagSection(section) => self.add_all(TAGS, &section),
            Payload::TableSection(section) => self.add_all(TABLES, &section),
            Payload::MemorySection(section) => self.add_all(MEMORIES, &section),
            Payload::DataCountSection { count, .. } => within(DATA_SEGMENTS, count.into()),
            Payload::DataSection(section) => self.add_all(DATA_SEGMENTS, &section),
            Payload::CustomSection(_) => self.add(CUSTOM_SECTIONS, 1),
            Payload::ElementSection(section) => {
                self.add_all(ELEMENT_SEGMENTS, &section)?;
                for element in section {
                    let count = match &element.map_err(|error| damaged(&error))?.items {
                        ElementItems::Functions(items) => items.count(),
                        ElementItems::Expressions(_, items) => items.count(),
                    };
                    self.add(ELEMENTS, count.into())?;
                }
                Ok(())
            }
            Payload::ExportSection(section) => self.add_names(EXPORTS, &section),
            Payload::ImportSection(section) => {
                self.add_bytes(NAME_BYTES, &section)?;
                for group in section {
                    // Written out, a name of 100 KB that 50,000 imports share would be gigabytes.
                    if !matches!(group.map_err(|error| damaged(&error))?, Imports::Single(..)) {
                        return Err(SHARED_NAMES.to_owned());
                    }
                    self.add(IMPORTS, 1)?;
                }
                Ok(())
            }
            payload => self.count_of_component(payload),
        }
    }

    /// The same for sections that only components have.
    fn count_of_component(&mut self, payload: Payload<'_>) -> Result<(), String> {
        match payload {
            Payload::InstanceSection(section) => {
                self.add_names(INSTANCES, &section)?;
                for instance in section {
                    if let Instance::Instantiate { .. } =
                        instance.map_err(|error| damaged(&error))?
                    {
                        self.make(1)?;
                    }
                }
                Ok(())
            }
            Payload::ComponentInstanceSection(section) => {
                self.add_names(INSTANCES, &section)?;
                for instance in section {
                    if let ComponentInstance::Instantiate {
                        component_index, ..
                    } = instance.map_err(|error| damaged(&error))?
                    {
                        let components = &self.scope().components;
                        let made = components.get(component_index as usize);
                        let made = made.copied().flatten();
                        self.make(made.ok_or(FOREIGN_PARTS)?)?;
                    }
                }
                Ok(())
            }
            Payload::ComponentAliasSection(section) => {
                self.add_names(ALIASES, &section)?;
                for alias in section {
                    self.alias(&alias.map_err(|error| damaged(&error))?);
                }
                Ok(())
            }
            Payload::ComponentCanonicalSection(section) => {
                self.add_all(CANONICALS, &section)?;
                for function in section {
                    // The host makes values of what passes, which may take twenty times the bytes of a guest.
                    if let CanonicalFunction::StreamNew { .. }
                    | CanonicalFunction::FutureNew { .. } =
                        function.map_err(|error| damaged(&error))?
                    {
                        return Err(STREAMS.to_owned());
                    }
                }
                Ok(())
            }
            Payload::ComponentImportSection(section) => {
                self.add_names(IMPORTS, &section)?;
                for import in section {
                    if let ComponentTypeRef::Component(_) =
                        import.map_err(|error| damaged(&error))?.ty
                    {
                        self.scope().components.push(None);
                    }
                }
                Ok(())
            }
            Payload::ComponentExportSection(section) => {
                self.add_names(EXPORTS, &section)?;
                for export in section {
                    let export = export.map_err(|error| damaged(&error))?;
                    // An export has a place in the index space of what it exports.
                    if export.kind == ComponentExternalKind::Component {
                        let components = &mut self.scope().components;
                        let made = components.get(export.index as usize).copied().flatten();
                        components.push(made);
                    }
                }
                Ok(())
            }
            // Of functions and of data the count was seen at the section's start; of the rest there is one, or the
            // compiler knows it as damage.
            _ => Ok(()),
        }
    }

    fn end(&mut self) {
        let ended = self.scopes.pop();
        if let (Some(ended), Some(outer)) = (ended, self.scopes.last_mut())
            && ended.is_component
        {
            outer.components.push(Some(ended.made));
        }
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        let made = match alias {
            ComponentAlias::InstanceExport {
                kind: ComponentExternalKind::Component,
                ..
            } => None,
            ComponentAlias::Outer {
                kind: ComponentOuterAliasKind::Component,
                count,
                index,
            } => {
                let outer = self.scopes.iter().rev().nth(*count as usize);
                outer.and_then(|outer| outer.components.get(*index as usize).copied().flatten())
            }
            _ => return,
        };
        self.scope().components.push(made);
    }

    /// Counts instances that the innermost component makes.
    fn make(&mut self, more: u64) -> Result<(), String> {
        let scope = self.scope();
        scope.made = scope.made.saturating_add(more);
        let made = scope.made;
        within(MADE, made)
    }

    fn scope(&mut self) -> &mut Scope {
        let scope = self.scopes.last_mut();
        scope.expect("a section is in a module or a component")
    }

    fn add(&mut self, most: Most, more: u64) -> Result<(), String> {
        let found = self.found.entry(most.0).or_default();
        *found = found.saturating_add(more);
        within(most, *found)
    }

    fn add_all<'a, T: FromReader<'a>>(
        &mut self,
        most: Most,
        section: &SectionLimited<'a, T>,
    ) -> Result<(), String> {
        self.add(most, section.count().into())
    }

    /// The same for a section of names.
    fn add_names<'a, T: FromReader<'a>>(
        &mut self,
        most: Most,
        section: &SectionLimited<'a, T>,
    ) -> Result<(), String> {
        self.add_bytes(NAME_BYTES, section)?;
        self.add_all(most, section)
    }

    fn add_bytes<'a, T: FromReader<'a>>(
        &mut self,
        (parts, most): Most,
        section: &SectionLimited<'a, T>,
    ) -> Result<(), String> {
        let found = self.found.entry(parts).or_default();
        *found = found.saturating_add(section.range().len() as u64);
        if *found > most {
            let (found, most) = (show_size(*found), show_size(most));
            return Err(format!(
                "has {found} of {parts}, and at most {most} are allowed"
            ));
        }
        Ok(())
    }
}

fn within((parts, most): Most, found: u64) -> Result<(), String> {
    if found > most {
        return Err(format!(
            "has {found} {parts}, and at most {most} are allowed"
        ));
    }
    Ok(())
}

#[cfg(test)]
#[path = "../tests/bounds.rs"]
mod tests;
