//! Settings that are valid, and may yet surprise.

use super::schema::{QueueType, Settings};

impl Settings {
    /// What to warn of, in words for people.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.origins.warnings.clone();
        if self.amqp.enabled && self.amqp.queue_type == QueueType::Classic {
            warnings.push(
                "[amqp] queue_type = \"classic\": MO publishes transient messages, and classic \
                 queues lose those in a restart of the broker; quorum queues keep them"
                    .into(),
            );
        }
        warnings
    }
}
