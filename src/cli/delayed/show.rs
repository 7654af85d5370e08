//! What people see of delayed messages.

use anyhow::{Result, bail};
use serde_json::Value as Json;

use crate::cli::output::{Format, remark, table};
use crate::delay::import::Imported;
use crate::delay::import::agent::Moved;
use crate::delay::{Census, Changed, PERIODS, Stored, show};
use crate::escape::escaped;

/// What an import did.
pub fn imported(imported: Imported, format: Format) -> Result<()> {
    let Imported { read, added, known, undated, set_aside } = imported;
    let mut text =
        format!("{read} read, {added} new, {known} imported before, {set_aside} set aside");
    if undated > 0 {
        text.push_str(&format!(", {undated} without a date left with the agent"));
    }
    format.print(&imported, text)
}

/// What moving messages into the agent's table did.
pub fn moved(moved: Moved, format: Format) -> Result<()> {
    let Moved { deleted, moved: taken, kept, left, repeated } = moved;
    let text = format!(
        "{taken} moved, {kept} due too early and kept, {left} left, {repeated} sent twice; \
         {deleted} imported rows deleted"
    );
    format.print(&moved, text)
}

/// A page of messages; `more` if another may follow.
pub fn list(page: &[Stored], more: bool, format: Format) -> Result<()> {
    let mut table = table();
    table.set_header(["ID", "DUE", "ATTEMPTS", "PLUGIN", "EXCHANGE", "ROUTING KEY", "UUID", "KEY"]);
    for Stored { id, attempts, delayed, .. } in page {
        table.add_row([
            &*id.to_string(),
            &*delayed.due.to_string(),
            &*attempts.to_string(),
            &*escaped(&delayed.plugin),
            &*escaped(&delayed.message.exchange),
            &*escaped(&delayed.message.routing_key),
            &*escaped(&delayed.uuid),
            &*escaped(delayed.key.as_deref().unwrap_or_default()),
        ]);
    }
    format.print(&Json::from_iter(page.iter().map(show::summary)), table)?;
    if format == Format::Text
        && more
        && let Some(last) = page.last()
    {
        remark(format_args!("there may be more: --after {}", last.id));
    }
    Ok(())
}

/// One message with its properties and body.
pub fn whole(stored: &Stored, format: Format) -> Result<()> {
    let whole = show::whole(stored)?;
    format.print(&whole, format_args!("{whole:#}"))
}

/// How many messages are due when.
pub fn census(census: &Census, format: Format) -> Result<()> {
    let periods = PERIODS.iter().map(|(name, _)| *name).chain(["later"]);
    let mut table = table();
    for (name, number) in periods.zip(census.histogram.iter().copied()) {
        table.add_row(["due", name, &number.to_string(), &bar(number, census.total)]);
    }
    let total = match census.next {
        Some(next) => format!("{} in all, the next one due {next}", census.total),
        None => "none".into(),
    };
    format.print(&show::census(census), format_args!("{table}\n{total}"))
}

fn bar(part: u64, whole: u64) -> String {
    const WIDTH: u64 = 40;
    let length = (part * WIDTH).div_ceil(whole.max(1));
    "#".repeat(usize::try_from(length).unwrap_or_default())
}

/// Which of the messages that were `asked` for have been changed.
///
/// # Errors
/// Some of them have not.
pub fn changed(what: &str, asked: &[i64], changed: &Changed, format: Format) -> Result<()> {
    let Changed { done, in_flight } = changed;
    let missing = show::missing(asked, changed);
    let printed =
        format.print(&show::changed(asked, changed), format_args!("{} {what}", done.len()));
    // That some are missing matters more than a closed pipe.
    let mut left = Vec::new();
    if !in_flight.is_empty() {
        left.push(format!("being sent, and left alone: {in_flight:?}"));
    }
    if !missing.is_empty() {
        left.push(format!("sent or cancelled already, or never existed: {missing:?}"));
    }
    if !left.is_empty() {
        bail!("{}", left.join("; "));
    }
    printed
}
