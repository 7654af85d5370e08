//! Turning a file's content into a component, or saying why that is impossible.

mod exit;

use std::borrow::Cow;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use wasi_preview1_component_adapter_provider as preview1;
use wasmparser::{BinaryReaderError, Encoding, Payload};
use wit_component::ComponentEncoder;

use super::bounds;
use super::sections::sections;

/// What kind of plugin file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A component.
    Component,
    /// A core module with embedded component type information.
    Module,
}

/// A component's bytes, and the kind of file that they were made from.
pub(super) struct ComponentBytes<'a> {
    pub(super) kind: Kind,
    pub(super) bytes: Cow<'a, [u8]>,
}

/// Makes a component from a file's content, if its structure is within bounds. What a file
/// can make of this is unknown: it is done where it is compiled.
///
/// # Errors
/// Says what the content is, and how to get a plugin instead.
pub(super) fn component(content: &[u8]) -> Result<ComponentBytes<'_>> {
    let binary = binary(content)?;
    let encoding = encoding(&binary)?;
    bounds::check(&binary).map_err(|error| refused(error, binary.len()))?;
    match encoding {
        Encoding::Component => Ok(ComponentBytes { kind: Kind::Component, bytes: binary }),
        Encoding::Module => {
            let bytes = encode(&binary)?.into();
            Ok(ComponentBytes { kind: Kind::Module, bytes })
        }
    }
}

/// The content in WebAssembly's binary format.
fn binary(content: &[u8]) -> Result<Cow<'_, [u8]>> {
    if content.starts_with(b"\0asm") {
        return Ok(content.into());
    }
    if content.is_empty() {
        bail!("the file is empty: copy it again");
    }
    if b"\0asm".starts_with(content) {
        bail!("the file is cut off after {} bytes: copy it again", content.len());
    }
    if let Some(format) = native_format(content) {
        bail!(
            "the file is a native executable ({format}), not WebAssembly: build it for a \
             WebAssembly target, such as wasm32-wasip2"
        );
    }
    match std::str::from_utf8(content) {
        Ok(text) if looks_like_wat(text) => {
            Ok(wat::parse_str(text).map_err(|error| invalid_text(&error))?.into())
        }
        Ok(_) => bail!(
            "the file is text, but not WebAssembly text: put the built .wasm file here instead"
        ),
        Err(_) => bail!(
            "the file is not WebAssembly: it begins with {}, but a .wasm file begins with 00 61 73 6d",
            hex(content)
        ),
    }
}

/// The parser's error, on one line.
fn invalid_text(error: &wat::Error) -> anyhow::Error {
    let report = error.to_string();
    let mut lines = report.lines();
    let message = lines.next().unwrap_or_default();
    // `--> <anon>:LINE:COLUMN`, followed by the line itself with a mark under it.
    match lines.next().and_then(|place| place.split_once("<anon>:")) {
        Some((_, place)) => anyhow!("the file is not valid WebAssembly text: {message} at {place}"),
        None => anyhow!("the file is not valid WebAssembly text: {message}"),
    }
}

fn native_format(content: &[u8]) -> Option<&'static str> {
    const MACH_O: [[u8; 4]; 5] = [
        [0xfe, 0xed, 0xfa, 0xce],
        [0xfe, 0xed, 0xfa, 0xcf],
        [0xce, 0xfa, 0xed, 0xfe],
        [0xcf, 0xfa, 0xed, 0xfe],
        [0xca, 0xfe, 0xba, 0xbe],
    ];
    if content.starts_with(b"\x7fELF") {
        Some("ELF, as on Linux")
    } else if MACH_O.iter().any(|magic| content.starts_with(magic)) {
        Some("Mach-O, as on macOS")
    } else if content.starts_with(b"MZ") && std::str::from_utf8(content).is_err() {
        Some("PE, as on Windows")
    } else {
        None
    }
}

/// Whether the first line that is not a comment opens a module or component.
fn looks_like_wat(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(";;"));
    first.is_some_and(|line| line.starts_with('('))
}

/// The first four bytes.
fn hex(content: &[u8]) -> String {
    let bytes: Vec<String> = content.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

/// Whether the binary is a component or a module. Goes through all its sections, to find damage.
fn encoding(binary: &[u8]) -> Result<Encoding> {
    let mut outermost = None;
    for payload in sections(binary) {
        match payload.map_err(|error| refused(error, binary.len()))? {
            Payload::Version { encoding, .. } => {
                outermost.get_or_insert(encoding);
            }
            _ => continue,
        }
    }
    outermost.context("the file contains no WebAssembly")
}

/// Whether the content is well-formed to its last byte. That of a file which is still
/// being written is not, nor is what is nested too deep.
pub fn is_whole(content: &[u8]) -> bool {
    match std::str::from_utf8(content) {
        // Parsing all of it is for where it is compiled.
        Ok(text) if looks_like_wat(text) => is_closed(text),
        _ => binary(content).and_then(|binary| encoding(&binary)).is_ok(),
    }
}

/// Whether the content is a binary that is well-formed to its last byte. The beginning of a text
/// may be one by itself; that of a binary hardly ever is.
pub fn is_whole_binary(content: &[u8]) -> bool {
    content.starts_with(b"\0asm") && is_whole(content)
}

/// Whether each parenthesis of WebAssembly's text format is closed.
fn is_closed(text: &str) -> bool {
    let (mut depth, mut rest) = (0_i64, text);
    while let Some(at) = rest.find(['(', ')', '"', ';']) {
        let after = &rest[at + 1..];
        rest = match &rest[at..=at] {
            "(" if after.starts_with(';') => match after.split_once(";)") {
                Some((_, after)) => after,
                None => return false,
            },
            ";" if after.starts_with(';') => after.split_once('\n').map_or("", |(_, after)| after),
            "\"" => match end_of_string(after) {
                Some(end) => &after[end..],
                None => return false,
            },
            bracket => {
                depth += i64::from(bracket == "(") - i64::from(bracket == ")");
                after
            }
        };
    }
    depth <= 0
}

/// Where a string ends that has begun.
fn end_of_string(text: &str) -> Option<usize> {
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some(at + 1),
            '\\' => drop(characters.next()),
            _ => {}
        }
    }
    None
}

