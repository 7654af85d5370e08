//! Text from outside, where there is room for so much only.

/// AMQP's limit for short strings, in bytes: exchanges, routing keys, names of headers.
pub const SHORT_STRING: usize = 255;
/// The most bytes of a value that an error shows.
pub const SHOWN: usize = 60;

/// The text, or its start and its length if it has more than `most` bytes.
pub fn shortened(text: &str, most: usize) -> String {
    let length = text.len();
    match length > most {
        true => format!("{}… ({length} bytes)", &text[..text.floor_char_boundary(most)]),
        false => text.to_owned(),
    }
}

/// # Errors
/// Says that `what` has more bytes than the limit, and what to do; not how it goes on.
pub fn fits(what: &str, text: &str, limit: usize) -> Result<(), String> {
    if text.len() <= limit {
        return Ok(());
    }
    let start: String = text.chars().take(40).collect();
    Err(format!("{what} {start:?}… has {} bytes, more than {limit}: shorten it", text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_and_the_length() {
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("grød og æg", 3), "gr… (12 bytes)");
    }
}
