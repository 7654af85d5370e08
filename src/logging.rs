//! What is logged, and what never is.

mod flood;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

pub use flood::Flood;

/// The router's own lines.
const OWN: &str = "mo_router";
/// The plugins' lines. Which of them are logged is decided there, by plugin.
const PLUGINS: &str = "mo_router::plugins::log";
/// What lapin logs has bodies of messages at every level, and passwords at the finer ones. What
/// matters of it we log ourselves.
const SILENT: [&str; 2] = ["lapin", "amq_protocol"];
/// What these log below that has statements with what is in them, and headers with passwords.
const CAPPED: [(&str, LevelFilter); 5] = [
    ("tokio_postgres", LevelFilter::INFO),
    ("ureq", LevelFilter::INFO),
    ("ureq_proto", LevelFilter::INFO),
    ("hyper", LevelFilter::INFO),
    ("axum", LevelFilter::INFO),
];

/// What is logged: as `asked` says, in the syntax of `RUST_LOG` (`debug`,
/// `mo_router::amqp=trace,notify=debug`), or from `info` on. A level for everything holds for the
/// router's own lines; others are only logged from `info` on unless they are named. No body and no
/// password is logged, whatever is asked for.
pub fn filter(asked: Option<&str>) -> Targets {
    let asked: Targets = asked.and_then(|levels| levels.parse().ok()).unwrap_or_default();
    let named: Vec<(String, LevelFilter)> =
        asked.iter().map(|(target, level)| (target.to_owned(), level)).collect();
    // Targets that name only some leave all others out.
    let all = asked.default_level().filter(|_| asked != Targets::new());
    let all = all.unwrap_or(LevelFilter::INFO);
    let named = named.into_iter().map(|(target, level)| {
        let within = |other: &str| {
            target.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let cap = SILENT.into_iter().map(|name| (name, LevelFilter::OFF)).chain(CAPPED);
        let cap = cap.filter(|(name, _)| within(name)).map(|(_, level)| level).min();
        let level = cap.map_or(level, |cap| cap.min(level));
        (target, level)
    });
    Targets::new()
        .with_default(all.min(LevelFilter::INFO))
        .with_target(OWN, all)
        .with_target(PLUGINS, LevelFilter::TRACE)
        .with_targets(SILENT.map(|name| (name, LevelFilter::OFF)))
        .with_targets(named)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn whatever_is_asked_for_no_library_tells_a_body_or_a_password() {
        let asked = ["", "info", "debug", "trace", "lapin=trace", "lapin::channel=info"];
        let more = ["trace,tokio_postgres=trace,ureq=debug", "amq_protocol=trace", "no=such=thing"];
        for asked in asked.into_iter().chain(more).map(Some).chain([None]) {
            let filter = filter(asked);
            for silent in ["lapin", "lapin::channel", "amq_protocol::frame"] {
                assert!(!filter.would_enable(silent, &Level::ERROR), "{silent} with {asked:?}");
            }
            for capped in ["tokio_postgres::query", "ureq::run", "rustls::conn"] {
                assert!(!filter.would_enable(capped, &Level::DEBUG), "{capped} with {asked:?}");
            }
        }
    }

    #[test]
    fn the_routers_own_lines_are_logged_as_asked() {
        assert!(filter(None).would_enable("mo_router::daemon", &Level::INFO));
        assert!(!filter(None).would_enable("mo_router::daemon", &Level::DEBUG));
        assert!(filter(Some("trace")).would_enable("mo_router::daemon", &Level::TRACE));
        assert!(!filter(Some("warn")).would_enable("mo_router::daemon", &Level::INFO));
        assert!(!filter(Some("off")).would_enable("mo_router::daemon", &Level::ERROR));
        let one = filter(Some("mo_router::amqp=trace,notify=debug"));
        assert!(one.would_enable("mo_router::amqp::pool", &Level::TRACE));
        assert!(one.would_enable("notify::inotify", &Level::DEBUG));
        // Who asks for more of one thing wants the others as they are.
        assert!(one.would_enable("mo_router::daemon", &Level::INFO));
    }
}
