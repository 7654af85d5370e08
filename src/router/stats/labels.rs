//! The words that metrics tell apart what happens by.

use crate::event::{Failure, Fault};
use crate::measure::label;
use crate::transport::Fate;

label! {
    /// How an event ended.
    pub enum Outcome {
        /// What it caused is confirmed by the broker.
        Published = "published",
        /// Something that it caused is in the delay store, and the rest confirmed.
        Delayed = "delayed",
        /// It caused nothing.
        Dropped = "dropped",
        /// It, or something that it caused, is a dead letter.
        Dead = "dead",
        /// It was not settled: the broker redelivers it.
        ReturnedToQueue = "returned_to_queue",
    }
}

label! {
    /// Why an event is given to the plugin again.
    pub enum RetryCause {
        /// The plugin asked for it.
        Retry = "retry",
        /// The plugin trapped, or answered what cannot be.
        Trap = "trap",
        /// It took too long.
        Timeout = "timeout",
        /// It asked for too much memory.
        Memory = "memory",
    }
}

label! {
    /// What the broker said to a publication, each time it was sent.
    pub enum PublicationOutcome {
        /// It is in a queue.
        Confirmed = "confirmed",
        /// It was unroutable.
        Returned = "returned",
        /// The broker could not take it.
        Nacked = "nacked",
        /// The broker closed the channel for it: its exchange does not exist or is not permitted, or
        /// it is not as the broker takes messages. Also where the router knew that beforehand.
        ChannelError = "channel_error",
    }
}

label! {
    /// Why something became a dead letter.
    pub enum DeadCause {
        /// It is no event.
        Unreadable = "unreadable",
        /// The plugin rejected it.
        Rejected = "rejected",
        /// The plugin failed on it in every attempt.
        Attempts = "attempts",
        /// The plugin answered what it may not.
        InvalidAnswer = "invalid_answer",
        /// What it caused was unroutable.
        Returned = "returned",
        /// The broker nacked what it caused, to the end.
        Nacked = "nacked",
        /// The broker refuses what it caused: the exchange does not exist or is not permitted, or the
        /// message is not as the broker takes messages.
        Refused = "refused",
        /// The delay store cannot take what it caused.
        NotStored = "not_stored",
        /// The broker never confirmed what it caused, and confirmed what was sent after it.
        NotConfirmed = "not_confirmed",
    }
}

label! {
    /// What became of a file.
    pub enum LoadOutcome {
        /// It runs.
        Loaded = "loaded",
        /// It was refused.
        Refused = "refused",
    }
}

impl RetryCause {
    /// Why the event is tried again that the plugin failed on so.
    pub fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Retry(_) | Failure::Reject(_) => Self::Retry,
            Failure::Broken(_, Fault::Trap | Fault::Stack) => Self::Trap,
            Failure::Broken(_, Fault::Timeout) => Self::Timeout,
            Failure::Broken(_, Fault::Memory) => Self::Memory,
        }
    }
}

impl PublicationOutcome {
    /// The broker said this.
    pub fn of(fate: &Fate) -> Self {
        match fate {
            Fate::Confirmed => Self::Confirmed,
            Fate::Returned(_) => Self::Returned,
            Fate::Unacceptable(_) | Fate::Refused(_) => Self::ChannelError,
            Fate::Nacked(_) => Self::Nacked,
        }
    }
}

impl DeadCause {
    /// Why a message is a dead letter to which the broker said this.
    pub fn of(fate: &Fate) -> Self {
        match fate {
            Fate::Confirmed | Fate::Returned(_) => Self::Returned,
            Fate::Unacceptable(_) | Fate::Refused(_) => Self::Refused,
            Fate::Nacked(_) => Self::Nacked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_closes_a_channel_for_is_no_return() {
        let fate = Fate::Unacceptable("406 PRECONDITION_FAILED".into());
        assert_eq!(PublicationOutcome::of(&fate), PublicationOutcome::ChannelError);
        assert_eq!(DeadCause::of(&fate), DeadCause::Refused);
    }
}