/// Why a file of so many bytes is refused: what is damage to the parser is told as such.
fn refused(error: anyhow::Error, length: usize) -> anyhow::Error {
    match error.downcast_ref() {
        Some(error) => damaged(error, length),
        None => error,
    }
}

fn damaged(error: &BinaryReaderError, length: usize) -> anyhow::Error {
    if error.message().contains("unexpected end") {
        return anyhow!("the file is cut off after {length} bytes ({error}): copy it again");
    }
    anyhow!("the file is damaged: {error}")
}

/// Makes a component from a core module, as `wasm-tools component new` does.
fn encode(module: &[u8]) -> Result<Vec<u8>> {
    let info = ModuleInfo::of(module)?;
    if !info.has_types {
        bail!(
            "the file is a core WebAssembly module without component type information: build it \
             with wit-bindgen's bindings for the world os2mo:router/plugin, or as a component"
        );
    }
    let exiting = exit::redirected(module)?;
    let module = exiting.as_deref().unwrap_or(module);
    let encoder = ComponentEncoder::default().validate(true).module(module);
    let mut encoder = encoder.map_err(|error| not_encodable(&error))?;
    if exiting.is_some() {
        encoder = encoder.adapter(exit::ADAPTER_NAME, &exit::adapter()?)?;
    }
    if info.uses_preview1 {
        encoder = encoder.adapter(
            preview1::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
            preview1::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        )?;
    }
    encoder.encode().map_err(|error| not_encodable(&error))
}

fn not_encodable(error: &anyhow::Error) -> anyhow::Error {
    let root = error.root_cause().to_string();
    if root.starts_with("failed to find export") {
        return anyhow!("the plugin lacks a function ({root}): implement it and rebuild");
    }
    anyhow!(
        "the core module does not match the component type information in it ({root}): rebuild all of \
         it with the same version of its tools"
    )
}

/// What must be known about a core module to make a component from it.
struct ModuleInfo {
    /// It contains component type information.
    has_types: bool,
    /// It imports WASI preview 1.
    uses_preview1: bool,
}

impl ModuleInfo {
    fn of(module: &[u8]) -> Result<Self> {
        let mut info = Self { has_types: false, uses_preview1: false };
        for payload in sections(module) {
            match payload? {
                Payload::CustomSection(section) => {
                    info.has_types |= section.name().starts_with("component-type");
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        info.uses_preview1 |=
                            import?.module == preview1::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
                    }
                }
                _ => {}
            }
        }
        Ok(info)
    }
}

impl Kind {
    /// The kind of content that is known to be a plugin.
    pub(super) fn of(content: &[u8]) -> Self {
        match content {
            [b'\0', b'a', b's', b'm', _, _, 0, _, ..] => Kind::Module,
            _ => Kind::Component,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_in_a_function_is_called_damage() {
        let mut module = wat::parse_str("(module (func (drop (i32.const 1))) (memory 1))").unwrap();
        let code = module.windows(3).position(|bytes| bytes == [10, 7, 1]).unwrap();
        // A count of locals that has no end.
        module[code + 4] = 0xff;
        let error = component(&module).err().unwrap().to_string();
        assert!(error.starts_with("the file is damaged: "), "{error}");
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_wherever_it_is_read() {
        use crate::plugins::sections::tests::nested;

        assert!(is_whole(&nested(16)));
        assert!(!is_whole(&nested(1_000_000)));
        let error = component(&nested(1_000_000)).err().unwrap().to_string();
        assert_eq!(error, "the plugin has 17 levels of components; the limit is 16");
    }

    #[test]
    fn text_is_whole_when_all_is_closed() {
        for whole in
            ["(component)", "(module) ;; (", "(module (; ( ;) \"\\\"(\")", "(a))", ";; c\n(a)"]
        {
            assert!(is_whole(whole.as_bytes()), "{whole}");
        }
        for half in ["(component", "(module (; )", "(module \") ", "(a) (b"] {
            assert!(!is_whole(half.as_bytes()), "{half}");
        }
    }
}
