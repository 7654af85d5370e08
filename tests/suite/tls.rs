//! TLS to RabbitMQ, PostgreSQL and HTTP servers, with certificates made on the spot: the right ones, and each
//! that is wrong in its own way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use mo_router::requests::{self, Agents, is_of_certificate};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::PATIENCE;
use crate::support::certificates::Authority;
use crate::support::ports::free_port;
use crate::support::postgres::{self, Server};
use crate::support::rabbitmq::RabbitMq;
use crate::support::router::Router;
use crate::support::scene::{MO, Scene};
use crate::support::traffic::numbered;

/// What `check --connect` says.
async fn checked(router: &Router) -> String {
    let Output { stdout, stderr, .. } = router.call(&["check", "--connect"]).await;
    String::from_utf8([stdout, stderr].concat()).unwrap()
}

/// Sets the lines of `[amqp]`.
fn amqp(router: &Router, url: &str, lines: &str) {
    let settings = std::fs::read_to_string(router.path("mo-router.toml")).unwrap();
    let (before, rest) = settings.split_once("[amqp]").unwrap();
    let (_, after) = rest.split_once("# end").unwrap();
    let text = format!(
        "{before}[amqp]\nenabled = true\nurl = {url:?}\nexchange = {MO:?}\n{lines}\n# end{after}"
    );
    router.put_file("mo-router.toml", text.as_bytes());
}

/// A broker that speaks TLS at a port of its own, and asks for certificates.
async fn broker(authority: &Authority, port: u16) -> RabbitMq {
    authority.sign("server", &["rabbit.test", "127.0.0.1"]);
    let configuration = format!(
        "listeners.ssl.default = 127.0.0.1:{port}\n\
         ssl_options.cacertfile = {ca}\n\
         ssl_options.certfile = {certificate}\n\
         ssl_options.keyfile = {key}\n\
         ssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = true\n\
         ssl_cert_login_from = common_name\n\
         auth_mechanisms.1 = PLAIN\n\
         auth_mechanisms.2 = AMQPLAIN\n\
         auth_mechanisms.3 = EXTERNAL\n",
        ca = authority.text("ca.pem"),
        certificate = authority.text("server.pem"),
        key = authority.text("server.key"),
    );
    let started = tokio::task::spawn_blocking(move || {
        RabbitMq::configured(&configuration, "rabbitmq_auth_mechanism_ssl")
    });
    started.await.unwrap()
}

