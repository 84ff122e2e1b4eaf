//! [`Footprint`]: what the instances of one attempt cost the host outside of their memories, known before there is one.
//!
//! wasmtime asks a limiter about memories and tables alone, never about what an instance has for its globals, its imports
//! and its function references, and it cannot be stopped between two instances. So the sum is bounded here, from the file,
//! and a guest's limit of memory is charged with it before it is instantiated.

use bytesize::ByteSize;
use wasmparser::{
    ComponentAlias, ComponentExport, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, Encoding, Instance, TypeRef,
};

use super::sniff_error::SniffError;

/// Core instances of one attempt; Python's component has 14 modules, and one of each.
pub(in crate::plugin) const MAX_CORE_INSTANCES: u64 = 200;
/// Instances of components nested in an attempt's: wasm-tools makes one for each interface that is exported.
const MAX_COMPONENT_INSTANCES: u64 = 1_000;
/// Bytes of all instances of one attempt, whatever its limit of memory: making them takes time in which nothing can stop
/// the host, half a second for so many where all are elements.
const MAX_INSTANCE_BYTES: u64 = 32 * 1024 * 1024;

/// Steps of making all instances of one attempt, in which nothing can stop the host either. Each element is one, of some
/// 200 ns; so are 64 bytes of globals, and a KiB of data. Python's component has 22,000.
const MAX_STEPS: u64 = 2_000_000;

// The sizes of wasmtime's own structures on 64 bits, from its `vmtypes.rs`, each rounded up.
const INSTANCE: u64 = 1024;
const COMPONENT_INSTANCE: u64 = 2048;
const FUNCTION_IMPORT: u64 = 32;
const OTHER_IMPORT: u64 = 32;
const FUNCTION_REFERENCE: u64 = 32;
const GLOBAL: u64 = 16;
const TAG: u64 = 16;
const TABLE: u64 = 128;
const MEMORY: u64 = 512;
const SEGMENT: u64 = 32;
const PASSIVE_ELEMENT: u64 = 16;
// A function between a component and the host, with its name and its own machine code, in each instance of a component.
const CANONICAL: u64 = 512;

/// What the instances of one attempt cost the host at most, outside of memories and the elements of tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::plugin) struct Footprint {
    pub(in crate::plugin) bytes: u64,
    /// Memories of all instances together.
    pub(in crate::plugin) memories: u64,
    /// Tables of all instances together.
    pub(in crate::plugin) tables: u64,
    /// Whether the counts hold: of a module that comes from elsewhere nobody knows what it has.
    pub(in crate::plugin) is_exact: bool,
}

/// The parts that a file puts together, section by section.
#[derive(Default)]
pub(super) struct Assembly {
    /// The innermost is the last.
    scopes: Vec<Scope>,
    /// The outermost, once it has ended.
    whole: Cost,
    largest_module: u64,
    slowest_module: u64,
    /// Whether a module is instantiated that is not defined around it: an argument, or what an instance exports.
    has_unknown: bool,
}

/// One module or component whose sections are being read.
#[derive(Default)]
struct Scope {
    is_component: bool,
    /// What instantiating it costs, as far as it is read.
    cost: Cost,
    // Of a core module: how many function references it may have.
    functions: u64,
    references: u64,
    /// Its index space of core modules: what instantiating each costs, if that is known.
    modules: Vec<Option<Cost>>,
    /// Its index space of components.
    components: Vec<Option<Cost>>,
}

#[derive(Clone, Copy, Default)]
struct Cost {
    core_instances: u64,
    component_instances: u64,
    bytes: u64,
    steps: u64,
    memories: u64,
    tables: u64,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.core_instances = self.core_instances.saturating_add(other.core_instances);
        self.component_instances = self
            .component_instances
            .saturating_add(other.component_instances);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.steps = self.steps.saturating_add(other.steps);
        self.memories = self.memories.saturating_add(other.memories);
        self.tables = self.tables.saturating_add(other.tables);
    }
}

impl Assembly {
    pub(in crate::plugin) fn depth(&self) -> usize {
        self.scopes.len()
    }

