//! What comes from the broker, so that lapin can read it.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::channels::Channels;
use super::frame::{
    self, BEFORE_PROPERTIES, BODY, END, HEAD, HEARTBEAT, Head, METHOD, OVERHEAD, PROTOCOL,
    PROTOCOL_HEADER,
};
use super::methods::Method;
use super::properties::{self, Faults, Properties};
use super::room::{LARGE, Room};
use super::stand_in::{self, Mark};
use crate::event::Unreadable;

/// Bytes that are read at a time.
const ROOM: usize = 64 << 10;
/// The most bytes of a frame that is looked at whole. RabbitMQ sends properties that have
/// grown beyond the size of a frame by what it added itself.
const LARGEST: usize = 16 << 20;
/// The most bytes of a method that is passed on unseen. None that a broker sends is
/// longer, and a table of this size is not nested too deep for lapin's stack.
const LONGEST_UNSEEN: usize = 2 << 10;
/// The size of frames as long as it is not negotiated, and where the broker sets no limit: lapin's
/// two buffers hold 32 frames each, and would be of 137 GB without one.
const FRAME_MAX: usize = 128 << 10;
/// `connection.tune`, in which the broker says how large frames may be: 0 for no limit.
const TUNE: [u8; 4] = [0, 10, 0, 30];
/// Where it says so, in the method, and in how many bytes.
const TUNED: std::ops::Range<usize> = 6..10;
/// AMQP allows no less.
const FRAME_MIN: usize = 4 << 10;

/// Takes bytes as they come from the broker, and gives those that lapin is to read.
///
/// What lapin can read passes as it is. Of a message that it cannot read, the method says
/// what can be said as text, and a [`stand_in`] follows. Other than that there are errors.
pub struct Inbound {
    mark: Mark,
    /// The most bytes of a frame.
    frame_max: usize,
    /// What has come is in `start..end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// So many bytes from `start` on pass, those that have not come yet included.
    passing: usize,
    /// What lapin reads before the buffer, but for the first `given` bytes.
    stand_in: Vec<u8>,
    given: usize,
    /// The exchanges and routing keys that are no text, of messages whose content
    /// header has not come, by channel. A channel has one at most.
    addresses: HashMap<u16, [Vec<u8>; 2]>,
    /// The large messages that are coming, by channel: their size, and what is missing of it.
    coming: HashMap<u16, [usize; 2]>,
    /// Told of those that have come.
    room: Arc<Room>,
}

/// What is to be done with what comes next.
enum Next {
    /// So many bytes pass.
    Pass(usize),
    /// It cannot be said yet.
    More,
    /// A frame of so many bytes that lapin cannot read.
    Replace(usize),
    /// A frame of so many bytes that lapin is not to read.
    Drop(usize),
}

impl Inbound {
    /// Of a new connection.
    pub fn new(mark: Mark, room: Arc<Room>) -> Self {
        Self {
            mark,
            frame_max: FRAME_MAX,
            buffer: vec![0; ROOM],
            start: 0,
            end: 0,
            passing: 0,
            stand_in: Vec::new(),
            given: 0,
            addresses: HashMap::new(),
            coming: HashMap::new(),
            room,
        }
    }

    /// Takes note of the negotiated size of frames.
    pub fn set_frame_max(&mut self, frame_max: usize) {
        self.frame_max = frame_max.max(FRAME_MIN);
    }

    /// Where to put what comes next. There is always room, once [`Inbound::ready`] gives
    /// nothing.
    pub fn room(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        } else if self.end < ROOM && self.buffer.len() > ROOM {
            self.buffer.truncate(ROOM);
            self.buffer.shrink_to_fit();
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes have come into the room.
    pub fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// How many bytes would pass unseen, if lapin read them without a detour through the
    /// buffer; none unless they are many.
    pub fn direct(&self) -> usize {
        let is_idle = self.start == self.end && self.given == self.stand_in.len();
        if is_idle && self.passing >= ROOM { self.passing } else { 0 }
    }

    /// So many bytes have passed directly.
    pub fn passed(&mut self, count: usize) {
        self.passing -= count;
    }

    /// What lapin can read now; nothing if more has to come first.
    ///
    /// # Errors
    /// What has come is no AMQP that a client can go on with.
    pub fn ready(&mut self, channels: &mut Channels) -> io::Result<&[u8]> {
        'given: while self.given == self.stand_in.len() {
            let come = self.end - self.start;
            while self.passing < come {
                match self.judge(self.start + self.passing, channels) {
                    Ok(Next::Pass(count)) => self.passing += count,
                    Ok(Next::More) => break,
                    // What is before it comes first.
                    Ok(Next::Replace(_) | Next::Drop(_)) | Err(_) if self.passing > 0 => break,
                    Ok(Next::Replace(count)) => {
                        self.replace(self.start..self.start + count)?;
                        self.start += count;
                        break;
                    }
                    Ok(Next::Drop(count)) => {
                        self.start += count;
                        continue 'given;
                    }
                    Err(error) => return Err(error),
                }
            }
            if self.given == self.stand_in.len() {
                let passing = self.passing.min(self.end - self.start);
                return Ok(&self.buffer[self.start..self.start + passing]);
            }
        }
        Ok(&self.stand_in[self.given..])
    }

