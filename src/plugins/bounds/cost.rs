//! What instantiating a module or component costs the host.

use anyhow::Result;
use wasmparser::{ElementKind, Payload, TypeRef};

use super::within;
use crate::plugins::engine::{MOST_INSTANCES, MOST_MEMORIES, MOST_TABLES};

/// Globals of all instances together.
const MOST_GLOBALS: u64 = 100_000;

/// Functions of one module.
const MOST_FUNCTIONS: u64 = 200_000;

/// Bytes that the host may need for one guest, beside its memories and tables.
const MOST_BYTES: u64 = 32 << 20;

/// Bytes of the host's for each part of an instance, rounded up from wasmtime's structures.
const INSTANCE: u64 = 1024;
const FUNCTION: u64 = 32;
const IMPORT: u64 = 32;
const GLOBAL: u64 = 16;
const MEMORY: u64 = 256;
const TABLE: u64 = 256;
const SEGMENT: u64 = 32;
const ELEMENT: u64 = 16;

/// Bytes for each resource type of an instance of a component, and each function that it lifts,
/// lowers or takes from the host: what a guest has of them, and what its plugin keeps to make it.
const RESOURCE: u64 = 128;
const CANONICAL: u64 = 128;

/// What one instantiation makes, at most. Sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Instances of modules and components.
    pub(super) instances: u64,
    pub(super) memories: u64,
    pub(super) tables: u64,
    pub(super) globals: u64,
    /// Bytes of the host's own structures.
    pub(super) bytes: u64,
}

impl Cost {
    /// An instance of nothing.
    pub(super) const INSTANCE: Self =
        Self { instances: 1, memories: 0, tables: 0, globals: 0, bytes: INSTANCE };

    /// A resource type.
    pub(super) const RESOURCE: Self =
        Self { instances: 0, memories: 0, tables: 0, globals: 0, bytes: RESOURCE };

    /// So many functions at the border of a component.
    pub(super) fn canonical(count: u32) -> Self {
        Self { bytes: u64::from(count) * CANONICAL, ..Self::default() }
    }

    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            instances: self.instances.saturating_add(other.instances),
            memories: self.memories.saturating_add(other.memories),
            tables: self.tables.saturating_add(other.tables),
            globals: self.globals.saturating_add(other.globals),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// The most of either, for what cannot be told.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            instances: self.instances.max(other.instances),
            memories: self.memories.max(other.memories),
            tables: self.tables.max(other.tables),
            globals: self.globals.max(other.globals),
            bytes: self.bytes.max(other.bytes),
        }
    }

    /// Checks all of it.
    ///
    /// # Errors
    /// Names the first figure that exceeds its bound.
    pub(super) fn check(&self) -> Result<()> {
        within("instances of modules and components", self.instances, MOST_INSTANCES.into())?;
        within("memories", self.memories, MOST_MEMORIES.into())?;
        within("tables", self.tables, MOST_TABLES.into())?;
        within("globals", self.globals, MOST_GLOBALS)?;
        within("bytes of structures for its instances", self.bytes, MOST_BYTES)
    }
}

/// What is known of a module so far.
#[derive(Default)]
pub(super) struct ModuleCost {
    functions: u64,
    own: Cost,
}

impl ModuleCost {
    /// Takes one of its sections into account.
    ///
    /// # Errors
    /// It has too many functions, or is damaged.
    pub(super) fn add(&mut self, payload: &Payload<'_>) -> Result<()> {
        let own = &mut self.own;
        let add = |sum: &mut u64, count: u32, bytes: u64| {
            *sum += u64::from(count);
            u64::from(count) * bytes
        };
        let (mut imports, mut segments) = (0, 0);
        let bytes = match payload {
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    imports += 1;
                    // An imported global of another instance is a pointer; all the same, a
                    // tag or a type is not.
                    self.functions += u64::from(matches!(import?.ty, TypeRef::Func(_)));
                }
                imports * IMPORT
            }
            Payload::FunctionSection(section) => {
                add(&mut self.functions, section.count(), FUNCTION)
            }
            Payload::GlobalSection(section) => add(&mut own.globals, section.count(), GLOBAL),
            Payload::MemorySection(section) => add(&mut own.memories, section.count(), MEMORY),
            Payload::TableSection(section) => add(&mut own.tables, section.count(), TABLE),
            Payload::TagSection(section) => u64::from(section.count()) * GLOBAL,
            Payload::DataSection(section) => add(&mut segments, section.count(), SEGMENT),
            Payload::ElementSection(section) => {
                let mut bytes = 0;
                for element in section.clone() {
                    let element = element?;
                    // Those of an active segment go into the table, which is counted.
                    let elements = match (&element.kind, &element.items) {
                        (ElementKind::Active { .. } | ElementKind::Declared, _) => 0,
                        (_, wasmparser::ElementItems::Functions(items)) => items.count(),
                        (_, wasmparser::ElementItems::Expressions(_, items)) => items.count(),
                    };
                    bytes += SEGMENT + u64::from(elements) * ELEMENT;
                }
                bytes
            }
            _ => 0,
        };
        own.bytes = own.bytes.saturating_add(bytes);
        within("functions in one module", self.functions, MOST_FUNCTIONS)
    }

    /// What an instance costs.
    pub(super) fn cost(self) -> Cost {
        self.own.and(Cost::INSTANCE)
    }
}
