//! Bounds on the structure of a plugin's file, checked before any of it is compiled.
//!
//! A small file can ask for much: components are instantiated within components, so that
//! each level multiplies what is inside of it; a module costs its host memory for every
//! function and global each time it is instantiated; and compiling a function takes more
//! than linear time in its locals and loops. What a plugin needs is far below these bounds:
//! Python's runtime, the largest in use, is the measure.

mod cost;
mod function;
mod names;
mod scope;
mod types;

use anyhow::{Result, anyhow, bail};
use wasmparser::{Encoding, Parser, Payload};

use self::cost::{Cost, ModuleCost};
use self::scope::Scope;
use self::types::Types;

/// How deep components may be nested.
const DEEPEST: u64 = 16;

/// How many sections there may be, in all components and modules together.
const MOST_SECTIONS: u64 = 100_000;

/// Checks a module or component.
///
/// # Errors
/// Names the figure and the bound that it exceeds; or the content is damaged.
pub(super) fn check(binary: &[u8]) -> Result<()> {
    let mut open: Vec<Open> = Vec::new();
    let mut functions = 0_u64;
    let mut sections = 0_u64;
    let mut types = Types::default();
    for payload in Parser::new(0).parse_all(binary) {
        let payload = payload?;
        sections += u64::from(!matches!(payload, Payload::CodeSectionEntry(_)));
        within("sections", sections, MOST_SECTIONS)?;
        types.add(&payload)?;
        match &payload {
            Payload::Version { encoding: Encoding::Module, .. } => {
                open.push(Open::Module(ModuleCost::default()));
            }
            Payload::Version { encoding: Encoding::Component, .. } => {
                check_levels(open.len() + 1)?;
                open.push(Open::Component(Scope::default()));
            }
            Payload::CodeSectionEntry(body) => {
                function::check(functions, body)?;
                functions += 1;
            }
            Payload::CustomSection(section) => names::check(section)?,
            Payload::End(_) => {
                let ended = open.pop().ok_or_else(|| anyhow!("it has no start"))?;
                let (cost, dearest) = ended.cost();
                cost.check()?;
                match open.last_mut() {
                    None => return Ok(()),
                    Some(Open::Component(outer)) => outer.define(cost, dearest),
                    Some(Open::Module(_)) => bail!("a module cannot contain anything"),
                }
            }
            payload => add(&mut open, payload)?,
        }
    }
    bail!("the file contains no WebAssembly")
}

/// Checks how deep components are nested; one that is in no other is one level.
///
/// # Errors
/// Names the figure and the bound.
pub(super) fn check_levels(levels: usize) -> Result<()> {
    within("levels of components", levels as u64, DEEPEST)
}

/// A module or component that has begun and not ended.
enum Open {
    Module(ModuleCost),
    Component(Scope),
}

impl Open {
    /// What instantiating it costs, when all of it is known; and the most that anything costs
    /// that it may hand out.
    fn cost(self) -> (Cost, Cost) {
        match self {
            Self::Module(module) => {
                let cost = module.cost();
                (cost, cost)
            }
            Self::Component(scope) => scope.cost(),
        }
    }
}

/// Takes a section into account.
fn add(open: &mut [Open], payload: &Payload<'_>) -> Result<()> {
    let Some((inner, outer)) = open.split_last_mut() else { return Ok(()) };
    match inner {
        Open::Module(module) => module.add(payload),
        Open::Component(scope) => {
            let outer = |count: u32| match outer.iter().rev().nth((count as usize).checked_sub(1)?)
            {
                Some(Open::Component(scope)) => Some(scope),
                _ => None,
            };
            scope.add(payload, outer)
        }
    }
}

/// Checks a figure against its bound.
fn within(what: &str, figure: u64, bound: u64) -> Result<()> {
    if figure > bound {
        bail!("the plugin has {figure} {what}; the limit is {bound}");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
