//! Field by field through what a frame holds, and what lapin can read of it.

pub use crate::event::LEVELS;

/// Takes fields off the front; gives none when what is left is too short.
#[derive(Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// So many bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// One byte.
    pub fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Two bytes, as a number.
    pub fn short(&mut self) -> Option<u16> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*number))
    }

    /// Four bytes, as a number.
    pub fn long(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    /// A short string, which ought to be UTF-8.
    pub fn short_string(&mut self) -> Option<&'a [u8]> {
        let length = self.octet()?;
        self.take(length.into())
    }

    /// A long string, or what a table or an array holds.
    pub fn long_string(&mut self) -> Option<&'a [u8]> {
        let length = self.long()?;
        self.take(length as usize)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The size of a value of this type, of those whose size does not vary.
pub fn fixed_size(kind: u8) -> Option<usize> {
    match kind {
        b'V' => Some(0),
        b't' | b'b' | b'B' => Some(1),
        b's' | b'U' | b'u' => Some(2),
        b'I' | b'i' | b'f' => Some(4),
        b'D' => Some(5),
        b'l' | b'L' | b'T' | b'd' => Some(8),
        _ => None,
    }
}

/// Whether lapin reads a short string.
pub fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

/// Whether lapin reads a table, nested no deeper than so many levels.
pub fn is_table(content: &[u8], levels: usize) -> bool {
    let mut reader = Reader(content);
    while !reader.is_empty() {
        if !reader.short_string().is_some_and(is_text) || !is_value(&mut reader, levels) {
            return false;
        }
    }
    true
}

fn is_array(content: &[u8], levels: usize) -> bool {
    let mut reader = Reader(content);
    while !reader.is_empty() {
        if !is_value(&mut reader, levels) {
            return false;
        }
    }
    true
}

/// Takes a value, and says whether lapin reads it.
fn is_value(reader: &mut Reader<'_>, levels: usize) -> bool {
    match reader.octet() {
        Some(b'S' | b'x') => reader.long_string().is_some(),
        Some(b'F') if levels > 0 => {
            reader.long_string().is_some_and(|content| is_table(content, levels - 1))
        }
        Some(b'A') if levels > 0 => {
            reader.long_string().is_some_and(|content| is_array(content, levels - 1))
        }
        Some(kind) => fixed_size(kind).is_some_and(|size| reader.take(size).is_some()),
        None => false,
    }
}
