//! What an answer may be, in number and size.

use crate::event::{OwnProperties, Publication};
use crate::settings::Limits;

/// Checks an answer against the limits on number and size.
///
/// # Errors
/// Names the limit.
pub(super) fn check_output(publications: &[Publication], limits: &Limits) -> Result<(), String> {
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
fn size(publication: &Publication) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let headers = publication.headers.iter().map(|(name, value)| name.len() + value.content());
    let properties = publication.properties.as_deref().map_or(0, |own: &OwnProperties| {
        own.texts().into_iter().filter_map(|(_, text)| text).map(str::len).sum()
    });
    publication.body.as_ref().map_or(0, Vec::len)
        + text(&publication.exchange)
        + text(&publication.routing_key)
        + text(&publication.key)
        + headers.sum::<usize>()
        + properties
}
