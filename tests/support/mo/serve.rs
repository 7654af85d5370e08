//! MO's GraphQL events without MO, to try the router with.
//!
//! ```sh
//! cargo run --release --example mo-endpoint
//! MO_ROUTER_MO_ENABLED=true MO_URL=http://127.0.0.1:5000 mo-router run
//! ```
//!
//! It sends an event of each kind every few seconds, and whenever it is asked to:
//! `curl -X POST http://127.0.0.1:5000/testing/events/engagement/$(uuidgen)`.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    reason = "a program for people who try something"
)]

#[path = "mod.rs"]
mod mo;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use mo::{Account, Endpoint, Faults};
use mo_router::mo::keys::KNOWN;
use uuid::Uuid;

/// Serves MO's GraphQL events without MO.
#[derive(Parser)]
struct Arguments {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// How often something happens, such as "500ms"
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    every: Duration,
    /// Ask for a login: this client and its secret
    #[arg(long, value_name = "CLIENT:SECRET")]
    client: Option<String>,
    /// How long a request takes
    #[arg(long, default_value = "20ms", value_parser = humantime::parse_duration)]
    delay: Duration,
    /// One of so many requests fails; 0 for none
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    fail_every: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let Arguments { listen, every, client, delay, fail_every } = Arguments::parse();
    let endpoint = Endpoint::on(listen).await?;
    endpoint.set_faults(Faults { delay, refuse_every: fail_every, ..Faults::default() });
    if let Some((client_id, secret)) = client.as_deref().and_then(|both| both.split_once(':')) {
        endpoint.add_account(Account {
            client_id: client_id.into(),
            secret: secret.into(),
            identity: Some(Uuid::new_v4()),
            roles: None,
        });
    }
    println!("MO's GraphQL events at {}, Keycloak at {}", endpoint.url(), endpoint.auth_server());
    let mut tick = tokio::time::interval(every);
    for routing_key in KNOWN.iter().cycle() {
        tick.tick().await;
        let subject = Uuid::new_v4();
        endpoint.emit(routing_key, &subject.to_string());
        println!("{routing_key} {subject}, {} events wait", endpoint.world().pending());
    }
    Ok(())
}
