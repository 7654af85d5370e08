//! Compiling a plugin's file.
//!
//! The router compiles in a process of its own (`apart`), the same program with limits on
//! memory and time, and without network, files and environment (`confine`): what a file
//! makes of the compiler stays there, and so does the memory that it takes. What the process
//! gives back is code for the cache, which checks it as it checks all code.

mod apart;
mod child;
mod confine;
mod priority;
mod reason;
mod taken;

use anyhow::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use wasmtime::Engine;

use super::component::{self, Kind};
use super::file::PluginFile;
use super::interface::Interface;
use crate::settings::Limits;
pub(super) use apart::Apart;
pub use child::compile_on_standard_streams;
pub use confine::Share;
pub use priority::LOWEST as LOWEST_PRIORITY;

/// What a file is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Description {
    /// What kind of file.
    pub kind: Kind,
    /// What it imports and exports.
    pub interface: Interface,
}

/// What compiling makes of a file.
pub(super) struct Compiled {
    pub(super) description: Description,
    pub(super) code: Code,
}

/// Native code, in wasmtime's form. Empty if it was not asked for.
pub(super) enum Code {
    Memory(Vec<u8>),
    /// Code that is in memory once leaves the process larger.
    File(NamedTempFile),
}

/// Why a file is not compiled though it may be a good one: the machine does not let it be. It can be
/// tried again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MachineFault(String);

/// What to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Only say what it is, whether or not the router can run it.
    Describe,
    /// Compile it, if the router can run it.
    Compile,
}

/// Where files are compiled.
pub(super) enum Compiler {
    /// In this process, without limits.
    Here,
    /// In a process of its own.
    Apart(Apart),
}

impl Compiler {
    /// Does the task with a file. Code may be written into the file, where that saves
    /// memory.
    ///
    /// # Errors
    /// Says what is wrong with the file, or which limit it exceeds.
    pub(super) async fn compile(
        &self,
        engine: &Engine,
        task: Task,
        file: &PluginFile,
        limits: &Limits,
        into: Option<NamedTempFile>,
    ) -> Result<Compiled> {
        match self {
            Self::Here => {
                let (engine, content) = (engine.clone(), file.bytes.clone());
                let compile = move || {
                    let (description, code) = compile(&engine, task, &content)?;
                    Ok(Compiled { description, code: Code::Memory(code) })
                };
                tokio::task::spawn_blocking(compile).await.context("compiling failed")?
            }
            Self::Apart(apart) => apart.compile(task, file, limits, into).await,
        }
    }
}

/// Does the task in this process.
fn compile(engine: &Engine, task: Task, content: &[u8]) -> Result<(Description, Vec<u8>)> {
    let component = component::component(content)?;
    let interface = Interface::of(&component.bytes).context("the file is damaged")?;
    let mut code = Vec::new();
    if task == Task::Compile {
        interface.checked()?;
        let compiled = engine.precompile_component(&component.bytes);
        code = compiled.map_err(Error::from).context("the file does not compile")?;
    }
    Ok((Description { kind: component.kind, interface }, code))
}
