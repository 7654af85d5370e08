//! What the versions of the interface have in common.

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::event::{Failure, Fault};

/// The longest reason that is kept of a plugin's failure, in bytes.
const LONGEST_REASON: usize = 4096;

/// Conversions between the router's types and those of a version's bindings, which has them in
/// scope as `wit`: they are alike, and yet other types.
macro_rules! conversions {
    () => {
        impl From<crate::event::Datetime> for wit::Datetime {
            fn from(time: crate::event::Datetime) -> Self {
                Self { seconds: time.seconds(), nanoseconds: time.nanoseconds() }
            }
        }

        impl<'a> From<crate::event::Topic<'a>> for wit::Topic<'a> {
            fn from(topic: crate::event::Topic<'a>) -> Self {
                let crate::event::Topic { service, object_type, action } = topic;
                Self { service, object_type, action }
            }
        }

        impl From<wit::Failure> for crate::event::Failure {
            fn from(failure: wit::Failure) -> Self {
                match failure {
                    wit::Failure::Retry(reason) => Self::Retry(common::stated(reason, "retry")),
                    wit::Failure::Reject(reason) => Self::Reject(common::stated(reason, "reject")),
                }
            }
        }

        fn due(due: wit::Due) -> Result<crate::event::Due, crate::event::Failure> {
            use crate::event::{Datetime, Due};
            match due {
                wit::Due::Now => Ok(Due::Now),
                wit::Due::After(milliseconds) => {
                    Ok(Due::After(std::time::Duration::from_millis(milliseconds)))
                }
                wit::Due::At(wit::Datetime { seconds, nanoseconds }) => {
                    match Datetime::from_unix(seconds, nanoseconds) {
                        Some(time) => Ok(Due::At(time)),
                        None => Err(common::invalid(format!(
                            "an invalid due time: {seconds} seconds and {nanoseconds} nanoseconds"
                        ))),
                    }
                }
            }
        }
    };
}

/// A UUID as text.
pub(super) fn text(uuid: Uuid, buffer: &mut [u8; Hyphenated::LENGTH]) -> &str {
    uuid.hyphenated().encode_lower(buffer)
}

/// The failure of a plugin that returned what cannot be.
pub(super) fn invalid(what: String) -> Failure {
    Failure::Broken(format!("returned a publication with {what}"), Fault::Trap)
}

/// The reason of a failure, or which failure it was.
pub(super) fn stated(reason: String, failure: &str) -> String {
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
