//! [`measure`]: how much there is of everything in a WASM file, from the headers of its sections, before anything else is
//! done with it.
//!
//! What the compiler, the linker and an instance take of the host grows with these counts, and a stranger has written the
//! file. No toolchain comes near the bounds: the component of a whole Python interpreter has 14 modules and 70 instances,
//! 13,400 functions, 2,300 imports, 4,200 exports and 1,100 types.

use bytesize::ByteSize;
use wasmparser::{
    BinaryReaderError, CanonicalFunction, ElementItems, ElementKind, ElementSectionReader,
    FromReader, Imports, Parser, Payload, SectionLimited,
};

use super::{
    footprint::{Assembly, Footprint},
    sniff_error::SniffError,
};

/// The most that a file may have of one kind of part, those of everything nested in it included.
struct Most {
    parts: &'static str,
    count: u64,
}

const fn most(parts: &'static str, count: u64) -> Most {
    Most { parts, count }
}

// About 1,300 bytes of the runner's memory each; Python has 1,100.
const TYPES: Most = most("types", 20_000);
// About 200 bytes each, in the compiled plugin and on the screen.
const IMPORTS: Most = most("imports", 50_000);
const EXPORTS: Most = most("exports", 50_000);
// About 30 bytes each in the compiled plugin, beside their code.
const FUNCTIONS: Most = most("functions", 500_000);
// 16 bytes and an initial expression each, in every instance.
const GLOBALS: Most = most("globals", 100_000);
const TAGS: Most = most("tags", 10_000);
const TABLES: Most = most("tables", 1_000);
const MEMORIES: Most = most("memories", 100);
const ELEMENT_SEGMENTS: Most = most("element segments", 10_000);
// 16 bytes each in every instance, where their segment is passive; else time to put them into their table.
const ELEMENTS: Most = most("elements", 1_000_000);
const DATA_SEGMENTS: Most = most("data segments", 100_000);
const CUSTOM_SECTIONS: Most = most("custom sections", 10_000);
const MODULES: Most = most("nested modules", 500);
const COMPONENTS: Most = most("nested components", 1_000);
const INSTANCES: Most = most("instances", 10_000);
const ALIASES: Most = most("aliases", 100_000);
const CANONICALS: Most = most("canonical functions", 50_000);

/// How deep components may be nested; wasm-tools nests two. Each level costs the compiler all that is in it once more.
const MAX_NESTING: usize = 16;
/// Bytes of all core types together; each may have thousands of fields, and is a dozen times as large in memory.
const MAX_CORE_TYPE_BYTES: u64 = 1024 * 1024;
/// Bytes of all types of components together: a name of two bytes takes some sixty in memory. Python has 12 KiB.
const MAX_TYPE_BYTES: u64 = 1024 * 1024;
/// Bytes of all that has names: imports, exports, aliases, instances. A compiled plugin has them in memory.
const MAX_NAME_BYTES: u64 = 8 * 1024 * 1024;

/// How much was found so far.
#[derive(Default)]
struct PartCounts {
    types: u64,
    imports: u64,
    exports: u64,
    functions: u64,
    globals: u64,
    tags: u64,
    tables: u64,
    memories: u64,
    element_segments: u64,
    elements: u64,
    data_segments: u64,
    custom_sections: u64,
    modules: u64,
    components: u64,
    instances: u64,
    aliases: u64,
    canonicals: u64,
    core_type_bytes: u64,
    type_bytes: u64,
    name_bytes: u64,
}

/// Refuses a file that has more of anything than is allowed, and estimates what an attempt's instances cost the host.
pub(super) fn measure(bytes: &[u8]) -> Result<Footprint, SniffError> {
    let mut found = PartCounts::default();
    let mut assembly = Assembly::default();
    for payload in Parser::new(0).parse_all(bytes) {
        found.count(&mut assembly, payload.map_err(|error| damaged(&error))?)?;
    }
    assembly.footprint()
}