#[tokio::test]
async fn the_broker_by_tls() {
    let (authority, other) = (Authority::new("mo-router test"), Authority::new("another"));
    authority.sign("client", &["router"]);
    other.sign("client", &["router"]);
    let port = free_port();
    let mut broker = broker(&authority, port).await;
    let scene = Scene::on(&broker).await;
    let (_, vhost) = scene.url.rsplit_once('/').unwrap();
    let router = Router::new("[amqp]\n# end", &[("forward", "")]);
    let url = |user: &str, host: &str| format!("amqps://{user}{host}:{port}/{vhost}");
    let guest = url("guest:guest@", "127.0.0.1");
    let files = |by: &Authority| {
        format!("cert_file = {:?}\nkey_file = {:?}", by.text("client.pem"), by.text("client.key"))
    };
    let own = files(&authority);
    let ca = format!("ca_file = {:?}", authority.text("ca.pem"));

    for (url, lines, said) in [
        (guest.clone(), format!("{ca}\n{own}"), "ok     amqps://guest:***@127.0.0.1"),
        (url("guest:guest@", "localhost"), format!("{ca}\n{own}"), "is for another name"),
        (
            url("guest:guest@", "localhost"),
            format!("{ca}\n{own}\nserver_name = 'rabbit.test'"),
            "ok     amqps://guest:***@localhost",
        ),
        (guest.clone(), own.clone(), "an authority that is not trusted"),
        (
            guest.clone(),
            format!("ca_file = {:?}\n{own}", other.text("ca.pem")),
            "an authority that is not trusted",
        ),
        (guest.clone(), ca.clone(), "asks for a client certificate, and there is none"),
        (
            guest.clone(),
            format!("{ca}\n{}", files(&other)),
            "does not accept the client certificate",
        ),
        (
            format!("amqps://guest:guest@127.0.0.1:{}/{vhost}", broker.port()),
            ca.clone(),
            "does not speak TLS",
        ),
        (
            format!(
                "{guest}?cacertfile={}&certfile={}&keyfile={}",
                authority.text("ca.pem"),
                authority.text("client.pem"),
                authority.text("client.key")
            ),
            String::new(),
            "ok     amqps://guest:***@127.0.0.1",
        ),
        (
            guest.clone(),
            "ca_file = '/nowhere'".into(),
            "[amqp] ca_file \"/nowhere\" cannot be used",
        ),
        (
            guest.clone(),
            format!(
                "{ca}\ncert_file = {:?}\nkey_file = {:?}",
                authority.text("client.pem"),
                other.text("client.key")
            ),
            "the key does not fit",
        ),
    ] {
        amqp(&router, &url, &lines);
        let said_now = checked(&router).await;
        assert!(said_now.contains(said), "{lines}: {said:?} is not in {said_now}");
        assert!(!said_now.contains("guest:guest"), "{said_now}");
    }

    // The certificate in place of a password.
    broker.control(&["add_user", "router", "unused"]);
    broker.control(&["set_permissions", "-p", vhost, "router", ".*", ".*", ".*"]);
    let external = format!("{}?auth_mechanism=external", url("", "127.0.0.1"));
    amqp(&router, &external, &format!("{ca}\n{own}"));
    let mut router = router;
    router.start_ready().await;
    scene.client.publish(MO, numbered(0..1)).await;
    router.metric_until("events_received_total{plugin=\"forward\"}", 1.0).await;
    assert!(router.stop().await.success());

    authority.sign_until("server", &["127.0.0.1"], 2001);
    broker.control(&["eval", "ssl:clear_pem_cache()."]);
    amqp(&router, &guest, &format!("{ca}\n{own}"));
    let said = checked(&router).await;
    assert!(said.contains("the server's certificate has expired"), "{said}");
}

