//! How many types a file has.

use anyhow::Result;
use wasmparser::{
    ComponentDefinedType, ComponentType, ComponentTypeDeclaration, CompositeInnerType, CoreType,
    InstanceTypeDeclaration, ModuleTypeDeclaration, Payload, RecGroup,
};

use super::within;

/// Types in all components and modules together, with their parameters, results, fields and
/// cases: the engine keeps each of them once for a plugin that is loaded, whatever is
/// instantiated, and a type of the shortest takes some hundred bytes.
const MOST: u64 = 100_000;

/// The types so far.
#[derive(Default)]
pub(super) struct Types(u64);

impl Types {
    /// Takes a section into account.
    ///
    /// # Errors
    /// There are too many types; or it is damaged.
    pub(super) fn add(&mut self, payload: &Payload<'_>) -> Result<()> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    self.count(of_group(&group?))?;
                }
            }
            Payload::CoreTypeSection(section) => {
                for ty in section.clone() {
                    self.count(of_core(&ty?))?;
                }
            }
            Payload::ComponentTypeSection(section) => {
                for ty in section.clone() {
                    self.count(of_component(&ty?))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, more: usize) -> Result<()> {
        self.0 += more as u64;
        within("types, parameters and fields", self.0, MOST)
    }
}

fn of_group(group: &RecGroup) -> usize {
    let parts = group.types().map(|ty| match &ty.composite_type.inner {
        CompositeInnerType::Func(function) => function.params().len() + function.results().len(),
        CompositeInnerType::Struct(fields) => fields.fields.len(),
        CompositeInnerType::Array(_) | CompositeInnerType::Cont(_) => 0,
    });
    parts.map(|parts| 1 + parts).sum()
}

fn of_core(ty: &CoreType<'_>) -> usize {
    match ty {
        CoreType::Rec(group) => of_group(group),
        CoreType::Module(declarations) => {
            let parts = declarations.iter().map(|declaration| match declaration {
                ModuleTypeDeclaration::Type(group) => of_group(group),
                _ => 1,
            });
            1 + parts.sum::<usize>()
        }
    }
}

/// The type with what is declared inside. The parser bounds how deep that is nested.
fn of_component(ty: &ComponentType<'_>) -> usize {
    let parts = match ty {
        ComponentType::Defined(defined) => match defined {
            ComponentDefinedType::Record(fields) => fields.len(),
            ComponentDefinedType::Variant(cases) => cases.len(),
            ComponentDefinedType::Tuple(types) => types.len(),
            ComponentDefinedType::Flags(names) | ComponentDefinedType::Enum(names) => names.len(),
            _ => 0,
        },
        ComponentType::Func(function) => function.params.len(),
        ComponentType::Component(declarations) => {
            let parts = declarations.iter().map(|declaration| match declaration {
                ComponentTypeDeclaration::Type(inner) => of_component(inner),
                ComponentTypeDeclaration::CoreType(inner) => of_core(inner),
                _ => 1,
            });
            parts.sum()
        }
        ComponentType::Instance(declarations) => {
            let parts = declarations.iter().map(|declaration| match declaration {
                InstanceTypeDeclaration::Type(inner) => of_component(inner),
                InstanceTypeDeclaration::CoreType(inner) => of_core(inner),
                _ => 1,
            });
            parts.sum()
        }
        ComponentType::Resource { .. } => 0,
    };
    1 + parts
}
