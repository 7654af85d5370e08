//! A message's properties as bytes: whether lapin reads them, what is wrong if not, and
//! what can be read all the same.

use super::fields::{LEVELS, Reader, fixed_size, is_table, is_text};
use crate::event::SHORT_STRING;

/// The basic properties in the order of their flags, highest first.
const PROPERTIES: [(&str, Kind); 14] = [
    ("content_type", Kind::Text),
    ("content_encoding", Kind::Text),
    ("headers", Kind::Table),
    ("delivery_mode", Kind::Fixed(1)),
    ("priority", Kind::Fixed(1)),
    ("correlation_id", Kind::Text),
    ("reply_to", Kind::Text),
    ("expiration", Kind::Text),
    ("message_id", Kind::Text),
    ("timestamp", Kind::Fixed(8)),
    ("type", Kind::Text),
    ("user_id", Kind::Text),
    ("app_id", Kind::Text),
    ("cluster_id", Kind::Text),
];
/// Where the headers, the delivery mode, the expiration and the user stand in it.
const HEADERS: usize = 2;
const DELIVERY_MODE: usize = 3;
const EXPIRATION: usize = 7;
const USER_ID: usize = 11;

/// Delivery mode 2: kept on disk.
const PERSISTENT: u8 = 2;
/// Faults that a reason names; those beyond are as good as said.
const NAMED: usize = 3;
/// Bytes that a reason shows of a value.
const SHOWN: usize = 24;

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Table,
    Fixed(usize),
}

impl Kind {
    /// Takes such a property: what a table or a string holds, without its length.
    fn take<'a>(self, reader: &mut Reader<'a>) -> Option<&'a [u8]> {
        match self {
            Kind::Text => reader.short_string(),
            Kind::Table => reader.long_string(),
            Kind::Fixed(size) => reader.take(size),
        }
    }
}

fn flag(index: usize) -> u16 {
    1 << (15 - index)
}

/// Whether lapin reads these properties.
pub fn are_readable(properties: &[u8]) -> bool {
    let mut reader = Reader(properties);
    let Some(flags) = reader.short() else { return false };
    for (index, (_, kind)) in PROPERTIES.iter().enumerate() {
        if flags & flag(index) == 0 {
            continue;
        }
        let readable = kind.take(&mut reader).is_some_and(|content| match kind {
            Kind::Text => is_text(content),
            Kind::Table => is_table(content, LEVELS),
            Kind::Fixed(_) => true,
        });
        if !readable {
            return false;
        }
    }
    reader.is_empty()
}

/// What is wrong with a message, in words for a dead letter's reason.
#[derive(Debug, Default)]
pub struct Faults(Vec<String>);

impl Faults {
    /// Notes a fault.
    pub fn add(&mut self, fault: impl FnOnce() -> String) {
        if self.0.len() < NAMED {
            self.0.push(fault());
        }
    }

    /// A text that should be UTF-8, with what is not replaced, as lapin reads it.
    pub fn text(&mut self, bytes: &[u8], what: impl FnOnce() -> String) -> Vec<u8> {
        if is_text(bytes) {
            return bytes.to_vec();
        }
        self.add(|| format!("{} is not UTF-8 ({})", what(), shown(bytes)));
        let text = String::from_utf8_lossy(bytes);
        text[..text.floor_char_boundary(SHORT_STRING)].into()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them in a sentence.
    pub fn reason(&self) -> String {
        format!("unreadable: {}", self.0.join("; "))
    }
}

/// The start of a value that is not text, for people.
fn shown(bytes: &[u8]) -> String {
    let start = bytes[..bytes.len().min(SHOWN)].escape_ascii();
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    format!("\"{start}{more}\"")
}

/// What can be read of these properties, for lapin: what is no text with replacement
/// characters, what is nested too deep as a text, and what is malformed not at all.
pub fn readable(properties: &[u8], faults: &mut Faults) -> Vec<u8> {
    let mut reader = Reader(properties);
    let mut found = Properties::default();
    let flags = reader.short().unwrap_or_else(|| {
        faults.add(|| "the properties are malformed".to_owned());
        0
    });
    for (index, (name, kind)) in PROPERTIES.iter().enumerate() {
        if flags & flag(index) == 0 {
            continue;
        }
        let Some(content) = kind.take(&mut reader) else {
            faults.add(|| format!("the properties are malformed: they end within {name}"));
            reader = Reader(&[]);
            break;
        };
        found.0[index] = Some(match kind {
            Kind::Text => faults.text(content, || format!("the property {name}")),
            Kind::Table => readable_headers(content, faults),
            Kind::Fixed(_) => content.to_vec(),
        });
    }
    if !reader.is_empty() {
        faults.add(|| format!("{} bytes follow the properties", reader.0.len()));
    }
    found.to_bytes()
}

fn readable_headers(content: &[u8], faults: &mut Faults) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut reader = Reader(content);
    while !reader.is_empty() {
        let Some(name) = reader.short_string() else {
            faults.add(|| "the headers are malformed".to_owned());
            break;
        };
        let name = faults.text(name, || "the name of a header".to_owned());
        let header = String::from_utf8_lossy(&name);
        put_short(&mut out, &name);
        let mut values = Values { header: &header, faults, out: &mut out };
        if !values.value(&mut reader, LEVELS) {
            break;
        }
    }
    out
}

