//! What goes to the broker, with properties that lapin cannot write, and without what the
//! broker would end the connection for: when a channel is closed, by either side, lapin says so
//! before what was to be published on it, and sends that all the same.

use super::frame::{self, BEFORE_PROPERTIES, HEAD, Head, METHOD, PROTOCOL, PROTOCOL_HEADER};
use super::stand_in::{self, Mark, OUTGOING_FLAGS};

/// `connection.tune-ok`: what lapin agrees on with the broker.
const TUNE_OK: [u8; 4] = [0, 10, 0, 31];
/// The class of a channel's own methods,
const CHANNEL: [u8; 2] = [0, 20];
/// of which these are `open`,
const OPEN: [u8; 2] = [0, 10];
/// `close` and `close-ok`.
const CLOSE: [[u8; 2]; 2] = [[0, 40], [0, 41]];

/// Follows the frames that lapin writes. All pass as they are but for the content headers
/// that [`stand_in::outgoing`] made, and what is on a channel that is closed.
pub struct Outbound {
    mark: Mark,
    /// Whether lapin has closed a channel, or agreed to that, by its number. There are at most
    /// 65,536.
    closed: Vec<bool>,
    /// So many bytes of what lapin writes next pass.
    passing: usize,
    /// The start of a frame that is not whole yet.
    partial: Vec<u8>,
    /// What goes to the broker before anything that passes.
    pub pending: Vec<u8>,
    frame_max: Option<usize>,
}

/// What is to be done with bytes that lapin writes.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// So many of them go to the broker as they are.
    Pass(usize),
    /// So many of them were taken, and go to the broker as [`Outbound::pending`].
    Taken(usize),
}

impl Outbound {
    /// Of a new connection.
    pub fn new(mark: Mark) -> Self {
        Self {
            mark,
            closed: Vec::new(),
            passing: 0,
            partial: Vec::new(),
            pending: Vec::new(),
            frame_max: None,
        }
    }

    /// The size of frames that lapin has agreed on, told once.
    pub fn take_frame_max(&mut self) -> Option<usize> {
        self.frame_max.take()
    }

    /// Looks at what lapin writes, at least one byte.
    pub fn step(&mut self, bytes: &[u8]) -> Step {
        if self.partial.is_empty() {
            while self.passing < bytes.len()
                && let Some(count) = self.judge(&bytes[self.passing..])
            {
                self.passing += count;
            }
            if self.passing > 0 {
                return Step::Pass(self.passing.min(bytes.len()));
            }
        }
        Step::Taken(self.collect(bytes))
    }

    /// So many bytes have passed.
    pub fn passed(&mut self, count: usize) {
        self.passing -= count;
    }

    /// How many bytes pass because of the frame that begins here; none if it has to be
    /// collected to say so.
    fn judge(&mut self, bytes: &[u8]) -> Option<usize> {
        if bytes[0] == PROTOCOL {
            return Some(PROTOCOL_HEADER);
        }
        let head = Head::read(bytes)?;
        let payload = &bytes[HEAD..];
        if head.kind == METHOD {
            self.note_method(head.channel, payload.get(..head.size)?);
        }
        if self.is_dropped(head, payload) {
            return None;
        }
        if head.kind == frame::HEADER
            && head.size > OUTGOING_FLAGS
            && stand_in::may_be_outgoing(payload.first_chunk()?)
        {
            let payload = payload.get(..head.size)?;
            if stand_in::outgoing_properties(self.mark, payload).is_some() {
                return None;
            }
        }
        Some(head.total())
    }

    fn note_method(&mut self, channel: u16, payload: &[u8]) {
        if let Some(&[_, _, a, b, c, d, ..]) = payload.strip_prefix(&TUNE_OK) {
            self.frame_max = Some(u32::from_be_bytes([a, b, c, d]) as usize);
        }
        let own = payload.strip_prefix(&CHANNEL).and_then(|rest| rest.first_chunk());
        if own == Some(&OPEN) {
            self.set_closed(channel, false);
        } else if own.is_some_and(|own| CLOSE.contains(own)) {
            self.set_closed(channel, true);
        }
    }

    /// Whether the broker knows nothing of the channel that this is on, or will not when it
    /// comes: by RabbitMQ's reader, that is a 504 for the connection.
    fn is_dropped(&self, head: Head, payload: &[u8]) -> bool {
        let is_closed = self.closed.get(usize::from(head.channel)).is_some_and(|closed| *closed);
        is_closed && !(head.kind == METHOD && payload.starts_with(&CHANNEL))
    }

    fn set_closed(&mut self, channel: u16, closed: bool) {
        let channel = usize::from(channel);
        if self.closed.len() <= channel {
            self.closed.resize(channel + 1, false);
        }
        self.closed[channel] = closed;
    }

    /// Takes bytes of the frame that is collected, and says how many.
    fn collect(&mut self, bytes: &[u8]) -> usize {
        let before = self.partial.len();
        self.fill(bytes, HEAD);
        let Some(head) = Head::read(&self.partial) else { return bytes.len() };
        let bytes = &bytes[self.partial.len() - before..];
        self.fill(bytes, head.total());
        if self.partial.len() == head.total() {
            let frame = std::mem::take(&mut self.partial);
            self.send(head, &frame);
            return frame.len() - before;
        }
        self.partial.len() - before
    }

    fn fill(&mut self, bytes: &[u8], size: usize) {
        let missing = size.saturating_sub(self.partial.len());
        self.partial.extend(&bytes[..missing.min(bytes.len())]);
    }

    fn send(&mut self, head: Head, frame: &[u8]) {
        let payload = &frame[HEAD..HEAD + head.size];
        if head.kind == METHOD {
            self.note_method(head.channel, payload);
        }
        if self.is_dropped(head, payload) {
            return;
        }
        let properties = (head.kind == frame::HEADER)
            .then(|| stand_in::outgoing_properties(self.mark, payload))
            .flatten();
        match properties {
            Some(properties) => frame::write(
                &mut self.pending,
                frame::HEADER,
                head.channel,
                [&payload[..BEFORE_PROPERTIES], properties],
            ),
            None => self.pending.extend(frame),
        }
    }
}