    pub(in crate::plugin) fn begin(&mut self, encoding: Encoding) {
        let is_component = encoding == Encoding::Component;
        let cost = match is_component {
            true => Cost {
                component_instances: 1,
                bytes: COMPONENT_INSTANCE,
                ..Cost::default()
            },
            false => Cost {
                core_instances: 1,
                bytes: INSTANCE,
                ..Cost::default()
            },
        };
        self.scopes.push(Scope {
            is_component,
            cost,
            ..Scope::default()
        });
    }

    pub(in crate::plugin) fn end(&mut self) {
        let Some(mut scope) = self.scopes.pop() else {
            return;
        };
        if !scope.is_component {
            let references = scope.references.min(scope.functions);
            scope.bytes(references, FUNCTION_REFERENCE);
            self.largest_module = self.largest_module.max(scope.cost.bytes);
            self.slowest_module = self.slowest_module.max(scope.cost.steps);
        }
        match self.scopes.last_mut() {
            Some(outer) if scope.is_component => outer.components.push(Some(scope.cost)),
            Some(outer) => outer.modules.push(Some(scope.cost)),
            None => self.whole = scope.cost,
        }
    }

    /// What all of it costs once it is read.
    pub(in crate::plugin) fn footprint(&self) -> Result<Footprint, SniffError> {
        let mut whole = self.whole;
        for (parts, count, most) in [
            ("core instances", whole.core_instances, MAX_CORE_INSTANCES),
            (
                "instances of components",
                whole.component_instances,
                MAX_COMPONENT_INSTANCES,
            ),
        ] {
            if count > most {
                return Err(SniffError::TooMany { parts, count, most });
            }
        }
        if self.has_unknown {
            // The store refuses more instances than that.
            let most = MAX_CORE_INSTANCES.saturating_mul(self.largest_module);
            whole.bytes = whole.bytes.max(most);
            let most = MAX_CORE_INSTANCES.saturating_mul(self.slowest_module);
            whole.steps = whole.steps.max(most);
        }
        if whole.steps > MAX_STEPS {
            return Err(SniffError::TooMany {
                parts: "steps to fill its instances with elements, globals and data",
                count: whole.steps,
                most: MAX_STEPS,
            });
        }
        if whole.bytes > MAX_INSTANCE_BYTES {
            return Err(SniffError::TooLarge {
                parts: "globals, imports and function references in its instances",
                bytes: ByteSize(whole.bytes),
                most: ByteSize(MAX_INSTANCE_BYTES),
            });
        }
        Ok(Footprint {
            bytes: whole.bytes,
            memories: whole.memories,
            tables: whole.tables,
            is_exact: !self.has_unknown,
        })
    }

    /// What a module begins with, which each of its instances is filled with.
    pub(in crate::plugin) fn fills(&mut self, steps: u64) {
        let cost = &mut self.scope().cost;
        cost.steps = cost.steps.saturating_add(steps);
    }

    pub(in crate::plugin) fn import(&mut self, kind: TypeRef) {
        let scope = self.scope();
        match kind {
            TypeRef::Func(_) | TypeRef::FuncExact(_) => {
                scope.functions += 1;
                scope.bytes(1, FUNCTION_IMPORT);
            }
            TypeRef::Table(_) | TypeRef::Memory(_) | TypeRef::Global(_) | TypeRef::Tag(_) => {
                scope.bytes(1, OTHER_IMPORT);
            }
        }
    }

    pub(in crate::plugin) fn functions(&mut self, count: u64) {
        self.scope().functions += count;
    }

    pub(super) fn core_exports(&mut self, count: u64) {
        self.scope().references += count;
    }

    /// A global may begin as a reference to a function.
    pub(in crate::plugin) fn globals(&mut self, count: u64) {
        let scope = self.scope();
        scope.references += count;
        scope.bytes(count, GLOBAL);
    }

    pub(in crate::plugin) fn tags(&mut self, count: u64) {
        self.scope().bytes(count, TAG);
    }

    /// A table may begin full of references to one function.
    pub(in crate::plugin) fn tables(&mut self, count: u64) {
        let scope = self.scope();
        scope.references += count;
        scope.bytes(count, TABLE);
        scope.cost.tables = scope.cost.tables.saturating_add(count);
    }

    pub(in crate::plugin) fn memories(&mut self, count: u64) {
        let scope = self.scope();
        scope.bytes(count, MEMORY);
        scope.cost.memories = scope.cost.memories.saturating_add(count);
    }

