//! What is logged, and what never is.

mod flood;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

pub use flood::Flood;

/// The router's own lines.
const OWN: &str = "mo_router";
/// The plugins' lines. Which of them are logged is decided there, by plugin.
const PLUGINS: &str = "mo_router::plugins::log";
/// What people changed over HTTP: each line is written, whatever is asked for and however many
/// there are. Nobody can change something without a token.
pub const CHANGES: &str = "mo_router::changes";
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
/// password is logged, whatever is asked for, and what people change always is. Also gives what is
/// wrong with what was asked for, of which nothing holds then.
pub fn filter(asked: Option<&str>) -> (Targets, Option<String>) {
    let asked = asked.unwrap_or_default().trim();
    let (asked, wrong) = match asked.parse() {
        // Empty, it would mean errors only.
        _ if asked.is_empty() => (Targets::new(), None),
        Ok(targets) => (targets, None),
        Err(error) => {
            let wrong = format!("RUST_LOG {asked:?} cannot be read and does not hold: {error}");
            (Targets::new(), Some(wrong))
        }
    };
    let named: Vec<(String, LevelFilter)> =
        asked.iter().map(|(target, level)| (target.to_owned(), level)).collect();
    // Targets that name only some leave all others out.
    let all = asked.default_level().filter(|_| asked != Targets::new());
    let all = all.unwrap_or(LevelFilter::INFO);
    let filter = Targets::new()
        .with_default(all.min(LevelFilter::INFO))
        .with_target(OWN, all)
        .with_target(PLUGINS, LevelFilter::TRACE)
        .with_targets(named)
        .with_target(CHANGES, LevelFilter::INFO);
    (capped(&filter), wrong)
}

/// The same, with what must not be logged left out. A target stands for all that begin like it,
/// modules or not, and of several the longest holds: so `tokio` means `tokio_postgres` too.
fn capped(filter: &Targets) -> Targets {
    let caps = || SILENT.into_iter().map(|name| (name, LevelFilter::OFF)).chain(CAPPED);
    let within = filter.iter().map(|(target, level)| {
        let caps = caps().filter(|(name, _)| target.starts_with(name)).map(|(_, cap)| cap);
        (target.to_owned(), caps.min().map_or(level, |cap| cap.min(level)))
    });
    let themselves = caps().map(|(name, cap)| (name.to_owned(), cap.min(level_of(filter, name))));
    let default = filter.default_level().unwrap_or(LevelFilter::OFF);
    Targets::new().with_default(default).with_targets(within).with_targets(themselves)
}

/// What a filter lets a target log.
fn level_of(filter: &Targets, target: &str) -> LevelFilter {
    let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
    let enabled = levels.into_iter().find(|level| filter.would_enable(target, level));
    enabled.map_or(LevelFilter::OFF, LevelFilter::from_level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(asked: Option<&str>) -> Targets {
        super::filter(asked).0
    }

    #[test]
    fn whatever_is_asked_for_no_library_tells_a_body_or_a_password() {
        let asked = ["", "info", "debug", "trace", "lapin=trace", "lapin::channel=info"];
        let more = [
            "trace,tokio_postgres=trace,ureq=debug",
            "tokio=trace",
            "to,ur,hy,la,am",
            "amq_protocol_types=trace",
            "tokio_postgres::connection,lapin::channel",
            "no=such=thing",
        ];
        for asked in asked.into_iter().chain(more).map(Some).chain([None]) {
            let filter = filter(asked);
            for silent in ["lapin", "lapin::channel", "amq_protocol::frame", "amq_protocol_types"] {
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
        for asked in ["off", "warn", "mo_router=off", "mo_router::changes=off"] {
            assert!(filter(Some(asked)).would_enable(CHANGES, &Level::INFO), "{asked}");
        }
        let one = filter(Some("mo_router::amqp=trace,notify=debug"));
        assert!(one.would_enable("mo_router::amqp::pool", &Level::TRACE));
        assert!(one.would_enable("notify::inotify", &Level::DEBUG));
        let crates = filter(Some("tokio=debug,tokio_postgres=warn"));
        assert!(crates.would_enable("tokio_util::task", &Level::DEBUG));
        assert!(!crates.would_enable("tokio_postgres::query", &Level::INFO));
        // Who asks for more of one thing wants the others as they are.
        assert!(one.would_enable("mo_router::daemon", &Level::INFO));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert_eq!(super::filter(None).1, None);
        assert_eq!(super::filter(Some("")), super::filter(None));
        assert_eq!(super::filter(Some("mo_router=debug")).1, None);
        let (filter, wrong) = super::filter(Some("mo_router=loud"));
        assert_eq!(filter, super::filter(None).0);
        let wrong = wrong.unwrap();
        assert!(wrong.starts_with("RUST_LOG \"mo_router=loud\" cannot be read"), "{wrong}");
    }
}
