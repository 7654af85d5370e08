//! What most tests start from: a virtual host with MO's exchange and the output
//! exchange, and a queue that catches what is published there.

use super::rabbitmq::{self, RabbitMq};
use super::router::Router;
use super::traffic::{Client, Received};

/// MO's exchange.
pub const MO: &str = "os2mo";
/// The output exchange, and the queue that catches what it gets.
pub const ROUTED: &str = "routed";
/// The dead letters' queue.
pub const DEAD: &str = "mo-router.dead";

/// See the module's documentation.
pub struct Scene {
    /// Of the virtual host.
    pub url: String,
    /// Somebody who is not the router.
    pub client: Client,
}

impl Scene {
    /// On the broker that the tests share.
    pub async fn shared() -> Self {
        let broker = tokio::task::spawn_blocking(rabbitmq::shared).await.unwrap();
        Self::on(broker).await
    }

    /// On a broker of the test's own.
    pub async fn on(broker: &RabbitMq) -> Self {
        let url = broker.url();
        let client = Client::connect(&url).await;
        client.exchange(MO, true).await;
        client.exchange(ROUTED, true).await;
        client.catch_all(ROUTED).await;
        Self { url, client }
    }

    /// The virtual host's name.
    pub fn virtual_host(&self) -> String {
        self.url.rsplit('/').next().expect("a URL has a path").to_owned()
    }

    /// Connects anew, after the broker was away.
    pub async fn reconnect(&mut self) {
        self.client = Client::connect(&self.url).await;
    }

    /// A router with `lines` in its section `[amqp]`.
    pub fn router(&self, lines: &str, plugins: &[(&str, &str)]) -> Router {
        let amqp = format!(
            "[amqp]\nenabled = true\nurl = {:?}\nexchange = {MO:?}\noutput_exchange = {ROUTED:?}\n{lines}\n",
            self.url
        );
        Router::new(&amqp, plugins)
    }

    /// A router that is ready.
    pub async fn run(&self, lines: &str, plugins: &[(&str, &str)]) -> Router {
        let mut router = self.router(lines, plugins);
        router.start_ready().await;
        router
    }

    /// So many of what was routed.
    pub async fn routed(&self, count: usize) -> Vec<Received> {
        self.client.take(ROUTED, count).await
    }

    /// So many dead letters.
    pub async fn dead(&self, count: usize) -> Vec<Received> {
        self.client.take(DEAD, count).await
    }
}
