//! What a consumer is called, for people at the broker.

use std::sync::LazyLock;

/// Tells people at the broker which router this is, and which plugin: the queue, which has the
/// plugin's name, the machine and the process. No two consumers of a channel may share one. They sort
/// by number: in that order a quorum queue takes back what they have, when the channel ends.
pub fn consumer_tag(queue: &str, number: u32) -> String {
    const LONGEST: usize = 255;
    let place = format!("@{}:{}", machine(), std::process::id());
    let number = if number == 0 { String::new() } else { format!("/{number:06}") };
    let room = LONGEST.saturating_sub(place.len() + number.len());
    format!("{}{place}{number}", shortened_to(queue, room))
}

/// As much of the start as fits.
fn shortened_to(text: &str, room: usize) -> &str {
    &text[..text.floor_char_boundary(room.min(text.len()))]
}

/// The machine's name, as far as a tag has room for it.
fn machine() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        // A hardened service does not see the first one.
        let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
        let name = files.iter().find_map(|file| std::fs::read_to_string(file).ok());
        let name = name.unwrap_or_default();
        shortened_to(name.trim(), 64).to_owned()
    });
    &NAME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumers_tag_names_plugin_machine_and_process() {
        let tag = consumer_tag("mo-router.redact", 0);
        assert!(tag.starts_with("mo-router.redact@"), "{tag}");
        assert!(tag.ends_with(&format!(":{}", std::process::id())), "{tag}");
        assert_ne!(tag, consumer_tag("mo-router.redact", 1));
        assert!(consumer_tag("queue", 0) < consumer_tag("queue", 2));
        assert!(consumer_tag("queue", 2) < consumer_tag("queue", 10));
        assert!(consumer_tag(&"ø".repeat(200), 7).len() <= 255);
    }
}