    /// Lapin has read so many bytes of what was ready.
    pub fn consume(&mut self, count: usize) {
        if self.given < self.stand_in.len() {
            self.given += count;
            if self.given == self.stand_in.len() {
                (self.stand_in, self.given) = (Vec::new(), 0);
            }
        } else {
            self.start += count;
            self.passing -= count;
        }
    }

    /// Looks at the frame that begins there.
    fn judge(&mut self, at: usize, channels: &mut Channels) -> io::Result<Next> {
        let bytes = &self.buffer[at..self.end];
        if bytes.first() == Some(&PROTOCOL) {
            return Ok(Next::Pass(PROTOCOL_HEADER));
        }
        let Some(head) = Head::read(bytes) else { return Ok(Next::More) };
        match head.kind {
            HEARTBEAT => self.pass(head),
            BODY => {
                let next = self.pass(head)?;
                self.body_comes(head);
                Ok(next)
            }
            frame::HEADER => match whole(bytes, head)? {
                Some(payload) => {
                    let properties = payload.get(BEFORE_PROPERTIES..);
                    let properties = properties.ok_or_else(|| broken("a content header"))?;
                    // The cheapest first: there hardly ever is an address.
                    let passes = self.fits(head)
                        && (self.addresses.is_empty()
                            || !self.addresses.contains_key(&head.channel))
                        && properties::are_readable(properties);
                    if !passes {
                        return Ok(Next::Replace(head.total()));
                    }
                    let size = payload.get(4..).and_then(|from| from.first_chunk()).copied();
                    let size = size.map_or(0, u64::from_be_bytes) as usize;
                    self.content_comes(head.channel, size, size);
                    Ok(Next::Pass(head.total()))
                }
                None => Ok(Next::More),
            },
            METHOD => {
                let name = bytes[HEAD..].first_chunk().filter(|_| head.size >= 4);
                if name == Some(&TUNE) {
                    let Some(payload) = whole(bytes, head)? else { return Ok(Next::More) };
                    if payload.get(TUNED) == Some(&[0; 4]) {
                        self.limit_frames(at + HEAD);
                    }
                    return self.pass(head);
                }
                if let Some(name) = name
                    && !channels.may_come(head.channel, *name)
                {
                    let is_whole = whole(bytes, head)?.is_some();
                    return Ok(if is_whole { Next::Drop(head.total()) } else { Next::More });
                }
                let Some(method) = name.and_then(|name| Method::named(name)) else {
                    let is_unseen = name.is_some() || head.size < 4;
                    return if is_unseen { self.pass_unseen(head) } else { Ok(Next::More) };
                };
                let Some(payload) = whole(bytes, head)? else { return Ok(Next::More) };
                let readable = method.is_readable(payload).ok_or_else(|| broken("a method"))?;
                if method.brings_content() && !self.addresses.is_empty() {
                    self.addresses.remove(&head.channel);
                }
                if readable { self.pass(head) } else { Ok(Next::Replace(head.total())) }
            }
            kind => Err(error(format!("a frame of unknown type {kind}"))),
        }
    }

    /// Has the broker's word on the size of frames be a limit, in the method that begins there.
    fn limit_frames(&mut self, at: usize) {
        let limit = (FRAME_MAX as u32).to_be_bytes();
        self.buffer[at + TUNED.start..at + TUNED.end].copy_from_slice(&limit);
    }

    /// A message comes, of which lapin will have a body of `size`; of it, so much is `missing`.
    fn content_comes(&mut self, channel: u16, size: usize, missing: usize) {
        if size < LARGE {
            return;
        }
        if missing == 0 {
            self.room.came(channel, size);
        } else {
            self.coming.insert(channel, [size, missing]);
        }
    }

