//! The modules and components that a component can instantiate, and what it does
//! instantiate.

use anyhow::{Result, bail};
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentType, ComponentTypeDeclaration, ComponentTypeRef, Instance, InstanceTypeDeclaration,
    Payload,
};

use super::cost::Cost;

/// A component that has begun.
#[derive(Default)]
pub(super) struct Scope {
    /// What an instance of each module costs, by the module's index; and of each component.
    modules: Vec<Cost>,
    components: Vec<Cost>,
    /// The kind of what is being defined inside.
    defining: Option<ComponentExternalKind>,
    /// The most that anything costs that has been defined inside.
    dearest: Cost,
    own: Cost,
}

impl Scope {
    /// A module or component inside has ended, of which nothing costs more than `dearest`.
    pub(super) fn define(&mut self, cost: Cost, dearest: Cost) {
        self.dearest = self.dearest.or(cost).or(dearest);
        match self.defining.take() {
            Some(ComponentExternalKind::Module) => self.modules.push(cost),
            _ => self.components.push(cost),
        }
    }

    /// Takes a section into account. `outer` gives the components around this one.
    ///
    /// # Errors
    /// It imports what it instantiates, whose cost cannot be told; or it is damaged.
    pub(super) fn add<'s>(
        &mut self,
        payload: &Payload<'_>,
        outer: impl Fn(u32) -> Option<&'s Scope>,
    ) -> Result<()> {
        match payload {
            Payload::ModuleSection { .. } => self.defining = Some(ComponentExternalKind::Module),
            Payload::ComponentSection { .. } => {
                self.defining = Some(ComponentExternalKind::Component);
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    let made = match instance? {
                        Instance::Instantiate { module_index, .. } => {
                            self.of(ComponentExternalKind::Module, module_index)
                        }
                        Instance::FromExports(_) => Cost { instances: 0, ..Cost::INSTANCE },
                    };
                    self.instantiate(made)?;
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    let made = match instance? {
                        ComponentInstance::Instantiate { component_index, .. } => {
                            self.of(ComponentExternalKind::Component, component_index)
                        }
                        ComponentInstance::FromExports(_) => {
                            Cost { instances: 0, ..Cost::INSTANCE }
                        }
                    };
                    self.instantiate(made)?;
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    check_known(import?.ty)?;
                }
            }
            Payload::ComponentTypeSection(section) => {
                for ty in section.clone() {
                    let ty = ty?;
                    check_type(&ty)?;
                    // Each instance has one of its own.
                    if let ComponentType::Resource { .. } = ty {
                        self.instantiate(Cost::RESOURCE)?;
                    }
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                self.instantiate(Cost::canonical(section.count()))?;
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(alias?, &outer);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    let cost = self.of(export.kind, export.index);
                    self.known(export.kind, cost);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What an instance costs, and the most that anything inside costs.
    pub(super) fn cost(self) -> (Cost, Cost) {
        let cost = self.own.and(Cost::INSTANCE);
        (cost, self.dearest.or(cost))
    }

    fn alias<'s>(&mut self, alias: ComponentAlias<'_>, outer: impl Fn(u32) -> Option<&'s Scope>) {
        match alias {
            ComponentAlias::InstanceExport { kind, .. } => self.known(kind, self.dearest),
            ComponentAlias::Outer { kind, count, index } => {
                let kind = match kind {
                    ComponentOuterAliasKind::CoreModule => ComponentExternalKind::Module,
                    ComponentOuterAliasKind::Component => ComponentExternalKind::Component,
                    _ => return,
                };
                let cost = match count {
                    0 => self.of(kind, index),
                    count => {
                        let scope = outer(count);
                        // An instance of a component may hand out more than it costs itself.
                        let dearest = scope.map(|scope| scope.dearest).unwrap_or_default();
                        self.dearest = self.dearest.or(dearest);
                        scope.map(|scope| scope.of(kind, index)).unwrap_or_default()
                    }
                };
                self.known(kind, cost);
            }
            ComponentAlias::CoreInstanceExport { .. } => {}
        }
    }

    /// What an instance of a module or component of this scope costs. An index that does not
    /// exist is found when the file is validated.
    fn of(&self, kind: ComponentExternalKind, index: u32) -> Cost {
        let known = match kind {
            ComponentExternalKind::Module => &self.modules,
            ComponentExternalKind::Component => &self.components,
            _ => return Cost::default(),
        };
        known.get(index as usize).copied().unwrap_or_default()
    }

    /// The next index of its kind stands for something of this cost.
    fn known(&mut self, kind: ComponentExternalKind, cost: Cost) {
        self.dearest = self.dearest.or(cost);
        match kind {
            ComponentExternalKind::Module => self.modules.push(cost),
            ComponentExternalKind::Component => self.components.push(cost),
            _ => {}
        }
    }

    fn instantiate(&mut self, made: Cost) -> Result<()> {
        self.own = self.own.and(made);
        // Now rather than at the end: a section of a few bytes can hold thousands.
        self.own.check()
    }
}

/// Checks that instances of a type hand out nothing that can be instantiated: what is imported
/// as an instance could be told no cost of either.
fn check_type(ty: &ComponentType<'_>) -> Result<()> {
    match ty {
        ComponentType::Instance(declarations) => {
            declarations.iter().try_for_each(|declaration| match declaration {
                InstanceTypeDeclaration::Type(inner) => check_type(inner),
                InstanceTypeDeclaration::Export { ty, .. } => check_known(*ty),
                _ => Ok(()),
            })
        }
        ComponentType::Component(declarations) => {
            declarations.iter().try_for_each(|declaration| match declaration {
                ComponentTypeDeclaration::Type(inner) => check_type(inner),
                _ => Ok(()),
            })
        }
        _ => Ok(()),
    }
}

/// Checks that what comes from elsewhere is not to be instantiated.
fn check_known(ty: ComponentTypeRef) -> Result<()> {
    if let ComponentTypeRef::Module(_) | ComponentTypeRef::Component(_) = ty {
        bail!(
            "the plugin has a component that imports modules or components, whose cost cannot be \
             told: compose it of instances"
        );
    }
    Ok(())
}
