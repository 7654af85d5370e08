//! A new password or OAuth token in the file, while the router is connected.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey};
use serde_json::{Value, json};

use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{MO, Scene};
use crate::support::traffic::numbered;

const TAKEN: &str = "the broker took the new password of [amqp] password_file";
const REFUSED: &str = "the broker refused the new password of [amqp] password_file";
const LINES: &str = "username = 'oauth'\npassword_file = 'password'";

/// Who gives tokens, and how the broker knows them.
struct Issuer(KeyPair);

impl Issuer {
    fn new() -> Self {
        Self(KeyPair::generate_for(&PKCS_ED25519).unwrap())
    }

    /// What the broker is configured with, to know the key.
    fn trust(&self, broker: &mut RabbitMq) {
        let key = URL_SAFE_NO_PAD.encode(self.0.public_key_raw());
        let key = [("kty", "OKP"), ("crv", "Ed25519"), ("x", &key)]
            .map(|(name, value)| format!("<<\"{name}\">> => <<\"{value}\">>"))
            .join(", ");
        broker.control(&[
            "eval",
            &format!(
                "application:set_env(rabbitmq_auth_backend_oauth2, key_config, [{{default_key, \
                 <<\"own\">>}}, {{signing_keys, #{{<<\"own\">> => {{map, #{{{key}}}}}}}}}])."
            ),
        ]);
    }

    /// A token with all rights for decades.
    fn token(&self, number: u64) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let rights = ["configure", "write", "read"].map(|right| format!("rabbitmq.{right}:*/*/*"));
        let claims = json!({
            "jti": number, "sub": "oauth", "aud": ["rabbitmq"], "exp": 4_000_000_000_u64,
            "scope": rights,
        });
        let signed = format!("{}.{}", part(json!({"alg": "EdDSA", "typ": "JWT"})), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes()).unwrap());
        format!("{signed}.{signature}")
    }
}

/// That the router's connections are those from the start, and work.
async fn works(scene: &Scene, router: &Router) {
    scene.client.publish(MO, numbered(0..10)).await;
    scene.routed(10).await;
    let (_, metrics) = router.get("metrics").await;
    let lost = "mo_router_broker_reconnects_total{connection=\"consume\"} 0";
    assert!(metrics.contains(lost), "{metrics}");
}

/// RabbitMQ looks at the token whenever it looks at a right, until it expires.
#[tokio::test]
async fn a_new_token_is_told_on_the_connections_that_are_open() {
    let issuer = Issuer::new();
    let configuration = "auth_backends.1 = internal\nauth_backends.2 = rabbit_auth_backend_oauth2\n\
                         auth_oauth2.resource_server_id = rabbitmq\n";
    let start = || RabbitMq::configured(configuration, "rabbitmq_auth_backend_oauth2");
    let mut broker = tokio::task::spawn_blocking(start).await.unwrap();
    issuer.trust(&mut broker);
    let scene = Scene::on(&broker).await;
    let mut router = scene.router(LINES, &[("forward", "")]);
    let tokens = [issuer.token(1), issuer.token(2), Issuer::new().token(3), issuer.token(4)];
    let [first, second, foreign, last] = &tokens;
    router.put_file("password", first.as_bytes());
    router.start_with_variables(&["RUST_LOG=trace,lapin=trace,amq_protocol=trace"]);
    router.logged("ready plugins=1").await;
    works(&scene, &router).await;

    router.put_file("password", second.as_bytes());
    router.logged(TAKEN).await;
    works(&scene, &router).await;

    // The broker ends the connection on which it was told, and the others have the second.
    router.put_file("password", foreign.as_bytes());
    let line = router.logged(REFUSED).await;
    assert!(line.contains("New secret was refused by one of the backends"), "{line}");
    works(&scene, &router).await;

    router.put_file("password", last.as_bytes());
    router.logged_times(TAKEN, 2).await;
    works(&scene, &router).await;
    let log = router.log();
    assert_eq!(log.matches(REFUSED).count(), 1);
    assert!(tokens.iter().all(|token| !log.contains(token)), "a token is in the log");
    assert!(router.stop().await.success());
}

/// The broker's own users have passwords that it looks at when they connect, and not again.
#[tokio::test]
async fn a_new_password_of_the_brokers_own_user_disturbs_no_connection() {
    let scene = Scene::shared().await;
    let mut router = scene.router("password_file = 'password'", &[("forward", "")]);
    router.put_file("password", b"guest");
    router.start_ready().await;
    router.put_file("password", b"another");
    router.logged(TAKEN).await;
    works(&scene, &router).await;
    assert!(router.stop().await.success());
}
