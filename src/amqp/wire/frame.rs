//! Frames of AMQP 0-9-1: a kind, a channel, a size, so many bytes, and an end.

/// A method and its arguments.
pub const METHOD: u8 = 1;
/// A content header: the size of a message's body, and its properties.
pub const HEADER: u8 = 2;
/// A part of a message's body.
pub const BODY: u8 = 3;
/// A sign of life.
pub const HEARTBEAT: u8 = 8;
/// The last byte of every frame.
pub const END: u8 = 0xCE;

/// Bytes before the payload.
pub const HEAD: usize = 7;
/// Bytes around the payload.
pub const OVERHEAD: usize = HEAD + 1;
/// The protocol header, by which a connection begins; it is no frame.
pub const PROTOCOL_HEADER: usize = 8;
/// The first byte of it.
pub const PROTOCOL: u8 = b'A';
/// The first bytes of a content header: class, weight and the body's size. The
/// properties follow.
pub const BEFORE_PROPERTIES: usize = 12;

/// What a frame begins with.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// What kind of frame it is.
    pub kind: u8,
    /// The channel that it belongs to.
    pub channel: u16,
    /// The size of its payload.
    pub size: usize,
}

impl Head {
    /// Reads it from the start of a frame, if enough of the frame is there.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let &[kind, c0, c1, s0, s1, s2, s3] = bytes.first_chunk::<HEAD>()?;
        let size = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
        Some(Self { kind, channel: u16::from_be_bytes([c0, c1]), size })
    }

    /// The size of the whole frame.
    pub fn total(self) -> usize {
        self.size + OVERHEAD
    }
}

/// Appends a frame whose payload comes in two parts.
pub fn write(out: &mut Vec<u8>, kind: u8, channel: u16, payload: [&[u8]; 2]) {
    let size = payload[0].len() + payload[1].len();
    out.push(kind);
    out.extend(channel.to_be_bytes());
    out.extend((size as u32).to_be_bytes());
    payload.iter().for_each(|part| out.extend(*part));
    out.push(END);
}
