//! What was expected against what was published.

use serde_json::{Map, Value as Json};
use similar::{ChangeTag, TextDiff};

/// What is shown of a publication that was not expected.
const SHOWN: [&str; 7] =
    ["exchange", "routing_key", "body", "body_text", "body_base64", "headers", "dead"];

/// How the two differ, line by line; none if everything is as expected.
///
/// Only the keys that are expected are compared, also within `headers` and `dead`.
/// A `reason` only has to contain the expected text.
pub fn between(expected: &[Json], published: &[Json]) -> Option<String> {
    let seen: Vec<Json> = published
        .iter()
        .enumerate()
        .map(|(number, line)| match expected.get(number) {
            Some(expected) => compared(expected, line),
            None => abridged(line),
        })
        .collect();
    (seen != expected).then(|| lines(&pretty(expected), &pretty(&seen)))
}

/// The part of `actual` that the expectation is about.
fn compared(expected: &Json, actual: &Json) -> Json {
    let (Json::Object(expected), Json::Object(actual)) = (expected, actual) else {
        return actual.clone();
    };
    let of = |key: &String, expected: &Json| {
        let actual = actual.get(key)?;
        Some(match (key.as_str(), expected, actual) {
            ("headers" | "dead", _, _) => compared(expected, actual),
            ("reason", Json::String(part), Json::String(whole)) if whole.contains(part) => {
                expected.clone()
            }
            _ => actual.clone(),
        })
    };
    let pairs = expected.iter().filter_map(|(key, value)| Some((key.clone(), of(key, value)?)));
    // A dead letter where a message was expected, or the other way round, is shown as it is.
    let shown: Map<String, Json> = pairs.collect();
    if shown.is_empty() && !expected.is_empty() {
        abridged(&actual.clone().into())
    } else {
        shown.into()
    }
}

fn abridged(line: &Json) -> Json {
    let Json::Object(line) = line else { return line.clone() };
    let shown = line.iter().filter(|(key, _)| SHOWN.contains(&key.as_str()));
    shown.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>().into()
}

fn pretty(lines: &[Json]) -> String {
    format!("{:#}\n", Json::from(lines.to_vec()))
}

fn lines(expected: &str, published: &str) -> String {
    let mut text = String::from("      - expected\n      + published\n");
    for change in TextDiff::from_lines(expected, published).iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        text += &format!("      {sign} {change}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn published() -> Vec<Json> {
        vec![
            json!({ "exchange": "out", "routing_key": "a", "headers": { "h": "1", "i": "2" }, "message_id": "x" }),
            json!({ "dead": { "reason": "trapped: here", "attempts": 5 }, "at": "2024-01-01T00:00:00Z" }),
        ]
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
        let expected = [json!({ "routing_key": "b", "headers": { "j": "3" } })];
        let text = between(&expected, &published()).expect("they differ");
        for line in [
            "-     \"routing_key\": \"b\"",
            "+     \"routing_key\": \"a\"",
            "-       \"j\": \"3\"",
            "trapped: here",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(between(&[], &published()).is_some());
        assert!(between(&published(), &[]).is_some());
        let dead = [json!({ "dead": { "reason": "trapped" } })];
        assert!(
            between(&dead, &published()[..1])
                .expect("they differ")
                .contains("\"routing_key\": \"a\"")
        );
    }
}