#[tokio::test]
async fn the_database_by_tls() {
    let (authority, other) = (Authority::new("mo-router test"), Authority::new("another"));
    authority.sign("client", &["router"]);
    authority.sign("server", &["postgres.test", "127.0.0.1"]);
    authority.give_to("server", postgres::user());
    let port = free_port();
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        "ssl=on".to_owned(),
        format!("ssl_ca_file={}", authority.text("ca.pem")),
        format!("ssl_cert_file={}", authority.text("server.pem")),
        format!("ssl_key_file={}", authority.text("server.key")),
    ];
    let rules = "local all all trust\n\
                 hostssl all router 127.0.0.1/32 cert\n\
                 hostnossl all plain 127.0.0.1/32 trust\n\
                 host all postgres 127.0.0.1/32 trust\n\
                 host all secret 127.0.0.1/32 scram-sha-256\n";
    let server = tokio::task::spawn_blocking(move || Server::start_with(&settings, Some(rules)));
    let server = server.await.unwrap();
    for user in ["router", "plain", "secret"] {
        server.sql("postgres", &format!("CREATE USER {user} SUPERUSER PASSWORD 'first'"));
    }
    let router = Router::new("", &[]);
    let set = |url: &str| router.set("delay.store", url);
    let ca = format!("sslrootcert={}", authority.text("ca.pem"));
    let identity =
        format!("sslcert={}&sslkey={}", authority.text("client.pem"), authority.text("client.key"));
    let url = |user: &str, host: &str, parameters: &str| {
        format!("postgres://{user}@{host}:{port}/postgres?{parameters}")
    };
    let encrypted = "can be reached, encrypted with TLSv1.3";
    for (url, said) in [
        // Whoever says nothing gets TLS, where there is TLS.
        (url("postgres", "127.0.0.1", ""), encrypted),
        (url("postgres", "127.0.0.1", "sslmode=disable"), "can be reached, not encrypted"),
        // And none, where there is none.
        (url("plain", "127.0.0.1", ""), "can be reached, not encrypted"),
        (url("plain", "127.0.0.1", "sslmode=require&"), "an authority that is not trusted"),
        (url("postgres", "127.0.0.1", &format!("sslmode=verify-full&{ca}")), encrypted),
        (url("postgres", "localhost", &format!("sslmode=verify-full&{ca}")), "is for another name"),
        (url("postgres", "localhost", &format!("sslmode=verify-ca&{ca}")), encrypted),
        (
            url(
                "postgres",
                "postgres.test",
                &format!("sslmode=verify-full&hostaddr=127.0.0.1&{ca}"),
            ),
            encrypted,
        ),
        (
            url(
                "postgres",
                "127.0.0.1",
                &format!("sslmode=verify-full&sslrootcert={}", other.text("ca.pem")),
            ),
            "an authority that is not trusted",
        ),
        (
            url("router", "127.0.0.1", &format!("sslmode=verify-full&{ca}")),
            "asks for a client certificate, and there is none",
        ),
        (url("router", "127.0.0.1", &format!("sslmode=verify-full&{ca}&{identity}")), encrypted),
    ] {
        set(&url);
        let said_now = checked(&router).await;
        assert!(said_now.contains(said), "{url}: {said:?} is not in {said_now}");
    }

    // The password is that of the file, also when it has changed.
    let settings = std::fs::read_to_string(router.path("mo-router.toml")).unwrap();
    let file = router.path("password").display().to_string();
    router.put_file(
        "mo-router.toml",
        format!("delay.password_file = {file:?}\n{settings}").as_bytes(),
    );
    set(&url("secret", "127.0.0.1", ""));
    router.put_file("password", b"first\n");
    let said = checked(&router).await;
    assert!(said.contains(encrypted), "{said}");
    server.sql("postgres", "ALTER USER secret PASSWORD 'second'");
    let said = checked(&router).await;
    assert!(said.contains("password authentication failed"), "{said}");
    router.put_file("password", b"second\n");
    let said = checked(&router).await;
    assert!(said.contains(encrypted), "{said}");

    authority.sign_until("server", &["127.0.0.1"], 2001);
    authority.give_to("server", postgres::user());
    server.sql("postgres", "SELECT pg_reload_conf()");
    set(&url("postgres", "127.0.0.1", &format!("sslmode=verify-full&{ca}")));
    crate::support::ask_until("the server to have read its certificate", || async {
        checked(&router).await.contains("the server's certificate has expired").then_some(())
    })
    .await;
}

/// Answers requests with status 200, by TLS with a certificate of this authority. Gives the address.
fn answering(authority: &Authority, name: &str) -> SocketAddr {
    let chain =
        vec![CertificateDer::from_pem_file(authority.path(&format!("{name}.pem"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(authority.path(&format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            // Whoever does not trust the certificate sends no request.
            if stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(answer).and_then(|()| stream.flush());
            }
        }
    });
    address
}

#[test]
fn an_authority_that_is_replaced_is_trusted_without_a_restart() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    new.sign("server", &["127.0.0.1"]);
    let url = format!("https://{}/", answering(&new, "server"));
    let trusted = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(old.path("ca.pem"), &trusted).unwrap();
    let agents = Agents::new(requests::Server {
        ca_file: Some(trusted.path().to_owned()),
        ca_setting: "[mo] ca_file",
        timeout: PATIENCE,
        connect_timeout: PATIENCE,
        max_idle: Duration::from_secs(1),
    })
    .unwrap();
    let ask = || agents.with(|agent| agent.get(&url).call()).map(|answer| answer.status().as_u16());
    assert!(is_of_certificate(&ask().unwrap_err()));
    std::fs::copy(new.path("ca.pem"), &trusted).unwrap();
    assert!(is_of_certificate(&ask().unwrap_err()), "it looks after that");
    assert_eq!(ask().unwrap(), 200);
}
