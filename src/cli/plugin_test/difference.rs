//! What was expected against what was published.

use serde_json::{Map, Value as Json};
use similar::{ChangeTag, TextDiff};

use crate::event::Datetime;
use crate::event::headers::{DUE, EVENT_TIME};

/// The keys of a publication that are times.
pub const TIMES: [&str; 2] = ["at", "due"];

/// The key of a dead letter of which a part can be expected.
const REASON: &str = "reason";

/// The most pairs that are compared to find which belong together. With more, the first is
/// compared with the first, the second with the second.
const MOST_PAIRS: usize = 1_000_000;

/// One publication that was expected, published, or both.
#[derive(Debug)]
enum Row<'a> {
    /// As it was expected.
    Same(&'a Json),
    /// Otherwise than it was expected.
    Other(&'a Json, &'a Json),
    /// Nothing of the kind was published.
    Missing(&'a Json),
    /// Nothing of the kind was expected.
    Unexpected(&'a Json),
}

/// How the two differ, line by line; none if everything is as expected.
///
/// Only the keys that are expected are compared, also within `headers` and `dead`.
/// A `reason` only has to contain the expected text, and times are compared as times. What
/// is dead, unexpected or missing is shown whole.
pub fn between(expected: &[Json], published: &[Json]) -> Option<String> {
    let rows = rows(expected, published);
    if rows.iter().all(|row| matches!(row, Row::Same(_))) {
        return None;
    }
    let mut text = String::from("      - expected\n      + published\n");
    for row in rows {
        match row {
            Row::Same(line) => push(&mut text, ' ', &pretty(line)),
            Row::Other(expected, line) => {
                let shown = if is_dead(line) { line.clone() } else { compared(expected, line) };
                let shown = like(expected, shown);
                let (expected, shown) = (pretty(&with_reason_of(expected, line)), pretty(&shown));
                for change in TextDiff::from_lines(&expected, &shown).iter_all_changes() {
                    let sign = match change.tag() {
                        ChangeTag::Delete => '-',
                        ChangeTag::Insert => '+',
                        ChangeTag::Equal => ' ',
                    };
                    push(&mut text, sign, change.value());
                }
            }
            Row::Missing(line) => {
                push(&mut text, ' ', "missing:\n");
                push(&mut text, '-', &pretty(line));
            }
            Row::Unexpected(line) => {
                push(&mut text, ' ', "unexpected:\n");
                push(&mut text, '+', &pretty(line));
            }
        }
    }
    Some(text)
}

/// Pairs what was expected with what was published, in order, so that as much as possible is
/// as expected.
fn rows<'a>(expected: &'a [Json], published: &'a [Json]) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    let (mut wanted, mut seen) = (0, 0);
    for (next_wanted, next_seen) in anchors(expected, published) {
        unlike(&expected[wanted..next_wanted], &published[seen..next_seen], &mut rows);
        rows.push(Row::Same(&expected[next_wanted]));
        (wanted, seen) = (next_wanted + 1, next_seen + 1);
    }
    unlike(&expected[wanted..], &published[seen..], &mut rows);
    rows
}

/// The longest series of pairs that match, by their positions.
fn anchors(expected: &[Json], published: &[Json]) -> Vec<(usize, usize)> {
    let (rows, columns) = (expected.len(), published.len());
    if rows.saturating_mul(columns) > MOST_PAIRS {
        let pairs = expected.iter().zip(published).enumerate();
        return pairs.filter(|(_, (e, p))| is_it(e, p)).map(|(at, _)| (at, at)).collect();
    }
    let is_match: Vec<Vec<bool>> =
        expected.iter().map(|e| published.iter().map(|p| is_it(e, p)).collect()).collect();
    // How many pairs there are at most from a position on.
    let mut most = vec![vec![0_usize; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            let skipping = most[row + 1][column].max(most[row][column + 1]);
            let taking = usize::from(is_match[row][column]) + most[row + 1][column + 1];
            most[row][column] = skipping.max(taking);
        }
    }
    let (mut row, mut column, mut anchors) = (0, 0, Vec::new());
    while row < rows && column < columns {
        if is_match[row][column] && most[row][column] == 1 + most[row + 1][column + 1] {
            anchors.push((row, column));
            (row, column) = (row + 1, column + 1);
        } else if most[row + 1][column] >= most[row][column + 1] {
            row += 1;
        } else {
            column += 1;
        }
    }
    anchors
}

/// Rows for what does not match. A dead letter is no other version of a message.
fn unlike<'a>(expected: &'a [Json], published: &'a [Json], rows: &mut Vec<Row<'a>>) {
    for at in 0..expected.len().max(published.len()) {
        match (expected.get(at), published.get(at)) {
            (Some(expected), Some(line)) if is_dead(expected) == is_dead(line) => {
                rows.push(Row::Other(expected, line));
            }
            (expected, line) => {
                rows.extend(expected.map(Row::Missing));
                rows.extend(line.map(Row::Unexpected));
            }
        }
    }
}

