//! How far each channel of a connection is closed, by what passes in both directions.
//!
//! lapin may close a channel that the broker has closed at the same moment, or close it twice.
//! RabbitMQ takes what comes on a channel that it has forgotten for the beginning of a new one,
//! and ends the connection, since that does not begin so; and lapin does the same when the answer
//! to its own close comes for a channel that it has closed because the broker did.

/// The methods of a channel's beginning and end.
const OPEN: [u8; 4] = [0, 20, 0, 10];
const CLOSE: [u8; 4] = [0, 20, 0, 40];
const CLOSE_OK: [u8; 4] = [0, 20, 0, 41];

/// The channels of a connection, by their numbers. There are at most 65,536.
#[derive(Default)]
pub struct Channels(Vec<End>);

/// What has passed since the channel was opened.
#[derive(Clone, Copy, Default)]
struct End {
    /// lapin has closed it.
    close_sent: bool,
    /// The broker has closed it,
    close_came: bool,
    /// and lapin has answered that.
    answered: bool,
}

impl Channels {
    /// lapin writes a frame, which is this method if it is one. Says whether the broker is to get
    /// it: not what it would take for the beginning of a new channel, or ignore.
    pub fn may_go(&mut self, channel: u16, method: Option<[u8; 4]>) -> bool {
        let end = self.end(channel);
        match method {
            Some(OPEN) => {
                *end = End::default();
                true
            }
            Some(CLOSE) if end.close_sent || end.close_came => false,
            Some(CLOSE) => {
                end.close_sent = true;
                true
            }
            Some(CLOSE_OK) => end.close_came && !std::mem::replace(&mut end.answered, true),
            _ => !(end.close_sent || end.answered),
        }
    }

    /// The broker has sent a method. Says whether lapin is to get it: not an answer to its close
    /// if the channel ends by the broker's.
    pub fn may_come(&mut self, channel: u16, method: [u8; 4]) -> bool {
        match method {
            CLOSE => {
                self.end(channel).close_came = true;
                true
            }
            CLOSE_OK => !self.end(channel).close_came,
            _ => true,
        }
    }

    fn end(&mut self, channel: u16) -> &mut End {
        let channel = usize::from(channel);
        if self.0.len() <= channel {
            self.0.resize(channel + 1, End::default());
        }
        &mut self.0[channel]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISH: [u8; 4] = [0, 60, 0, 40];

    /// What passes of what lapin writes on a new channel; `None` says that the broker closes it.
    fn passes(written: &[Option<[u8; 4]>]) -> Vec<bool> {
        let mut channels = Channels::default();
        assert!(channels.may_go(3, Some(OPEN)));
        let pass = written.iter().map(|method| match method {
            Some(method) => channels.may_go(3, Some(*method)),
            None => channels.may_come(3, CLOSE),
        });
        pass.collect()
    }

    #[test]
    fn a_channel_that_the_broker_has_forgotten_gets_nothing() {
        let (close, close_ok, publish) = (Some(CLOSE), Some(CLOSE_OK), Some(PUBLISH));
        assert_eq!(passes(&[publish, close, publish, close]), [true, true, false, false]);
        // The broker's close: whatever comes until it is answered is ignored.
        let answered = [None, publish, close, close_ok, close, close_ok, publish];
        assert_eq!(passes(&answered), [true, true, false, true, false, false, false]);
        // Both at once: the broker waits for the answer to its own.
        assert_eq!(passes(&[close, None, close_ok, close]), [true, true, true, false]);
        assert_eq!(passes(&[close, close_ok]), [true, false]);
    }

    #[test]
    fn a_number_is_that_of_a_new_channel_once_it_is_opened() {
        let mut channels = Channels::default();
        for method in [OPEN, CLOSE] {
            assert!(channels.may_go(1, Some(method)));
        }
        assert!(channels.may_come(1, CLOSE_OK));
        assert!(!channels.may_go(1, None));
        assert!(channels.may_go(2, None));
        assert!(channels.may_go(1, Some(OPEN)) && channels.may_go(1, None));
    }

    #[test]
    fn lapin_gets_one_end_of_a_channel_that_both_close() {
        let mut channels = Channels::default();
        for method in [OPEN, CLOSE] {
            channels.may_go(1, Some(method));
        }
        assert!(channels.may_come(1, CLOSE));
        assert!(!channels.may_come(1, CLOSE_OK));
        assert!(channels.may_come(1, PUBLISH) && channels.may_come(2, CLOSE_OK));
    }
}
