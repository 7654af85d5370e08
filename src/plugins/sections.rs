//! The sections of WebAssembly's binary format, without the code in them.

use wasmparser::{BinaryReaderError, Chunk, Parser, Payload};

/// The sections of a component or module, and of what is nested in it, in their order. The bodies
/// of functions are passed over, and damage in them is not found: they are most of a file, and
/// nobody who asks for sections reads them. Only where they are cut off do those come that are
/// there, before the error.
pub(super) fn sections(
    mut binary: &[u8],
) -> impl Iterator<Item = Result<Payload<'_>, BinaryReaderError>> {
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
            Err(error) => return Some(Err(error)),
        };
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
mod tests {
    use super::*;

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
