//! Between the types of the WIT interface and the router's own.

use std::borrow::Cow;
use std::time::Duration;

use super::bindings as wit;
use crate::event::{Datetime, Due, Event, Failure, Fault, Publication, Value};
use crate::settings::Limits;

/// The longest reason that is kept of a plugin's failure, in bytes.
const LONGEST_REASON: usize = 4096;

/// The headers that have a text form.
pub(super) fn headers(event: &Event) -> Vec<(&str, Cow<'_, str>)> {
    let headers = event.message.properties.headers.iter();
    headers.filter_map(|(name, value)| Some((name.as_str(), text(value)?))).collect()
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(text) => Some(Cow::Borrowed(text.as_str())),
        value => value.as_text().map(Cow::Owned),
    }
}

/// Checks an answer against the limits on number and size.
///
/// # Errors
/// Names the limit.
pub(super) fn check_output(
    publications: &[wit::Publication],
    limits: &Limits,
) -> Result<(), String> {
    if publications.len() > limits.max_publications {
        return Err(format!(
            "returned {} publications, more than the limit of {} ([limits] max_publications)",
            publications.len(),
            limits.max_publications
        ));
    }
    let bytes: usize = publications.iter().map(size).sum();
    if bytes as u64 > limits.max_output {
        return Err(format!(
            "returned publications of {}, more than the limit of {} ([limits] max_output)",
            bytesize::ByteSize(bytes as u64),
            bytesize::ByteSize(limits.max_output)
        ));
    }
    Ok(())
}

/// The bytes of one publication.
fn size(publication: &wit::Publication) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let headers = publication.headers.iter().map(|(name, value)| name.len() + value.len());
    publication.body.as_ref().map_or(0, Vec::len)
        + text(&publication.exchange)
        + text(&publication.routing_key)
        + text(&publication.key)
        + headers.sum::<usize>()
}

/// A publication that the plugin returned.
///
/// # Errors
/// Its due time is not a valid time.
pub(super) fn publication(publication: wit::Publication) -> Result<Publication, Failure> {
    Ok(Publication {
        exchange: publication.exchange,
        routing_key: publication.routing_key,
        body: publication.body,
        headers: publication.headers,
        due: due(publication.due)?,
        key: publication.key,
    })
}

fn due(due: wit::Due) -> Result<Due, Failure> {
    match due {
        wit::Due::Now => Ok(Due::Now),
        wit::Due::After(milliseconds) => Ok(Due::After(Duration::from_millis(milliseconds))),
        wit::Due::At(wit::Datetime { seconds, nanoseconds }) => {
            match Datetime::from_unix(seconds, nanoseconds) {
                Some(time) => Ok(Due::At(time)),
                None => Err(Failure::Broken(
                    format!(
                        "returned a publication with an invalid due time: {seconds} seconds and \
                         {nanoseconds} nanoseconds"
                    ),
                    Fault::Trap,
                )),
            }
        }
    }
}

impl From<Datetime> for wit::Datetime {
    fn from(time: Datetime) -> Self {
        Self { seconds: time.seconds(), nanoseconds: time.nanoseconds() }
    }
}

impl From<wit::Failure> for Failure {
    fn from(failure: wit::Failure) -> Self {
        match failure {
            wit::Failure::Retry(reason) => Failure::Retry(stated(reason, "retry")),
            wit::Failure::Reject(reason) => Failure::Reject(stated(reason, "reject")),
        }
    }
}

/// The reason of a failure, or which failure it was.
fn stated(reason: String, failure: &str) -> String {
    match reason.trim().is_empty() {
        true => format!("the plugin answered `{failure}` without a reason"),
        false => shortened(reason),
    }
}

/// Cuts a long reason. It travels in a header, and all headers of a message must fit
/// into one AMQP frame.
fn shortened(mut reason: String) -> String {
    if reason.len() > LONGEST_REASON {
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        reason.push('…');
    }
    reason
}
