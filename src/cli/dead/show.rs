//! How dead letters are shown.

use anyhow::{Context, Result};
use serde_json::json;

use crate::amqp::dead::{Group, Letter, Requeued};
use crate::cli::output::{Format, remark, table};
use crate::escape::escaped;
use crate::event::{Datetime, shortened};
use crate::jsonl;

/// How many bytes of a reason a table shows; JSON and `dead show` have all of it.
const REASON: usize = 200;

/// A page of letters; `next` is how many to skip for the next one, if there may be one.
pub fn list(letters: &[Letter], next: Option<usize>, format: Format) -> Result<()> {
    let mut table = table();
    table.set_header(["ID", "SINCE", "PLUGIN", "ROUTING KEY", "ATTEMPTS", "REASON"]);
    for letter in letters {
        table.add_row([
            letter.id.clone(),
            time(letter.since),
            escaped(&letter.plugin).into(),
            escaped(&letter.routing_key()).into(),
            letter.attempts.to_string(),
            escaped(&shortened(&letter.reason, REASON)).into(),
        ]);
    }
    format.print(&letters, table)?;
    if let (Format::Text, Some(next)) = (format, next) {
        remark(format_args!("there may be more: --skip {next}"));
    }
    Ok(())
}

/// Letters counted by plugin and reason.
pub fn groups(groups: &[Group], format: Format) -> Result<()> {
    let mut table = table();
    table.set_header(["COUNT", "PLUGIN", "FIRST", "LAST", "REASON"]);
    for Group { plugin, reason, alike, count, first, last, .. } in groups {
        let (first, last) = (time(*first), time(*last));
        let mut reason = shortened(reason, REASON);
        if *alike {
            reason += " (and similar)";
        }
        table.add_row([&count.to_string(), &*escaped(plugin), &first, &last, &escaped(&reason)]);
    }
    format.print(&groups, table)
}

/// All of one letter.
pub fn whole(letter: &Letter, format: Format) -> Result<()> {
    let text = serde_json::to_string_pretty(letter)?;
    let lines: Vec<_> = text.lines().map(escaped).collect();
    format.print(letter, lines.join("\n"))
}

/// The event of one letter, in the form that events are read in.
///
/// # Errors
/// It is none, is not whole or cannot be read.
pub fn event(letter: &Letter, format: Format) -> Result<()> {
    let event = letter.to_event().with_context(|| {
        format!(
            "dead letter {} is no event that is whole and can be read: without --event, all that \
             there is of it is shown",
            letter.id
        )
    })?;
    // When it came is not known; it became a dead letter after its last attempt.
    let line = jsonl::recorded_line(letter.since.unwrap_or_else(Datetime::now), &event);
    format.print(&line, &line)
}

/// What became of letters that were to be sent back.
pub fn requeued(requeued: &Requeued, format: Format) -> Result<()> {
    let Requeued { sent, failed, reasons } = requeued;
    let mut text = format!("{sent} sent back");
    if *failed > 0 {
        text += &format!(", {failed} not");
    }
    for (reason, count) in reasons {
        text += &format!("\n{count} not: {}", escaped(reason));
    }
    format.print(&requeued.to_json(), text)
}

/// How many letters were deleted.
pub fn discarded(count: u64, format: Format) -> Result<()> {
    format.print(&json!({ "discarded": count }), format_args!("{count} discarded"))
}

fn time(time: Option<Datetime>) -> String {
    time.map_or_else(|| "?".to_owned(), |time| time.to_string())
}
