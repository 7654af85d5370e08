//! How much work one function is for the compiler.

use anyhow::{Result, bail};
use wasmparser::{FunctionBody, Operator};

/// Bytes of one function.
const LARGEST: u64 = 4 << 20;

/// Locals of one function.
const MOST_LOCALS: u64 = 20_000;

/// Locals times places where control flow joins: the compiler looks at each local at each of
/// them.
const MOST_JOINED: u64 = 100_000_000;

/// Locals times loops, which cost the most of these.
const MOST_LOOPED: u64 = 200_000;

/// Checks the function with this number, counted over the whole file.
///
/// # Errors
/// Names the figure and the bound that it exceeds; or the function is damaged.
pub(super) fn check(number: u64, body: &FunctionBody<'_>) -> Result<()> {
    let within = |what: &str, figure: u64, bound: u64| {
        if figure > bound {
            bail!("function {number} has {figure} {what}; the limit is {bound}");
        }
        Ok(())
    };
    within("bytes", body.range().len() as u64, LARGEST)?;
    let mut locals = 1_u64;
    for group in body.get_locals_reader()? {
        locals += u64::from(group?.0);
    }
    within("locals", locals, MOST_LOCALS)?;
    let (mut joins, mut loops) = (0, 0);
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        match operators.read()? {
            Operator::Loop { .. } => {
                joins += 1;
                loops += 1;
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => joins += 1,
            _ => {}
        }
    }
    within("locals times blocks", locals * joins, MOST_JOINED)?;
    within("locals times loops", locals * loops, MOST_LOOPED)
}
