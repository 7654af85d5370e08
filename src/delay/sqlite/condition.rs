//! Filters as SQL.

use rusqlite::{Connection, Result, Statement, ToSql};

use crate::delay::record::Filter;
use crate::event::Datetime;

/// What was due, or was put off: each found by its own index, where an OR would look at every row.
const OVERDUE: &str = "id IN (
    SELECT id FROM message WHERE due < :overdue
    UNION ALL SELECT id FROM message INDEXED BY message_put_off WHERE attempts > 0)";

/// A filter as the condition of a `WHERE` clause. [`with_filter`] binds its values.
pub fn condition(filter: &Filter) -> String {
    let mut terms = vec!["TRUE"];
    let mut term = |asked: bool, sql| {
        if asked {
            terms.push(sql)
        }
    };
    term(filter.plugin.is_some(), "plugin = :plugin");
    term(filter.uuid.is_some(), "uuid = :uuid");
    // There is an index of plugins and their keys: by a key alone, it is gone through as a whole,
    // and not the messages.
    let key = match filter.plugin {
        Some(_) => "key = :key",
        None => "id IN (SELECT id FROM message WHERE key = :key)",
    };
    term(filter.key.is_some(), key);
    term(filter.from.is_some(), "due >= :from");
    term(filter.until.is_some(), "due < :until");
    term(filter.overdue.is_some(), OVERDUE);
    terms.join(" AND ")
}

/// Runs a query with the values of `filter`, and with `more` values. Those whose names are
/// not in the query are ignored.
pub fn with_filter<T>(
    connection: &Connection,
    sql: &str,
    filter: &Filter,
    more: &[(&str, &dyn ToSql)],
    run: impl FnOnce(&mut Statement<'_>) -> Result<T>,
) -> Result<T> {
    let mut statement = connection.prepare_cached(sql)?;
    let times = [filter.from, filter.until, filter.overdue];
    let times = times.map(|time| time.map(Datetime::unix_micros));
    let own: [(&str, &dyn ToSql); 6] = [
        (":plugin", &filter.plugin),
        (":uuid", &filter.uuid),
        (":key", &filter.key),
        (":from", &times[0]),
        (":until", &times[1]),
        (":overdue", &times[2]),
    ];
    for (name, value) in own.iter().chain(more) {
        if let Some(index) = statement.parameter_index(name)? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    run(&mut statement)
}
