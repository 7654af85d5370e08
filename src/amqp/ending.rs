//! Why nothing can be published on a channel any more: the broker has closed it, or the connection
//! is lost.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lapin::ErrorKind;
use tokio::time::{Sleep, sleep};

use crate::transport::Refusal;

/// How long to wait for the error that says why.
const PATIENCE: Duration = Duration::from_secs(5);

/// The errors of a channel's messages, all of which end when it does.
#[derive(Default)]
pub struct Ending {
    /// The one that says most.
    error: Option<lapin::Error>,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Ending {
    /// A message has ended with this error.
    pub fn note(&mut self, error: lapin::Error) {
        if self.error.as_ref().is_none_or(|known| weight(&error) > weight(known)) {
            self.error = Some(error);
        }
    }

    /// Whether a message has ended so.
    pub fn has_begun(&self) -> bool {
        self.error.is_some()
    }

    /// Why the broker closed the channel. A message that is published when that has begun may be
    /// told before those that are unconfirmed, which are told why: so as long as `any` is, it waits
    /// for that, for a few seconds.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn poll(
        &mut self,
        any: bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<Refusal, lapin::Error>> {
        let Some(error) = &self.error else { return Poll::Pending };
        if let Some(refusal) = refusal(error) {
            return Poll::Ready(Ok(refusal));
        }
        if !any || !is_vague(error) {
            return Poll::Ready(Err(error.clone()));
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        patience.as_mut().poll(context).map(|()| Ok(Refusal::unknown()))
    }
}

/// How much an error says: why the broker closed the channel, what became of the connection, or
/// only that nothing can be published.
fn weight(error: &lapin::Error) -> u8 {
    match refusal(error) {
        Some(_) => 2,
        None => u8::from(!is_vague(error)),
    }
}

fn is_vague(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidChannelState(..))
}

/// Why the broker closed the channel; none if this is something else.
fn refusal(error: &lapin::Error) -> Option<Refusal> {
    match error.kind() {
        ErrorKind::ProtocolError(amqp) if error.is_amqp_soft_error() => {
            Some(Refusal { code: amqp.get_id(), text: amqp.get_message().to_string() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::FutureExt;
    use lapin::ChannelState;
    use lapin::protocol::AMQPError;

    use super::*;

    fn vague() -> lapin::Error {
        ErrorKind::InvalidChannelState(ChannelState::Closing, "basic.publish").into()
    }

    fn said(code: u16) -> lapin::Error {
        ErrorKind::ProtocolError(AMQPError::from_id(code, "why".into()).unwrap()).into()
    }

    async fn ended(ending: &mut Ending, any: bool) -> Result<Refusal, lapin::Error> {
        poll_fn(|context| ending.poll(any, context)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_told_first_that_the_channel_is_closed_is_no_lost_connection() {
        let mut ending = Ending::default();
        assert!(ended(&mut ending, true).now_or_never().is_none() && !ending.has_begun());
        ending.note(vague());
        assert!(ended(&mut ending, true).now_or_never().is_none() && ending.has_begun());
        ending.note(said(404));
        ending.note(vague());
        assert_eq!(ended(&mut ending, false).await.unwrap().code, 404);
    }

    #[tokio::test(start_paused = true)]
    async fn why_a_channel_is_closed_is_not_waited_for_for_ever() {
        let mut ending = Ending::default();
        ending.note(vague());
        assert_eq!(ended(&mut ending, true).await.unwrap(), Refusal::unknown());
        assert!(ended(&mut ending, false).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_is_one() {
        let mut ending = Ending::default();
        ending.note(vague());
        ending.note(said(320));
        assert!(ended(&mut ending, true).now_or_never().unwrap().is_err());
    }
}
