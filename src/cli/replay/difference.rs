//! What two versions of a plugin made of the same events, line against line.

use std::path::Path;

use serde_json::{Value as Json, json};
use similar::{ChangeTag, TextDiff};

use crate::escape::json_line;

/// As a unified difference; empty if they decided alike.
pub fn unified([old, new]: [&Path; 2], lines: [&[Json]; 2]) -> String {
    let [before, after] = lines.map(decisions);
    let (before, after) = (texts(&before), texts(&after));
    TextDiff::from_slices(&before, &after)
        .unified_diff()
        .header(&old.display().to_string(), &new.display().to_string())
        .to_string()
}

/// The lines that only one of them has, whole, as JSON Lines; empty if they
/// decided alike.
pub fn as_json(old: &[Json], new: &[Json]) -> String {
    let [before, after] = [old, new].map(decisions);
    let (before, after) = (texts(&before), texts(&after));
    let difference = TextDiff::from_slices(&before, &after);
    let only = difference.iter_all_changes().filter_map(|change| {
        let (of, line) = match change.tag() {
            ChangeTag::Delete => ("old", &old[change.old_index()?]),
            ChangeTag::Insert => ("new", &new[change.new_index()?]),
            ChangeTag::Equal => return None,
        };
        Some(json_line(&json!({ "only": of, "line": line })) + "\n")
    });
    only.collect()
}

/// The lines without what is no decision: `message_id` follows from the rest, and
/// from how many messages come before, and the version differs anyhow.
fn decisions(lines: &[Json]) -> Vec<String> {
    let decision = |line: &Json| {
        let mut line = line.clone();
        if let Some(line) = line.as_object_mut() {
            line.remove("message_id");
        }
        if let Some(dead) = line.get_mut("dead").and_then(Json::as_object_mut) {
            dead.remove("version");
        }
        json_line(&line)
    };
    lines.iter().map(decision).collect()
}

fn texts(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(key: &str, id: u32) -> Json {
        json!({ "routing_key": key, "message_id": id })
    }

    fn dead(version: &str) -> Json {
        json!({ "dead": { "reason": "no", "version": version } })
    }

    #[test]
    fn ids_and_versions_are_no_decisions() {
        let (old, new) = ([message("a", 1), dead("v1")], [message("a", 2), dead("v2")]);
        assert_eq!(unified([Path::new("old"), Path::new("new")], [&old, &new]), "");
        assert_eq!(as_json(&old, &new), "");
    }

    #[test]
    fn lines_of_one_alone_are_shown() {
        let old = [message("a", 1), message("b", 2)];
        let new = [message("a", 1), message("c", 3), message("d", 4)];
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
}
