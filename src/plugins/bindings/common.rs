//! What the versions of the interface have in common.

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::event::{Failure, Fault, LONGEST_REASON, shortened};

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
        false => shortened(&reason, LONGEST_REASON),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Datetime, DeadKind, DeadLetter, Message, Origin};

    #[test]
    fn a_dead_letter_says_how_long_the_reason_was_that_a_plugin_gave() {
        for length in [LONGEST_REASON, 10_000, usize::pow(10, 7)] {
            let kept = stated("x".repeat(length), "reject");
            for added in ["", " (attempt 4294967295 of 4294967295)"] {
                let reason = format!("{kept}{added}");
                let origin = Origin { plugin: "p", version: "v" };
                let letter = DeadLetter::new(
                    DeadKind::Event,
                    origin,
                    Message::default(),
                    1,
                    reason.clone(),
                    Datetime::NO_DATE,
                );
                assert_eq!(letter.reason, reason);
                let says = format!("… ({length} bytes){added}");
                assert_eq!(reason.ends_with(&says), length > LONGEST_REASON, "{length}");
            }
        }
    }
}