fn is_dead(line: &Json) -> bool {
    line.get("dead").is_some()
}

/// Whether a publication is as it was expected. A dead letter is none that was not.
fn is_it(expected: &Json, line: &Json) -> bool {
    is_dead(expected) == is_dead(line) && matches(expected, line)
}

/// Whether what is expected of a value holds.
fn matches(expected: &Json, actual: &Json) -> bool {
    let (Json::Object(expected), Json::Object(actual)) = (expected, actual) else {
        return expected == actual;
    };
    expected.iter().all(|(key, expected)| {
        actual.get(key).is_some_and(|actual| is_as_expected(key, expected, actual))
    })
}

/// Whether the value of a key is as it was expected.
fn is_as_expected(key: &str, expected: &Json, actual: &Json) -> bool {
    match (key, expected, actual) {
        ("headers" | "dead", _, _) => matches(expected, actual),
        (REASON, Json::String(part), Json::String(whole)) => whole.contains(part),
        (key, Json::String(one), Json::String(other)) if is_time(key) => {
            one == other || time(one).is_some_and(|one| Some(one) == time(other))
        }
        _ => expected == actual,
    }
}

fn is_time(key: &str) -> bool {
    TIMES.contains(&key) || [DUE, EVENT_TIME].contains(&key)
}

fn time(text: &str) -> Option<Datetime> {
    text.parse().ok()
}

/// A time in the offset of the one that was expected: otherwise it may look like that one.
fn in_offset_of(expected: &str, actual: Json) -> Json {
    let time = actual.as_str().and_then(time);
    time.and_then(|time| time.in_offset_of(expected)).map_or(actual, Json::from)
}

/// The part of `actual` that the expectation is about; all of it, if that is nothing.
fn compared(expected: &Json, actual: &Json) -> Json {
    let (Json::Object(expected), Json::Object(whole)) = (expected, actual) else {
        return actual.clone();
    };
    let part: Map<String, Json> = whole
        .iter()
        .filter_map(|(key, actual)| {
            let expected = expected.get(key)?;
            let actual = if key == "headers" { compared(expected, actual) } else { actual.clone() };
            Some((key.clone(), actual))
        })
        .collect();
    if part.is_empty() { actual.clone() } else { part.into() }
}

/// The value with what is as expected written as it was expected, so that it is no difference, and
/// times as those that were expected.
fn like(expected: &Json, actual: Json) -> Json {
    match (expected, actual) {
        (Json::Object(expected), Json::Object(actual)) => {
            let pairs = actual.into_iter().map(|(key, actual)| {
                let actual = match expected.get(&key) {
                    // What else is in them is shown.
                    Some(expected) if ["headers", "dead"].contains(&key.as_str()) => {
                        like(expected, actual)
                    }
                    Some(expected) if key != REASON && is_as_expected(&key, expected, &actual) => {
                        expected.clone()
                    }
                    Some(Json::String(expected)) if is_time(&key) => in_offset_of(expected, actual),
                    _ => actual,
                };
                (key, actual)
            });
            pairs.collect::<Map<_, _>>().into()
        }
        (_, actual) => actual,
    }
}

/// What was expected, with the whole reason of a dead letter in place of a part of it.
fn with_reason_of(expected: &Json, line: &Json) -> Json {
    let mut expected = expected.clone();
    let whole = &line["dead"][REASON];
    if let Some(reason) = expected.get_mut("dead").and_then(|dead| dead.get_mut(REASON))
        && is_as_expected(REASON, reason, whole)
    {
        *reason = whole.clone();
    }
    expected
}

fn pretty(line: &Json) -> String {
    format!("{line:#}\n")
}

