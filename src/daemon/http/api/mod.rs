//! The JSON that the page is made of: `docs/openapi.json` describes it.

mod dead;
mod delayed;
mod session;
mod tail;
mod trial;
mod view;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{MethodRouter, get, post};

use super::failure::Failure;
use super::{Shared, resume};
use crate::amqp::Broker;
use crate::daemon::Fleet;
use crate::delay::Store;

/// How large a request may be, but for a plugin's file.
const LARGEST: usize = 2 << 20;
/// How long the broker or the store may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Each path, as the documentation has it, and what answers there.
fn paths() -> Vec<(&'static str, MethodRouter<Shared>)> {
    vec![
        ("/api/overview", get(view::overview)),
        ("/api/live", get(view::live)),
        ("/api/history", get(view::history)),
        ("/api/plugins/{name}", get(view::plugin)),
        ("/api/plugins/{name}/resume", post(resume)),
        ("/api/delayed", get(delayed::list)),
        ("/api/delayed/timeline", get(delayed::timeline)),
        ("/api/delayed/message/{id}", get(delayed::show)),
        ("/api/delayed/cancel", post(delayed::cancel)),
        ("/api/delayed/reschedule", post(delayed::reschedule)),
        ("/api/delayed/send-now", post(delayed::send_now)),
        ("/api/dead", get(dead::list)),
        ("/api/dead/groups", get(dead::groups)),
        ("/api/dead/letter/{id}", get(dead::show)),
        ("/api/dead/letter/{id}/try", post(dead::try_again)),
        ("/api/dead/requeue", post(dead::requeue)),
        ("/api/dead/discard", post(dead::discard)),
        ("/api/tail", get(tail::tail)),
        ("/api/try", post(trial::events)),
        ("/api/try/file", post(trial::file).layer(DefaultBodyLimit::max(trial::LARGEST_WITH_FILE))),
        ("/api/session", get(session::show).post(session::begin).delete(session::end)),
    ]
}

/// All of it.
pub fn router() -> Router<Shared> {
    let add = |router: Router<Shared>, (path, answer)| router.route(path, answer);
    paths().into_iter().fold(Router::new(), add).layer(DefaultBodyLimit::max(LARGEST))
}

fn fleet(shared: &Shared) -> Result<Arc<Fleet>, Failure> {
    let fleet = shared.observed.fleet();
    fleet.ok_or_else(|| Failure::unavailable("the router is starting or stopping"))
}

fn store(shared: &Shared) -> Result<&Store, Failure> {
    let store = shared.observed.store();
    store.ok_or_else(|| Failure::unavailable("the delay store is not open yet"))
}

fn broker(shared: &Shared) -> Result<Arc<Broker>, Failure> {
    let fleet = fleet(shared)?;
    let broker = fleet.broker().map(Arc::clone);
    broker.ok_or_else(|| Failure::not_found("there is no broker: [amqp] enabled is false"))
}

/// Finishes a change that has begun, whether or not somebody still waits for it: whoever asked may
/// have gone.
pub async fn finished<T: Send + 'static>(
    change: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let changed = tokio::spawn(change).await.context("the change has stopped");
    changed.map_err(Failure::from)?
}

/// Waits for the broker or the store, but not for ever.
async fn in_time<T>(asked: impl Future<Output = anyhow::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(answered) => Ok(answered?),
        Err(_) => Err(Failure::unavailable(format!("no answer within {TIMEOUT:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_documentation_has_every_path_and_no_other() {
        let text = include_str!("../../../../docs/openapi.json");
        let documented: serde_json::Value = serde_json::from_str(text).unwrap();
        let documented = documented["paths"].as_object().unwrap().keys().map(String::as_str);
        // The page itself is none.
        let others = include_str!("../mod.rs").split(".route(\"").skip(1);
        let others = others.filter_map(|rest| rest.split('"').next());
        let others = others.filter(|path| *path != "/" && !path.starts_with("/page/"));
        let served: BTreeSet<&str> =
            paths().into_iter().map(|(path, _)| path).chain(others.clone()).collect();
        assert_eq!(served, documented.collect::<BTreeSet<_>>());
        let page = include_str!("../../../../docs/http.md");
        for path in others {
            let shown = path.replace("{name}", "NAME");
            assert!(
                page.contains(&format!(" {shown}`")) || page.contains(&format!(" {shown}?")),
                "{path}"
            );
        }
    }
}