/// Copies the values of one header.
struct Values<'a> {
    header: &'a str,
    faults: &'a mut Faults,
    out: &'a mut Vec<u8>,
}

impl Values<'_> {
    /// Copies a value; false if it has no end, so that nothing can follow.
    fn value(&mut self, reader: &mut Reader<'_>, levels: usize) -> bool {
        let mut at = *reader;
        let kind = at.octet();
        let content = match kind {
            Some(b'S' | b'x' | b'F' | b'A') => at.long_string(),
            Some(kind) => fixed_size(kind).and_then(|size| at.take(size)),
            None => None,
        };
        let (Some(kind), Some(content)) = (kind, content) else {
            self.faults.add(|| format!("the header {:?} is malformed", self.header));
            self.out.push(b'V');
            return false;
        };
        *reader = at;
        match kind {
            b'F' | b'A' if levels == 0 => {
                self.faults.add(|| {
                    format!("the header {:?} is nested more than {LEVELS} levels deep", self.header)
                });
                self.out.push(b'S');
                put_long(self.out, b"(nested too deep)");
            }
            b'F' | b'A' => {
                self.out.push(kind);
                self.nested(content, kind == b'F', levels - 1);
            }
            b'S' | b'x' => {
                self.out.push(kind);
                put_long(self.out, content);
            }
            kind => {
                self.out.push(kind);
                self.out.extend(content);
            }
        }
        true
    }

    /// Copies what a table or an array holds.
    fn nested(&mut self, content: &[u8], named: bool, levels: usize) {
        let length = self.out.len();
        self.out.extend([0; 4]);
        let mut reader = Reader(content);
        while !reader.is_empty() {
            if named {
                let Some(name) = reader.short_string() else {
                    self.faults.add(|| format!("the header {:?} is malformed", self.header));
                    break;
                };
                let header = self.header;
                let name = self.faults.text(name, || format!("a name in the header {header:?}"));
                put_short(self.out, &name);
            }
            if !self.value(&mut reader, levels) {
                break;
            }
        }
        let size = (self.out.len() - length - 4) as u32;
        self.out[length..length + 4].copy_from_slice(&size.to_be_bytes());
    }
}

/// Properties taken apart: what each holds, without its length.
#[derive(Default)]
pub struct Properties([Option<Vec<u8>>; PROPERTIES.len()]);

impl Properties {
    /// Takes properties apart; none if they do not end as they should. What the
    /// strings and tables hold is not looked at.
    pub fn parse(properties: &[u8]) -> Option<Self> {
        let mut reader = Reader(properties);
        let flags = reader.short()?;
        let mut parsed = Self::default();
        for (index, (_, kind)) in PROPERTIES.iter().enumerate() {
            if flags & flag(index) != 0 {
                parsed.0[index] = Some(kind.take(&mut reader)?.to_vec());
            }
        }
        reader.is_empty().then_some(parsed)
    }

    /// As it is on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![0, 0];
        let mut flags = 0;
        for (index, (content, (_, kind))) in self.0.iter().zip(PROPERTIES).enumerate() {
            let Some(content) = content else { continue };
            flags |= flag(index);
            match kind {
                Kind::Text => put_short(&mut out, content),
                Kind::Table => put_long(&mut out, content),
                Kind::Fixed(_) => out.extend(content),
            }
        }
        out[..2].copy_from_slice(&flags.to_be_bytes());
        out
    }

    /// Removes the headers whose names `is_unwanted` knows; false if they are malformed.
    pub fn remove_headers(&mut self, is_unwanted: impl Fn(&[u8]) -> bool) -> bool {
        let Some(content) = &self.0[HEADERS] else { return true };
        let mut kept = Vec::with_capacity(content.len());
        let mut reader = Reader(content);
        while !reader.is_empty() {
            let before = reader.0;
            let Some(name) = reader.short_string() else { return false };
            if skip_value(&mut reader).is_none() {
                return false;
            }
            if !is_unwanted(name) {
                kept.extend(&before[..before.len() - reader.0.len()]);
            }
        }
        self.0[HEADERS] = Some(kept).filter(|kept| !kept.is_empty());
        true
    }

    /// Removes all headers.
    pub fn clear_headers(&mut self) {
        self.0[HEADERS] = None;
    }

    /// Adds a header: a long string, or a byte array.
    pub fn add_header(&mut self, name: &str, kind: u8, value: &[u8]) {
        let headers = self.0[HEADERS].get_or_insert_default();
        put_short(headers, name.as_bytes());
        headers.push(kind);
        put_long(headers, value);
    }

    /// As the router sends all that it sends: persistent, for as long as it takes,
    /// and under its own name.
    pub fn set_to_leave(&mut self) {
        self.0[DELIVERY_MODE] = Some(vec![PERSISTENT]);
        self.0[EXPIRATION] = None;
        self.0[USER_ID] = None;
    }
}

fn skip_value(reader: &mut Reader<'_>) -> Option<()> {
    match reader.octet()? {
        b'S' | b'x' | b'F' | b'A' => reader.long_string().map(drop),
        kind => reader.take(fixed_size(kind)?).map(drop),
    }
}

fn put_short(out: &mut Vec<u8>, text: &[u8]) {
    out.push(text.len() as u8);
    out.extend(text);
}

fn put_long(out: &mut Vec<u8>, content: &[u8]) {
    out.extend((content.len() as u32).to_be_bytes());
    out.extend(content);
}