/// Adds lines with a sign in front.
fn push(text: &mut String, sign: char, lines: &str) {
    for line in lines.lines() {
        *text += &format!("      {sign}   {line}\n");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn published() -> Vec<Json> {
        vec![
            json!({ "exchange": "out", "routing_key": "a", "headers": { "h": "1", "i": "2" }, "message_id": "x", "at": "2024-01-01T00:00:00Z" }),
            json!({ "dead": { "reason": "trapped: here", "attempts": 5 }, "at": "2024-01-01T00:00:00Z" }),
        ]
    }

    fn text(expected: &[Json], published: &[Json]) -> String {
        between(expected, published).expect("they differ")
    }

    #[test]
    fn what_is_not_expected_is_not_compared() {
        let expected = [
            json!({ "routing_key": "a", "headers": { "h": "1" } }),
            json!({ "dead": { "reason": "trapped" } }),
        ];
        assert_eq!(between(&expected, &published()), None);
    }

    #[test]
    fn differences_are_shown_line_by_line() {
        let expected = [
            json!({ "routing_key": "b", "headers": { "j": "3" } }),
            json!({ "dead": { "reason": "trapped", "attempts": 4 } }),
        ];
        let text = text(&expected, &published());
        for line in [
            "-     \"routing_key\": \"b\"",
            "+     \"routing_key\": \"a\"",
            "-       \"j\": \"3\"",
            "        \"reason\": \"trapped: here\"",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(!text.contains("message_id"), "{text}");
    }

    #[test]
    fn times_are_compared_as_times() {
        let expected = |at: &str| [json!({ "routing_key": "a", "at": at })];
        let published = &published()[..1];
        assert_eq!(between(&expected("2024-01-01T01:00:00+01:00"), published), None);
        assert_eq!(between(&expected("2024-01-01T00:00:00.000Z"), published), None);
        assert!(between(&expected("2024-01-01T00:00:01Z"), published).is_some());
        let header = |time: &str| [json!({ "headers": { "mo-router-event-time": time } })];
        let [event] = [json!({ "headers": { "mo-router-event-time": "2024-01-01T00:00:00Z" } })];
        assert_eq!(between(&header("2024-01-01T01:00:00+01:00"), &[event]), None);
        // Where something else differs, an equal time is no difference.
        let other = [json!({ "routing_key": "b", "at": "2024-01-01T01:00:00+01:00" })];
        assert!(text(&other, published).contains("    \"at\": \"2024-01-01T01:00:00+01:00\""));
    }

    #[test]
    fn a_time_that_differs_is_shown_in_the_offset_that_is_expected() {
        let line = |time: &str| json!({ "at": time, "headers": { DUE: time } });
        let shown = text(&[line("2027-01-23T08:00:00+01:00")], &[line("2027-01-23T08:00:00Z")]);
        assert!(!shown.contains('Z'), "{shown}");
        assert_eq!(shown.matches("2027-01-23T09:00:00+01:00").count(), 2, "{shown}");
    }

    #[test]
    fn a_dead_letter_is_shown_whole_whatever_was_expected() {
        let dead = &published()[1..];
        let expected = [json!({ "at": "2024-06-01T00:00:00Z", "routing_key": "a" })];
        let shown = text(&expected, dead);
        for line in [
            "+     \"at\": \"2024-01-01",
            "+       \"reason\": \"trapped: here\"",
            "unexpected:",
            "missing:",
        ] {
            assert!(shown.contains(line), "{line} in\n{shown}");
        }
        let only_its_time = [json!({ "at": "2024-01-01T00:00:00Z" })];
        assert!(text(&only_its_time, dead).contains("unexpected:"));
        let expected = [json!({ "at": "2024-06-01T00:00:00Z", "dead": { "attempts": 4 } })];
        assert!(text(&expected, dead).contains("+       \"reason\": \"trapped: here\""));
    }

    #[test]
    fn one_that_is_missing_or_unexpected_does_not_move_the_others() {
        let line = |key: &str| json!({ "routing_key": key, "exchange": "out" });
        let all = ["a", "b", "c", "d"].map(line);
        let missing = text(&all, &[line("a"), line("c"), line("d")]);
        assert_eq!(
            (missing.matches("\n      -   ").count(), missing.matches("\n      + ").count()),
            (4, 1),
            "{missing}"
        );
        let unexpected = text(&[line("a"), line("c"), line("d")], &all);
        assert!(unexpected.contains("unexpected:\n      +   {\n"), "{unexpected}");
        assert_eq!(unexpected.matches("\n      -   ").count(), 0, "{unexpected}");
        assert!(between(&[], &all).is_some() && between(&all, &[]).is_some());
        let many = vec![line("a"); 1200];
        assert_eq!(between(&many, &many), None);
    }
}
