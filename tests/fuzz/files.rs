//! Files from seeds.

use std::sync::OnceLock;

use arbitrary::Unstructured;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use wasm_smith::{Component, Config, Module};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

use crate::wasm;

/// The file of a seed.
pub fn file(seed: u64) -> Vec<u8> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut file = match rng.random_range(0..9) {
        0 => module(&mut rng, false).unwrap_or_default(),
        1 => component(&mut rng).unwrap_or_default(),
        2 => good_module().to_vec(),
        3 => good_component().to_vec(),
        4 => with_module(&mut rng, 0),
        8 => {
            let levels = rng.random_range(1..100_000);
            wasm::nested(levels)
        }
        5 => wasmprinter::print_bytes(with_module(&mut rng, 1)).unwrap_or_default().into(),
        _ => {
            let times = rng.random_range(1..40);
            with_module(&mut rng, times)
        }
    };
    if rng.random_ratio(1, 3) {
        damage(&mut file, &mut rng);
    }
    file
}

/// A plugin with another module in it that is instantiated so many times.
fn with_module(rng: &mut SmallRng, times: usize) -> Vec<u8> {
    match module(rng, true) {
        Some(module) => wasm::with_module(good_component(), &module, times),
        None => good_component().to_vec(),
    }
}

fn module(rng: &mut SmallRng, is_closed: bool) -> Option<Vec<u8>> {
    let mut config = config(rng);
    if is_closed {
        config.max_imports = 0;
    }
    let bytes = bytes(rng);
    Some(Module::new(config, &mut Unstructured::new(&bytes)).ok()?.to_bytes())
}

fn component(rng: &mut SmallRng) -> Option<Vec<u8>> {
    let (config, bytes) = (config(rng), bytes(rng));
    Some(Component::new(config, &mut Unstructured::new(&bytes)).ok()?.to_bytes())
}

fn config(rng: &mut SmallRng) -> Config {
    Config {
        allow_start_export: true,
        bulk_memory_enabled: rng.random(),
        exceptions_enabled: rng.random_ratio(1, 8),
        gc_enabled: rng.random(),
        max_memories: 4,
        max_tables: 4,
        memory64_enabled: rng.random(),
        multi_value_enabled: true,
        reference_types_enabled: true,
        relaxed_simd_enabled: rng.random_ratio(1, 8),
        simd_enabled: rng.random(),
        tail_call_enabled: rng.random(),
        threads_enabled: rng.random_ratio(1, 8),
        ..Config::default()
    }
}

fn bytes(rng: &mut SmallRng) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(64..8192)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Cuts the file off, or changes some of it.
fn damage(file: &mut Vec<u8>, rng: &mut SmallRng) {
    if file.is_empty() {
        return;
    }
    if rng.random_ratio(1, 4) {
        file.truncate(rng.random_range(0..file.len()));
        return;
    }
    for _ in 0..rng.random_range(1..8) {
        let at = rng.random_range(0..file.len());
        match rng.random_range(0..3) {
            0 => file[at] = rng.random(),
            1 => file[at] ^= 1 << rng.random_range(0..8),
            _ => file.insert(at, rng.random()),
        }
    }
}

/// A plugin that works, as a module.
/// A module that is a plugin's.
pub fn good_module() -> &'static [u8] {
    static MODULE: OnceLock<Vec<u8>> = OnceLock::new();
    MODULE.get_or_init(|| {
        let mut module = wat::parse_str(include_str!("../hostile/well-behaved.wat")).unwrap();
        let mut resolve = Resolve::default();
        let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/wit");
        let (package, _) = resolve.push_dir(wit).unwrap();
        let world = resolve.select_world(&[package], Some("plugin")).unwrap();
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .unwrap();
        module
    })
}

/// The same as a component.
fn good_component() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let encoder = ComponentEncoder::default().module(good_module());
        encoder.and_then(|mut encoder| encoder.encode()).unwrap()
    })
}
