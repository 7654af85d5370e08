//! The methods of a broker that lapin may not be able to read.

use super::fields::{LEVELS, Reader, is_table, is_text};
use super::properties::Faults;

/// A method with strings that may be anything, or a table: its arguments in order.
pub struct Method {
    arguments: &'static [Argument],
    /// The strings that are an exchange and a routing key: of a message, which follows.
    address: Option<[usize; 2]>,
}

enum Argument {
    Fixed(usize),
    Text,
    /// A table and two long strings, which only `connection.start` has.
    Start,
}

/// A method as lapin can read it.
pub struct Readable {
    /// The method with its arguments.
    pub payload: Vec<u8>,
    /// The exchange and the routing key as they were.
    pub address: [Vec<u8>; 2],
}

impl Method {
    /// By its class and number.
    pub fn named(name: &[u8]) -> Option<Self> {
        use Argument::{Fixed, Start, Text};
        let &[0, class, 0, method] = name else { return None };
        let (arguments, address): (&[Argument], _) = match (class, method) {
            // connection.start, connection.close, channel.close
            (10, 10) => (&[Fixed(2), Start], None),
            (10, 50) | (20, 40) => (&[Fixed(2), Text, Fixed(4)], None),
            // basic.return, basic.deliver, basic.get-ok
            (60, 50) => (&[Fixed(2), Text, Text, Text], Some([1, 2])),
            (60, 60) => (&[Text, Fixed(9), Text, Text], Some([1, 2])),
            (60, 71) => (&[Fixed(9), Text, Text, Fixed(4)], Some([0, 1])),
            _ => return None,
        };
        Some(Self { arguments, address })
    }

    /// Whether a content header follows.
    pub fn brings_content(&self) -> bool {
        self.address.is_some()
    }

    /// Whether lapin reads it; none if nobody can.
    pub fn is_readable(&self, payload: &[u8]) -> Option<bool> {
        let mut reader = Reader(payload.get(4..)?);
        let mut readable = true;
        for argument in self.arguments {
            match argument {
                Argument::Fixed(size) => drop(reader.take(*size)?),
                Argument::Text => readable &= is_text(reader.short_string()?),
                Argument::Start => {
                    is_table(reader.long_string()?, LEVELS).then_some(())?;
                    reader.long_string()?;
                    reader.long_string()?;
                }
            }
        }
        reader.is_empty().then_some(readable)
    }

    /// The same with text for what is none; none if it is malformed.
    pub fn readable(&self, payload: &[u8]) -> Option<Readable> {
        let (name, rest) = payload.split_at_checked(4)?;
        let mut reader = Reader(rest);
        let (mut payload, mut texts) = (name.to_vec(), Vec::new());
        // The reason is made when the content header comes.
        let mut faults = Faults::default();
        for argument in self.arguments {
            match argument {
                Argument::Fixed(size) => payload.extend(reader.take(*size)?),
                Argument::Text => {
                    let text = reader.short_string()?;
                    let readable = faults.text(text, String::new);
                    payload.push(readable.len() as u8);
                    payload.extend(readable);
                    texts.push(text.to_vec());
                }
                Argument::Start => return None,
            }
        }
        let address = self.address.map(|address| address.map(|at| texts[at].clone()));
        Some(Readable { payload, address: address.unwrap_or_default() })
    }
}
