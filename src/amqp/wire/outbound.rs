//! What goes to the broker, with properties that lapin cannot write, and without what the
//! broker would end the connection for: when a channel is closed, by either side, lapin says so
//! before what was to be published on it, and sends that all the same.

use super::channels::Channels;
use super::frame::{self, BEFORE_PROPERTIES, HEAD, Head, METHOD, PROTOCOL, PROTOCOL_HEADER};
use super::stand_in::{self, Mark, OUTGOING_FLAGS};

/// `connection.tune-ok`: what lapin agrees on with the broker.
const TUNE_OK: [u8; 4] = [0, 10, 0, 31];

/// Follows the frames that lapin writes. All pass as they are but for the content headers
/// that [`stand_in::outgoing`] made, and what is on a channel that is closed: [`Channels`].
pub struct Outbound {
    mark: Mark,
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
        Self { mark, passing: 0, partial: Vec::new(), pending: Vec::new(), frame_max: None }
    }

    /// The size of frames that lapin has agreed on, told once.
    pub fn take_frame_max(&mut self) -> Option<usize> {
        self.frame_max.take()
    }

    /// Looks at what lapin writes, at least one byte.
    pub fn step(&mut self, bytes: &[u8], channels: &mut Channels) -> Step {
        if self.partial.is_empty() {
            while self.passing < bytes.len()
                && let Some(count) = self.judge(&bytes[self.passing..], channels)
            {
                self.passing += count;
            }
            if self.passing > 0 {
                return Step::Pass(self.passing.min(bytes.len()));
            }
        }
        Step::Taken(self.collect(bytes, channels))
    }

    /// So many bytes have passed.
    pub fn passed(&mut self, count: usize) {
        self.passing -= count;
    }

    /// How many bytes pass because of the frame that begins here; none if it has to be
    /// collected to say so.
    fn judge(&mut self, bytes: &[u8], channels: &mut Channels) -> Option<usize> {
        if bytes[0] == PROTOCOL {
            return Some(PROTOCOL_HEADER);
        }
        let head = Head::read(bytes)?;
        let payload = &bytes[HEAD..];
        let method = if head.kind == METHOD { Some(payload.get(..head.size)?) } else { None };
        if !self.may_go(head, method, channels) {
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

    /// Whether the broker is to get a frame, with the payload of its method if it is one.
    fn may_go(&mut self, head: Head, method: Option<&[u8]>, channels: &mut Channels) -> bool {
        if let Some(&[_, _, a, b, c, d, ..]) = method.and_then(|it| it.strip_prefix(&TUNE_OK)) {
            self.frame_max = Some(u32::from_be_bytes([a, b, c, d]) as usize);
        }
        channels.may_go(head.channel, method.and_then(|method| method.first_chunk()).copied())
    }

    /// Takes bytes of the frame that is collected, and says how many.
    fn collect(&mut self, bytes: &[u8], channels: &mut Channels) -> usize {
        let before = self.partial.len();
        self.fill(bytes, HEAD);
        let Some(head) = Head::read(&self.partial) else { return bytes.len() };
        let bytes = &bytes[self.partial.len() - before..];
        self.fill(bytes, head.total());
        if self.partial.len() == head.total() {
            let frame = std::mem::take(&mut self.partial);
            self.send(head, &frame, channels);
            return frame.len() - before;
        }
        self.partial.len() - before
    }

    fn fill(&mut self, bytes: &[u8], size: usize) {
        let missing = size.saturating_sub(self.partial.len());
        self.partial.extend(&bytes[..missing.min(bytes.len())]);
    }

    fn send(&mut self, head: Head, frame: &[u8], channels: &mut Channels) {
        let payload = &frame[HEAD..HEAD + head.size];
        let method = (head.kind == METHOD).then_some(payload);
        if !self.may_go(head, method, channels) {
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
