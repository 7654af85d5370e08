//! WebAssembly's binary format, as far as tests write it themselves.

use wasmparser::{Parser, Payload};

/// A component with another module in it, which is instantiated so many times. It must import
/// nothing for that.
pub fn with_module(component: &[u8], module: &[u8], times: usize) -> Vec<u8> {
    let mut file = component.to_vec();
    section(&mut file, 1, module);
    if times > 0 {
        let mut instances = Vec::new();
        number(&mut instances, times);
        for _ in 0..times {
            instances.push(0);
            number(&mut instances, modules(component));
            instances.push(0);
        }
        section(&mut file, 2, &instances);
    }
    file
}

/// A module of so many functions with the same number of locals and the same instructions.
#[allow(dead_code, reason = "the suite does, the fuzzing does not")]
pub fn functions(count: usize, locals: usize, instructions: &[u8]) -> Vec<u8> {
    const I32: u8 = 0x7f;
    let mut body = vec![1];
    number(&mut body, locals);
    body.push(I32);
    body.extend_from_slice(instructions);
    body.push(0x0b);
    let (mut types, mut code) = (Vec::new(), Vec::new());
    number(&mut types, count);
    types.resize(types.len() + count, 0);
    number(&mut code, count);
    for _ in 0..count {
        number(&mut code, body.len());
        code.extend_from_slice(&body);
    }
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &[1, 0x60, 0, 0]);
    section(&mut module, 3, &types);
    section(&mut module, 10, &code);
    module
}

/// Components nested so deep, of which nothing is instantiated.
#[allow(dead_code, reason = "the fuzzing does, the suite does not")]
pub fn nested(levels: usize) -> Vec<u8> {
    const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
    let mut sizes = vec![HEADER.len()];
    for level in 1..levels {
        let (inside, mut size) = (sizes[level - 1], Vec::new());
        number(&mut size, inside);
        sizes.push(HEADER.len() + 1 + size.len() + inside);
    }
    let mut file = HEADER.to_vec();
    for size in sizes.iter().rev().skip(1) {
        file.push(4);
        number(&mut file, *size);
        file.extend_from_slice(HEADER);
    }
    file
}

/// Loops that each change every local.
#[allow(dead_code, reason = "the suite does, the fuzzing does not")]
pub fn loops(count: usize, locals: usize) -> Vec<u8> {
    let mut body = vec![0x03, 0x40];
    for local in 0..locals {
        body.push(0x20);
        number(&mut body, (local + 1) % locals);
        body.push(0x21);
        number(&mut body, local);
    }
    body.extend([0x20, 0, 0x0d, 0, 0x0b]);
    body.repeat(count)
}

fn section(file: &mut Vec<u8>, id: u8, content: &[u8]) {
    file.push(id);
    number(file, content.len());
    file.extend_from_slice(content);
}

/// A number as WebAssembly writes it.
fn number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// How many modules a component has.
fn modules(component: &[u8]) -> usize {
    let payloads = Parser::new(0).parse_all(component).map(|payload| payload.expect("whole"));
    payloads.filter(|payload| matches!(payload, Payload::ModuleSection { .. })).count()
}
