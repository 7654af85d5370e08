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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_and_the_length() {
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("grød og æg", 3), "gr… (12 bytes)");
    }
}
