//! The two formats of Prometheus: its own text, and OpenMetrics.

use std::fmt::Write;

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4, which everything reads.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// OpenMetrics for those who ask for it (`Accept`).
    pub fn accepted(accept: &str) -> Self {
        // Prometheus names all that it knows, OpenMetrics first if it is allowed to.
        let is_wanted = |part: &str| {
            part.trim().starts_with("application/openmetrics-text")
                && !part.replace(' ', "").ends_with(";q=0")
        };
        if accept.split(',').any(is_wanted) { Self::OpenMetrics } else { Self::Text }
    }

    /// The media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// OpenMetrics in this format. The older one differs in what describes a counter: it has the
    /// name of the samples, with `_total`.
    pub fn write(self, open_metrics: String) -> String {
        if self == Self::OpenMetrics {
            return open_metrics;
        }
        let mut text = String::with_capacity(open_metrics.len());
        // The description of a family whose type is not known yet.
        let mut help = "";
        for line in open_metrics.lines() {
            // Writing to a string does not fail.
            let _ = match line.split(' ').collect::<Vec<_>>()[..] {
                ["#", "HELP", ..] => {
                    help = line;
                    Ok(())
                }
                ["#", "TYPE", name, kind] => {
                    let suffix = if kind == "counter" { "_total" } else { "" };
                    let words = help.splitn(4, ' ').nth(3).unwrap_or_default();
                    // OpenMetrics asks for a full stop.
                    let words = words.trim_end_matches('.');
                    writeln!(text, "# HELP {name}{suffix} {words}\n# TYPE {name}{suffix} {kind}")
                }
                ["#", "EOF"] => Ok(()),
                _ => writeln!(text, "{line}"),
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_open_metrics_gets_it() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain;version=0.0.4", Format::Text),
            ("application/openmetrics-text; version=1.0.0; q=0", Format::Text),
            (
                "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn a_counter_is_described_by_the_name_of_its_samples() {
        let open_metrics = "# HELP a Some words.\n# TYPE a counter\na_total{b=\"# TYPE x y\"} 1\n\
                            # HELP g Others.\n# TYPE g gauge\ng 1.0\n# EOF\n";
        let text = "# HELP a_total Some words\n# TYPE a_total counter\na_total{b=\"# TYPE x y\"} 1\n\
                    # HELP g Others\n# TYPE g gauge\ng 1.0\n";
        assert_eq!(Format::Text.write(open_metrics.into()), text);
        assert_eq!(Format::OpenMetrics.write(open_metrics.into()), open_metrics);
    }
}