pub(super) fn damaged(error: &BinaryReaderError) -> SniffError {
    SniffError::Damaged(error.message().to_owned())
}

impl PartCounts {
    /// Counts one section, before any of it is read.
    fn count(&mut self, assembly: &mut Assembly, payload: Payload<'_>) -> Result<(), SniffError> {
        match payload {
            Payload::Version { encoding, .. } => {
                assembly.begin(encoding);
                if assembly.depth() > MAX_NESTING {
                    return Err(SniffError::TooDeep { most: MAX_NESTING });
                }
            }
            Payload::End(_) => assembly.end(),
            Payload::ModuleSection { .. } => add(&mut self.modules, 1, &MODULES)?,
            Payload::ComponentSection { .. } => add(&mut self.components, 1, &COMPONENTS)?,

            Payload::TypeSection(section) => {
                add_bytes(
                    &mut self.core_type_bytes,
                    &section,
                    "core types",
                    MAX_CORE_TYPE_BYTES,
                )?;
                add(&mut self.types, section.count().into(), &TYPES)?;
                for group in section {
                    let more = group.map_err(|error| damaged(&error))?.types().len() as u64;
                    // The group itself is counted already.
                    add(&mut self.types, more.saturating_sub(1), &TYPES)?;
                }
            }
            Payload::CoreTypeSection(section) => {
                add_bytes(&mut self.type_bytes, &section, "types", MAX_TYPE_BYTES)?;
                add(&mut self.types, section.count().into(), &TYPES)?;
            }
            Payload::ComponentTypeSection(section) => {
                add_bytes(&mut self.type_bytes, &section, "types", MAX_TYPE_BYTES)?;
                add(&mut self.types, section.count().into(), &TYPES)?;
            }

            Payload::ImportSection(section) => {
                self.names(&section)?;
                for group in section {
                    let group = group.map_err(|error| damaged(&error))?;
                    // Written out, a name of 100 KB that 50,000 imports share would be gigabytes.
                    if !matches!(group, Imports::Single(..)) {
                        return Err(SniffError::SharedNames);
                    }
                    add(&mut self.imports, 1, &IMPORTS)?;
                    for import in group {
                        assembly.import(import.map_err(|error| damaged(&error))?.1.ty);
                    }
                }
            }
            Payload::ExportSection(section) => {
                self.names(&section)?;
                add(&mut self.exports, section.count().into(), &EXPORTS)?;
                assembly.core_exports(section.count().into());
            }
            Payload::FunctionSection(section) => {
                add(&mut self.functions, section.count().into(), &FUNCTIONS)?;
                assembly.functions(section.count().into());
            }
            Payload::CodeSectionStart { count, .. } if u64::from(count) > FUNCTIONS.count => {
                return Err(too_many(&FUNCTIONS, count.into()));
            }
            Payload::GlobalSection(section) => {
                add(&mut self.globals, section.count().into(), &GLOBALS)?;
                assembly.globals(section.count().into());
                assembly.fills(section.range().len() as u64 / 64);
            }
            Payload::TagSection(section) => {
                add(&mut self.tags, section.count().into(), &TAGS)?;
                assembly.tags(section.count().into());
            }
            Payload::TableSection(section) => {
                add(&mut self.tables, section.count().into(), &TABLES)?;
                assembly.tables(section.count().into());
                assembly.fills(section.range().len() as u64);
            }
            Payload::MemorySection(section) => {
                add(&mut self.memories, section.count().into(), &MEMORIES)?;
                assembly.memories(section.count().into());
            }
            Payload::ElementSection(section) => self.elements(assembly, section)?,
            Payload::DataCountSection { count, .. } if u64::from(count) > DATA_SEGMENTS.count => {
                return Err(too_many(&DATA_SEGMENTS, count.into()));
            }
            Payload::DataSection(section) => {
                add(
                    &mut self.data_segments,
                    section.count().into(),
                    &DATA_SEGMENTS,
                )?;
                assembly.data_segments(section.count().into());
                assembly.fills(section.range().len() as u64 / 1024);
            }
            Payload::CustomSection(_) => add(&mut self.custom_sections, 1, &CUSTOM_SECTIONS)?,

            Payload::InstanceSection(section) => {
                self.names(&section)?;
                add(&mut self.instances, section.count().into(), &INSTANCES)?;
                for instance in section {
                    assembly.core_instance(&instance.map_err(|error| damaged(&error))?);
                }
            }
            Payload::ComponentInstanceSection(section) => {
                self.names(&section)?;
                add(&mut self.instances, section.count().into(), &INSTANCES)?;
                for instance in section {
                    assembly.component_instance(&instance.map_err(|error| damaged(&error))?)?;
                }
            }
            Payload::ComponentAliasSection(section) => {
                self.names(&section)?;
                add(&mut self.aliases, section.count().into(), &ALIASES)?;
                for alias in section {
                    assembly.alias(&alias.map_err(|error| damaged(&error))?);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                add(&mut self.canonicals, section.count().into(), &CANONICALS)?;
                assembly.canonicals(section.count().into());
                for function in section {
                    // The host makes values of what passes, which may take twenty times the bytes of a guest.
                    if let CanonicalFunction::StreamNew { .. }
                    | CanonicalFunction::FutureNew { .. } =
                        function.map_err(|error| damaged(&error))?
                    {
                        return Err(SniffError::Streams);
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                self.names(&section)?;
                add(&mut self.imports, section.count().into(), &IMPORTS)?;
                for import in section {
                    assembly.component_import(import.map_err(|error| damaged(&error))?.ty);
                }
            }
            Payload::ComponentExportSection(section) => {
                self.names(&section)?;
                add(&mut self.exports, section.count().into(), &EXPORTS)?;
                for export in section {
                    assembly.component_export(&export.map_err(|error| damaged(&error))?);
                }
            }
            // Of functions and of data the count was seen at the section's start; of the rest there is one, or the
            // compiler knows it as damage.
            _ => {}
        }
        Ok(())
    }

    fn elements(
        &mut self,
        assembly: &mut Assembly,
        section: ElementSectionReader<'_>,
    ) -> Result<(), SniffError> {
        add(
            &mut self.element_segments,
            section.count().into(),
            &ELEMENT_SEGMENTS,
        )?;
        assembly.fills(section.range().len() as u64);
        for element in section {
            let element = element.map_err(|error| damaged(&error))?;
            let count = match &element.items {
                ElementItems::Functions(items) => items.count(),
                ElementItems::Expressions(_, items) => items.count(),
            };
            add(&mut self.elements, count.into(), &ELEMENTS)?;
            assembly.elements(count.into(), matches!(element.kind, ElementKind::Passive));
        }
        Ok(())
    }

    fn names<'a, T: FromReader<'a>>(
        &mut self,
        section: &SectionLimited<'a, T>,
    ) -> Result<(), SniffError> {
        add_bytes(
            &mut self.name_bytes,
            section,
            "imports, exports and aliases",
            MAX_NAME_BYTES,
        )
    }
}

fn add(found: &mut u64, more: u64, most: &Most) -> Result<(), SniffError> {
    *found = found.saturating_add(more);
    if *found > most.count {
        return Err(too_many(most, *found));
    }
    Ok(())
}

fn too_many(most: &Most, count: u64) -> SniffError {
    SniffError::TooMany {
        parts: most.parts,
        count,
        most: most.count,
    }
}

fn add_bytes<'a, T: FromReader<'a>>(
    found: &mut u64,
    section: &SectionLimited<'a, T>,
    parts: &'static str,
    most: u64,
) -> Result<(), SniffError> {
    *found = found.saturating_add(section.range().len() as u64);
    if *found > most {
        return Err(SniffError::TooLarge {
            parts,
            bytes: ByteSize(*found),
            most: ByteSize(most),
        });
    }
    Ok(())
}