    fn body_comes(&mut self, head: Head) {
        if self.coming.is_empty() {
            return;
        }
        if let Some([size, missing]) = self.coming.get_mut(&head.channel) {
            *missing = missing.saturating_sub(head.size);
            if *missing == 0 {
                self.room.came(head.channel, *size);
                self.coming.remove(&head.channel);
            }
        }
    }

    /// Whether lapin takes a frame of this size.
    fn fits(&self, head: Head) -> bool {
        head.total() <= self.frame_max
    }

    fn pass(&self, head: Head) -> io::Result<Next> {
        if self.fits(head) {
            return Ok(Next::Pass(head.total()));
        }
        Err(error(format!("a frame of {} bytes, more than were agreed on", head.total())))
    }

    fn pass_unseen(&self, head: Head) -> io::Result<Next> {
        if head.size <= LONGEST_UNSEEN {
            return self.pass(head);
        }
        Err(error(format!("a method of {} bytes that no broker sends", head.size)))
    }

    /// Puts what lapin can read in the place of a frame that it cannot.
    fn replace(&mut self, frame: std::ops::Range<usize>) -> io::Result<()> {
        let bytes = &self.buffer[frame];
        let head = Head::read(bytes).ok_or_else(|| broken("a frame"))?;
        let payload = &bytes[HEAD..HEAD + head.size];
        if head.kind == frame::HEADER {
            let address = self.addresses.remove(&head.channel);
            return self.replace_content_header(head, payload.to_vec(), address);
        }
        let method = payload.get(..4).and_then(Method::named);
        let method = method.ok_or_else(|| broken("a method"))?;
        let readable = method.readable(payload).ok_or_else(|| broken("a method"))?;
        frame::write(&mut self.stand_in, METHOD, head.channel, [&readable.payload, &[]]);
        if method.brings_content() {
            self.addresses.insert(head.channel, readable.address);
        }
        Ok(())
    }

    fn replace_content_header(
        &mut self,
        head: Head,
        payload: Vec<u8>,
        address: Option<[Vec<u8>; 2]>,
    ) -> io::Result<()> {
        let (before, bytes) = payload.split_at(BEFORE_PROPERTIES);
        let mut faults = Faults::default();
        let [exchange, routing_key] = address.unwrap_or_default();
        faults.text(&exchange, || "the exchange".to_owned());
        faults.text(&routing_key, || "the routing key".to_owned());
        let readable = properties::readable(bytes, &mut faults);
        if !self.fits(head) {
            faults.add(|| {
                format!(
                    "its properties take a frame of {} bytes, more than the {} of this connection",
                    head.total(),
                    self.frame_max
                )
            });
        }
        let details = stand_in::encode(&Unreadable {
            reason: faults.reason(),
            exchange,
            routing_key,
            properties: (!self.fits(head) || readable != bytes).then(|| bytes.to_vec()),
        });

        let mut stood = Properties::parse(&readable).ok_or_else(|| broken("properties"))?;
        stood.remove_headers(|name| name == stand_in::HEADER.as_bytes());
        stood.add_header(stand_in::HEADER, b'x', &self.mark.header(details.len()));
        let mut properties = stood.to_bytes();
        if OVERHEAD + BEFORE_PROPERTIES + properties.len() > self.frame_max {
            stood.clear_headers();
            stood.add_header(stand_in::HEADER, b'x', &self.mark.header(details.len()));
            properties = stood.to_bytes();
        }
        let mut before = before.to_vec();
        let size = before.last_chunk_mut::<8>().ok_or_else(|| broken("a content header"))?;
        let own = u64::from_be_bytes(*size);
        let longer = own.checked_add(details.len() as u64);
        let longer = longer.ok_or_else(|| broken("the size of a body"))?;
        *size = longer.to_be_bytes();
        self.content_comes(head.channel, longer as usize, own as usize);
        frame::write(&mut self.stand_in, frame::HEADER, head.channel, [&before, &properties]);
        for part in details.chunks(self.frame_max - OVERHEAD) {
            frame::write(&mut self.stand_in, BODY, head.channel, [part, &[]]);
        }
        Ok(())
    }
}

/// A frame's payload, if all of it has come.
fn whole(bytes: &[u8], head: Head) -> io::Result<Option<&[u8]>> {
    if head.total() > LARGEST {
        return Err(error(format!("a frame of {} bytes", head.total())));
    }
    let Some(frame) = bytes.get(..head.total()) else { return Ok(None) };
    match frame.split_last() {
        Some((&END, frame)) => Ok(Some(&frame[HEAD..])),
        _ => Err(broken("a frame")),
    }
}

fn broken(what: &str) -> io::Error {
    error(format!("{what} that is malformed"))
}

fn error(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the broker sent {what}"))
}
