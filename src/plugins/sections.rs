//! The sections of WebAssembly's binary format, without the code in them.

use anyhow::Result;
use wasmparser::{Chunk, Parser, Payload};

use super::bounds::check_levels;

/// The sections of a component or module, and of what is nested in it, in their order. The bodies
/// of functions are passed over, and damage in them is not found: they are most of a file, and
/// nobody who asks for sections reads them. Only where they are cut off do those come that are
/// there, before the error.
///
/// The router itself asks for those of files that it has only just seen, so that nesting is
/// bounded here: each level takes memory as long as it is open.
///
/// # Errors
/// The file is damaged ([`wasmparser::BinaryReaderError`]), or components are nested too deep. It is
/// the last item then.
pub(super) fn sections(mut binary: &[u8]) -> impl Iterator<Item = Result<Payload<'_>>> {
    let (mut parser, mut outer) = (Some(Parser::new(0)), Vec::new());
    std::iter::from_fn(move || {
        let mut current = parser.take()?;
        let payload = match current.parse(binary, true) {
            Ok(Chunk::Parsed { payload, consumed }) => {
                binary = &binary[consumed..];
                payload
            }
            // With all of the binary at hand, nothing more is needed.
            Ok(Chunk::NeedMoreData(_)) => return None,
            Err(error) => return Some(Err(error.into())),
        };
        if let Payload::ComponentSection { .. } = payload
            && let Err(error) = check_levels(outer.len() + 2)
        {
            return Some(Err(error));
        }
        parser = match &payload {
            Payload::ModuleSection { parser, .. } | Payload::ComponentSection { parser, .. } => {
                outer.push(current);
                Some(parser.clone())
            }
            Payload::CodeSectionStart { size, .. } => {
                // If the rest is missing, the parser is the one to say so.
                if let Some(rest) = binary.get(*size as usize..) {
                    current.skip_section();
                    binary = rest;
                }
                Some(current)
            }
            Payload::End(_) => outer.pop(),
            _ => Some(current),
        };
        Some(Ok(payload))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Components nested so deep, each with a size of 5 bytes before it.
    pub(in crate::plugins) fn nested(levels: usize) -> Vec<u8> {
        const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
        let mut file = HEADER.to_vec();
        for inside in (0..levels - 1).rev() {
            let size = HEADER.len() + inside * (HEADER.len() + 6);
            file.push(4);
            file.extend((0..5).map(|part| (size >> (7 * part)) as u8 | 0x80));
            if let Some(last) = file.last_mut() {
                *last &= 0x7f;
            }
            file.extend_from_slice(HEADER);
        }
        file
    }

    #[test]
    fn components_are_followed_as_deep_as_they_may_be_nested() {
        assert!(sections(&nested(16)).all(|payload| payload.is_ok()));
        let too_deep = nested(100_000);
        let found: Vec<_> = sections(&too_deep).collect();
        assert_eq!(found.len(), 1 + 2 * 15 + 1, "the start, two items a level, the error");
        let error = found.into_iter().find_map(Result::err).unwrap().to_string();
        assert_eq!(error, "the plugin has 17 levels of components; the limit is 16");
    }

    #[test]
    fn sections_are_those_of_the_parser_but_for_the_bodies_of_functions() {
        let binary = wat::parse_str(
            r#"(component
                (core module (func) (func (drop (i32.const 1))) (memory 1) (data (i32.const 0) "x"))
                (component (core module (func (export "f"))) (type string))
                (core module (func)))"#,
        )
        .unwrap();
        let all = Parser::new(0).parse_all(&binary).map(Result::unwrap);
        let all = all.filter(|payload| !matches!(payload, Payload::CodeSectionEntry(_)));
        let expected: Vec<String> = all.map(|payload| format!("{payload:?}")).collect();
        let found: Vec<_> =
            sections(&binary).map(|payload| format!("{:?}", payload.unwrap())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_cut_off_says_so_once() {
        for text in [
            "(module (func) (func) (func (drop (i32.const 1))))",
            "(component (core module (func) (func (drop (i32.const 1)))) (component))",
        ] {
            let binary = wat::parse_str(text).unwrap();
            for length in 9..binary.len() {
                let cut = &binary[..length];
                let found: Vec<_> = sections(cut).take(20).collect();
                let is_whole = Parser::new(0).parse_all(cut).all(|payload| payload.is_ok());
                assert_eq!(found.iter().all(Result::is_ok), is_whole, "{text}: {length}");
                assert!(found.iter().rev().skip(1).all(Result::is_ok), "{text}: {length}");
            }
        }
    }
}
