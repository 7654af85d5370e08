//! The names that a file gives its functions.

use anyhow::{Result, bail};
use wasmparser::{CustomSectionReader, KnownCustom, Name};

/// Bytes of a function's name. Rust's and C++'s, which spell out types, have some thousand.
const LONGEST: usize = 64 << 10;

/// Checks a custom section: a failure names up to twenty functions, and each of those names is
/// copied for it.
///
/// # Errors
/// Names the figure and the bound that it exceeds. Damage is none: names are read as far as they
/// can be.
pub(super) fn check(section: &CustomSectionReader<'_>) -> Result<()> {
    let KnownCustom::Name(names) = section.as_known() else { return Ok(()) };
    for names in names {
        match names {
            Ok(Name::Function(functions)) => {
                for function in functions.into_iter().map_while(Result::ok) {
                    let length = function.name.len();
                    if length > LONGEST {
                        bail!(
                            "the name of function {} has {length} bytes; the limit is {LONGEST}",
                            function.index
                        );
                    }
                }
            }
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}
