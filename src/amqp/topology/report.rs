//! Reporting what is wrong with an exchange, a queue or a binding.

use anyhow::Result;

use super::errors::{ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED, RESOURCE_LOCKED, reply_code};
use crate::amqp::broker::Broker;
use crate::health::Code;

/// RabbitMQ's reply code for something that is not allowed, such as one queue more.
const NOT_ALLOWED: u16 = 530;

/// Where to report what the broker answers.
pub(super) struct Report<'a> {
    pub(super) broker: &'a Broker,
    /// What it means that something does not exist.
    pub(super) missing: Code,
    /// What was to be used.
    pub(super) subject: &'a str,
}

impl Report<'_> {
    /// Reports an error, or that all is well.
    ///
    /// # Errors
    /// What `explain` makes of the error.
    pub(super) fn note<T>(
        &self,
        answer: Result<T, lapin::Error>,
        explain: impl FnOnce(lapin::Error) -> anyhow::Error,
    ) -> Result<T> {
        let answer = self.note_error(answer, explain)?;
        self.note_well();
        Ok(answer)
    }

    /// Reports that all is well: after the last of several steps, so that what one of them is
    /// refused for is not over as soon as another one is taken.
    pub(super) fn note_well(&self) {
        let health = self.broker.health();
        health.over(self.missing, self.subject, "it exists again");
        health.over(Code::NotPermitted, self.subject, "the broker permits it again");
    }

    /// Reports an error with the words that `explain` finds for it. That a connection is lost is no
    /// answer, and is reported where it is made again.
    ///
    /// # Errors
    /// What `explain` makes of the error.
    pub(super) fn note_error<T>(
        &self,
        answer: Result<T, lapin::Error>,
        explain: impl FnOnce(lapin::Error) -> anyhow::Error,
    ) -> Result<T> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let code = match reply_code(&error) {
                    Some(NOT_FOUND) => Some(self.missing),
                    Some(ACCESS_REFUSED | RESOURCE_LOCKED | PRECONDITION_FAILED | NOT_ALLOWED) => {
                        Some(Code::NotPermitted)
                    }
                    _ => None,
                };
                let error = explain(error);
                if let Some(code) = code {
                    self.broker.health().report(code, self.subject, &format!("{error:#}"));
                }
                Err(error)
            }
        }
    }
}