    pub(in crate::plugin) fn elements(&mut self, count: u64, is_passive: bool) {
        let scope = self.scope();
        scope.references += count;
        scope.bytes(1, SEGMENT);
        if is_passive {
            scope.bytes(count, PASSIVE_ELEMENT);
        }
    }

    pub(super) fn data_segments(&mut self, count: u64) {
        self.scope().bytes(count, SEGMENT);
    }

    pub(super) fn canonicals(&mut self, count: u64) {
        self.scope().bytes(count, CANONICAL);
    }

    pub(super) fn core_instance(&mut self, instance: &Instance<'_>) {
        if let Instance::Instantiate { module_index, .. } = instance {
            let scope = self.scope();
            match scope.modules.get(*module_index as usize).copied().flatten() {
                Some(cost) => scope.cost.add(cost),
                None => self.has_unknown = true,
            }
        }
    }

    pub(super) fn component_instance(
        &mut self,
        instance: &ComponentInstance<'_>,
    ) -> Result<(), SniffError> {
        if let ComponentInstance::Instantiate {
            component_index, ..
        } = instance
        {
            let scope = self.scope();
            let cost = scope.components.get(*component_index as usize);
            // The compiler would follow it to wherever it came from, and who doubles it on the way has no end.
            let cost = cost.copied().flatten().ok_or(SniffError::ForeignParts)?;
            scope.cost.add(cost);
        }
        Ok(())
    }

    pub(super) fn alias(&mut self, alias: &ComponentAlias<'_>) {
        match alias {
            ComponentAlias::InstanceExport { kind, .. } => self.define(*kind, None),
            ComponentAlias::Outer { kind, count, index } => {
                let outer = self.scopes.len().checked_sub(1 + *count as usize);
                let outer = outer.map(|place| &self.scopes[place]);
                let index = *index as usize;
                let known = |space: &[Option<Cost>]| space.get(index).copied().flatten();
                match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        let cost = outer.and_then(|outer| known(&outer.modules));
                        self.define(ComponentExternalKind::Module, cost);
                    }
                    ComponentOuterAliasKind::Component => {
                        let cost = outer.and_then(|outer| known(&outer.components));
                        self.define(ComponentExternalKind::Component, cost);
                    }
                    ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => {}
                }
            }
            ComponentAlias::CoreInstanceExport { .. } => {}
        }
    }

    pub(super) fn component_import(&mut self, kind: ComponentTypeRef) {
        match kind {
            ComponentTypeRef::Module(_) => self.define(ComponentExternalKind::Module, None),
            ComponentTypeRef::Component(_) => self.define(ComponentExternalKind::Component, None),
            ComponentTypeRef::Func(_)
            | ComponentTypeRef::Value(_)
            | ComponentTypeRef::Type(_)
            | ComponentTypeRef::Instance(_) => {}
        }
    }

    /// An export has a place in the index space of what it exports.
    pub(super) fn component_export(&mut self, export: &ComponentExport<'_>) {
        let scope = self.scope();
        let space = match export.kind {
            ComponentExternalKind::Module => &scope.modules,
            ComponentExternalKind::Component => &scope.components,
            ComponentExternalKind::Func
            | ComponentExternalKind::Value
            | ComponentExternalKind::Type
            | ComponentExternalKind::Instance => return,
        };
        let cost = space.get(export.index as usize).copied().flatten();
        self.define(export.kind, cost);
    }

    fn define(&mut self, kind: ComponentExternalKind, cost: Option<Cost>) {
        let scope = self.scope();
        match kind {
            ComponentExternalKind::Module => scope.modules.push(cost),
            ComponentExternalKind::Component => scope.components.push(cost),
            ComponentExternalKind::Func
            | ComponentExternalKind::Value
            | ComponentExternalKind::Type
            | ComponentExternalKind::Instance => {}
        }
    }

    fn scope(&mut self) -> &mut Scope {
        let scope = self.scopes.last_mut();
        scope.expect("a section is in a module or a component")
    }
}

impl Scope {
    fn bytes(&mut self, count: u64, each: u64) {
        self.cost.bytes = self.cost.bytes.saturating_add(count.saturating_mul(each));
    }
}
