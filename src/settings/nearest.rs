//! The known word that an unknown one may be a misspelling of.

/// The known word closest to `unknown`, if any is close.
pub(super) fn nearest<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&unknown.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(similarity, _)| *similarity > 0.7)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, word)| word)
}

/// "; did you mean …?", or nothing if no known word is close.
pub(super) fn did_you_mean<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(unknown, known).map(|word| format!("; did you mean {word}?")).unwrap_or_default()
}
