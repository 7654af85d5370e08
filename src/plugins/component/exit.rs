//! The status that a core module exits with. WASI's adapter of preview 1 makes 0 or 1 of it,
//! and `exit(3)` in a plugin would read as `exit(1)`. So modules get `proc_exit`, and that alone,
//! from an adapter of our own.

use anyhow::{Context, Result};
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as PREVIEW1;
use wasmparser::{Imports, Parser, Payload};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What the module imports `proc_exit` from, in place of WASI preview 1. It is as long as that
/// name, so that it can take its place in the file.
pub(super) const ADAPTER_NAME: &str = "mo_router_exit_status1";

const _: () = assert!(ADAPTER_NAME.len() == PREVIEW1.len());

/// The function in WASI preview 1.
const PROC_EXIT: &str = "proc_exit";

/// What it is made of. The interface is written as the other adapter has it: packages of one
/// name and version are merged.
const ADAPTER: &str = r#"
    (module
      (import "wasi:cli/exit@0.2.12" "exit-with-code" (func $exit (param i32)))
      (func (export "proc_exit") (param i32) (call $exit (local.get 0)) (unreachable)))
"#;
const WORLD: &str = "
    package wasi:cli@0.2.12;
    interface exit {
        exit: func(status: result);
        exit-with-code: func(status-code: u8);
    }
    world exits { import exit; }
";

/// The module, with `proc_exit` from [`ADAPTER_NAME`]; none if it does not import that.
pub(super) fn redirected(module: &[u8]) -> Result<Option<Vec<u8>>> {
    for payload in Parser::new(0).parse_all(module) {
        let Payload::ImportSection(imports) = payload? else { continue };
        for group in imports {
            // Compilers do not write the compact forms, in which imports share a name.
            let Imports::Single(_, import) = group? else { continue };
            if (import.module, import.name) == (PREVIEW1, PROC_EXIT) {
                let at = import.module.as_ptr().addr() - module.as_ptr().addr();
                let mut redirected = module.to_vec();
                redirected[at..at + PREVIEW1.len()].copy_from_slice(ADAPTER_NAME.as_bytes());
                return Ok(Some(redirected));
            }
        }
    }
    Ok(None)
}

/// The adapter, as a module that says what it imports.
pub(super) fn adapter() -> Result<Vec<u8>> {
    let mut module = wat::parse_str(ADAPTER)?;
    let mut resolve = Resolve::default();
    let package = resolve.push_str("exit.wit", WORLD)?;
    let world = resolve.select_world(&[package], None)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .context("the adapter for the exit status")?;
    Ok(module)
}
