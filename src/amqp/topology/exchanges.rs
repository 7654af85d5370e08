//! Exchanges: declared, or checked for.

use anyhow::{Context, Result, bail};
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use tracing::debug;

use super::errors::{exchange_error, is_not_found};
use super::report::Report;
use crate::amqp::answer::answered;
use crate::amqp::broker::{Broker, close_channel};
use crate::amqp::properties::short;
use crate::health::Code;
use crate::settings::Declare;

/// Makes sure that an exchange can be used: declares it, or checks that it exists,
/// depending on `[amqp] declare`.
///
/// # Errors
/// The broker is unreachable, or a [permanent](super::is_permanent) error that says how to
/// fix it.
pub async fn ensure_exchange(broker: &Broker, name: &str) -> Result<()> {
    // The default exchange always exists. Neither it nor the broker's own can be declared.
    if name.is_empty() {
        return Ok(());
    }
    let passive = broker.settings().declare == Declare::Passive || name.starts_with("amq.");
    declare_exchange(broker, name, passive).await?.map_err(|error| exchange_error(name, error))
}

/// As [`ensure_exchange`] for the source exchange, and reports it if it cannot be used.
///
/// # Errors
/// As [`ensure_exchange`].
pub(super) async fn ensure_source(broker: &Broker) -> Result<()> {
    let name = &broker.settings().exchange;
    let passive = broker.settings().declare == Declare::Passive || name.starts_with("amq.");
    let report = Report { broker, missing: Code::ExchangeMissing, subject: name };
    let declared = declare_exchange(broker, name, passive).await?;
    report.note(declared, |error| exchange_error(name, error))
}

/// Declares exchanges that will be published to, if the settings say so, so that consumers
/// can bind to them before the first message. Failures are reported when a message is
/// published to the exchange.
pub async fn declare_exchanges(broker: &Broker, names: &[String]) {
    if broker.settings().declare == Declare::Passive {
        return;
    }
    for name in names {
        if let Err(error) = ensure_exchange(broker, name).await {
            debug!("{error:#}");
        }
    }
}

/// Checks that an exchange exists, without declaring it.
///
/// # Errors
/// The broker is unreachable, or there is no such exchange.
pub async fn find_exchange(broker: &Broker, name: &str) -> Result<()> {
    match declare_exchange(broker, name, true).await? {
        Err(error) if is_not_found(&error) => bail!(
            "exchange {name:?} does not exist at {}: check its name, and that a router is running",
            broker.settings().url
        ),
        declared => declared.map_err(|error| exchange_error(name, error)),
    }
}

/// Declares an exchange, or checks that it exists if `passive`. The outer error is that of
/// the channel, the inner one the broker's answer. It uses a channel of its own, because
/// the broker closes the channel when a declaration fails.
async fn declare_exchange(
    broker: &Broker,
    name: &str,
    passive: bool,
) -> Result<Result<(), lapin::Error>> {
    let channel = broker.declaring_channel().await?;
    let options = ExchangeDeclareOptions { passive, durable: !passive, ..Default::default() };
    let declare =
        channel.exchange_declare(short(name), ExchangeKind::Topic, options, FieldTable::default());
    let declared = answered("declaring an exchange", async { Ok(declare.await) })
        .await
        .with_context(|| format!("exchange {name:?}"))?;
    if declared.is_ok() {
        close_channel(channel).await;
    }
    Ok(declared)
}
