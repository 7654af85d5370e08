//! What two versions of a plugin made of the same events, line against line.

use std::path::Path;

use serde_json::Value as Json;
use similar::{ChangeTag, TextDiff};

use crate::escape::json_line;
use crate::jsonl::Line;

/// What a version of a plugin did once.
#[derive(Clone, Debug)]
pub struct Answer {
    /// As JSON on one line, in which a body has the bytes that it had.
    line: String,
    /// The same without what is no decision: `message_id` follows from the rest, and from how many
    /// messages come before, and the version differs anyhow.
    decision: String,
}

impl From<&Line> for Answer {
    fn from(line: &Line) -> Self {
        let mut decision = line.clone();
        decision.remove(if line.is_dead() { "version" } else { "message_id" });
        Self { line: line.to_string(), decision: decision.to_string() }
    }
}

impl From<&Json> for Answer {
    fn from(line: &Json) -> Self {
        let mut decision = line.clone();
        if let Some(line) = decision.as_object_mut() {
            line.remove("message_id");
        }
        if let Some(dead) = decision.get_mut("dead").and_then(Json::as_object_mut) {
            dead.remove("version");
        }
        Self { line: json_line(line), decision: json_line(&decision) }
    }
}

/// As a unified difference; empty if they decided alike.
pub fn unified([old, new]: [&Path; 2], answers: [&[Answer]; 2]) -> String {
    let [before, after] = answers.map(decisions);
    TextDiff::from_slices(&before, &after)
        .unified_diff()
        .header(&old.display().to_string(), &new.display().to_string())
        .to_string()
}

/// The lines that only one of them has, whole, as JSON Lines; empty if they
/// decided alike.
pub fn as_json(old: &[Answer], new: &[Answer]) -> String {
    let [before, after] = [old, new].map(decisions);
    let difference = TextDiff::from_slices(&before, &after);
    let only = difference.iter_all_changes().filter_map(|change| {
        let (of, answer) = match change.tag() {
            ChangeTag::Delete => ("old", &old[change.old_index()?]),
            ChangeTag::Insert => ("new", &new[change.new_index()?]),
            ChangeTag::Equal => return None,
        };
        Some(format!("{{\"line\":{},\"only\":\"{of}\"}}\n", answer.line))
    });
    only.collect()
}

fn decisions(answers: &[Answer]) -> Vec<&str> {
    answers.iter().map(|answer| answer.decision.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::Message;
    use crate::jsonl::message_line;

    fn answers<const N: usize>(lines: &[Json; N]) -> [Answer; N] {
        lines.each_ref().map(Answer::from)
    }

    fn message(key: &str, id: u32) -> Json {
        json!({ "routing_key": key, "message_id": id })
    }

    fn dead(version: &str) -> Json {
        json!({ "dead": { "reason": "no", "version": version } })
    }

    #[test]
    fn ids_and_versions_are_no_decisions() {
        let old = answers(&[message("a", 1), dead("v1")]);
        let new = answers(&[message("a", 2), dead("v2")]);
        assert_eq!(unified([Path::new("old"), Path::new("new")], [&old, &new]), "");
        assert_eq!(as_json(&old, &new), "");
    }

    #[test]
    fn lines_of_one_alone_are_shown() {
        let old = answers(&[message("a", 1), message("b", 2)]);
        let new = answers(&[message("a", 1), message("c", 3), message("d", 4)]);
        assert_eq!(
            unified([Path::new("old.wasm"), Path::new("new.wasm")], [&old, &new]),
            r#"--- old.wasm
+++ new.wasm
@@ -1,2 +1,3 @@
 {"routing_key":"a"}
-{"routing_key":"b"}
+{"routing_key":"c"}
+{"routing_key":"d"}
"#
        );
        let shown: Vec<Json> = as_json(&old, &new)
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON Lines"))
            .collect();
        assert_eq!(
            shown,
            [
                json!({ "only": "old", "line": message("b", 2) }),
                json!({ "only": "new", "line": message("c", 3) }),
                json!({ "only": "new", "line": message("d", 4) }),
            ]
        );
    }

    #[test]
    fn bodies_are_compared_byte_for_byte() {
        let of = |id: &str, body: &'static str| {
            let mut message = Message { body: body.into(), ..Message::default() };
            message.properties.message_id = Some(id.into());
            [Answer::from(&message_line(None, &message))]
        };
        for (body, other) in [("1e999", "2e999"), ("{\"a\": 1}", "{\"a\":1}")] {
            let (old, new) = (of("1", body), of("2", other));
            assert!(as_json(&old, &new).contains(body));
            assert_eq!(as_json(&old, &of("2", body)), "", "ids are not compared");
        }
    }
}
