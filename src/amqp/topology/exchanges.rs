//! Exchanges: declared, or checked for.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use tracing::{debug, warn};

use super::errors::{exchange_error, is_not_found, is_usable_as_it_is, said};
use super::report::Report;
use crate::amqp::answer::answered;
use crate::amqp::broker::Broker;
use crate::amqp::channel::close_channel;
use crate::amqp::properties::short;
use crate::health::Code;

/// The topic exchange that MO publishes to today.
const OF_MO: &str = "os2mo";
/// That of MO 1.0.
const OF_OLD_MO: &str = "os2mo_queue";

/// Makes sure that an exchange can be used: declares it, or checks that it exists,
/// depending on `[amqp] declare`. A topic exchange that exists is used as it is.
///
/// # Errors
/// The broker is unreachable, or a [permanent](super::is_permanent) error that says how to
/// fix it.
pub async fn ensure_exchange(broker: &Broker, name: &str) -> Result<()> {
    // The default exchange always exists. Neither it nor the broker's own can be declared.
    if name.is_empty() {
        return Ok(());
    }
    declare_or_find(broker, name).await?.map_err(|error| exchange_error(name, error))?;
    broker.renewed().tell(name, broker.health());
    Ok(())
}

/// As [`ensure_exchange`] for the source exchange, and reports it if it cannot be used. One
/// that had to be created may be the wrong one, which nobody would notice otherwise.
///
/// # Errors
/// As [`ensure_exchange`].
pub(super) async fn ensure_source(broker: &Broker) -> Result<()> {
    let name = &broker.settings().exchange;
    let is_known = is_foreign(broker, name) || broker.renewed().was_there(name);
    let is_new = !is_known && !exists(broker, name).await?;
    let report = Report { broker, missing: Code::ExchangeMissing, subject: name };
    let declared = declare_or_find(broker, name).await?;
    if report.note(declared, |error| exchange_error(name, error))? {
        warn!(
            "exchange {name:?} was deleted and made again: the plugins' queues are bound to it \
             again, and those of others only if they have bound them"
        );
    }
    match is_new {
        true => tell_of_new_source(broker, name).await,
        false => tell_of_overlooked(broker).await,
    }
}

async fn tell_of_new_source(broker: &Broker, name: &str) -> Result<()> {
    if !broker.notices().is_first(&format!("created {name}")) {
        return Ok(());
    }
    let mut others = Vec::new();
    for other in [OF_MO, OF_OLD_MO].into_iter().filter(|other| *other != name) {
        let state =
            if exists(broker, other).await? { "exists here" } else { "does not exist here" };
        others.push(format!("{other:?} {state}"));
    }
    warn!(
        "exchange {name:?} did not exist and was created: no events arrive until something \
         publishes to it. MO publishes to \"os2mo\" today, MO 1.0 to \"os2mo_queue\" ({}): set \
         [amqp] exchange if that is the one",
        others.join(", ")
    );
    Ok(())
}

/// Looks once whether MO publishes to another exchange, and says so. The router that created the
/// source exchange has said it already.
async fn tell_of_overlooked(broker: &Broker) -> Result<()> {
    const LOOKED: &str = "looked for MO's exchange";
    let created = format!("created {}", broker.settings().exchange);
    if broker.notices().has(LOOKED) || broker.notices().has(&created) {
        return Ok(());
    }
    let overlooked = overlooked(broker).await?;
    if broker.notices().is_first(LOOKED)
        && let Some(overlooked) = overlooked
    {
        warn!("{overlooked}");
    }
    Ok(())
}

/// What to say if MO's exchange is there, and another one is the source: a wrong name must not look
/// like a quiet day.
///
/// # Errors
/// The broker is unreachable.
pub async fn overlooked(broker: &Broker) -> Result<Option<String>> {
    let name = &broker.settings().exchange;
    // Where the user may not even look, nothing is known.
    let is_there = name != OF_MO && declare_exchange(broker, OF_MO, true).await?.is_ok();
    Ok(is_there.then(|| {
        format!(
            "MO's exchange {OF_MO:?} exists here, and the router listens to {name:?}: set [amqp] \
             exchange or AMQP__EXCHANGE if MO's is the one"
        )
    }))
}

/// Whether the exchange is somebody else's to make.
pub(super) fn is_foreign(broker: &Broker, name: &str) -> bool {
    broker.settings().is_passive() || name.starts_with("amq.")
}

pub(super) async fn exists(broker: &Broker, name: &str) -> Result<bool> {
    match declare_exchange(broker, name, true).await? {
        Err(error) if is_not_found(&error) => Ok(false),
        // Whatever else is wrong is told when it is declared.
        _ => Ok(true),
    }
}

/// Declares an exchange or looks for it, and says whether it was made again since the router last
/// saw it. A topic exchange that exists with other properties, transient say, does what is asked of
/// it.
pub(super) async fn declare_or_find(
    broker: &Broker,
    name: &str,
) -> Result<Result<bool, lapin::Error>> {
    let (renewed, is_foreign) = (broker.renewed(), is_foreign(broker, name));
    if !is_foreign && renewed.was_there(name) && !exists(broker, name).await? {
        renewed.gone(name);
    }
    let declared = match declare_exchange(broker, name, is_foreign).await? {
        Err(error) if is_usable_as_it_is(&error) => {
            if broker.notices().is_first(&format!("as it is {name}")) {
                let said = said(&error);
                warn!(
                    "exchange {name:?} is used as it is, though it is not what the router would \
                     declare ({said}): a transient exchange and its bindings are gone after a \
                     restart of the broker"
                );
            }
            Ok(())
        }
        declared => declared,
    };
    if declared.as_ref().is_err_and(is_not_found) {
        renewed.gone(name);
    }
    Ok(declared.map(|()| renewed.exists(name)))
}

/// Declares exchanges that will be published to, if the settings say so, so that consumers
/// can bind to them before the first message; else looks for them. One that cannot be used is
/// reported: what is published to it would become a dead letter.
pub async fn declare_exchanges(broker: &Broker, names: &[String]) {
    for name in names.iter().filter(|name| !name.is_empty()) {
        if let Err(error) = declare_output(broker, name).await {
            // The connection is lost, which is reported where it is made again.
            debug!("exchange {name:?}: {error:#}");
        }
    }
}

/// Declares an exchange to publish to, or looks for it, and reports it if it cannot be used.
async fn declare_output(broker: &Broker, name: &str) -> Result<()> {
    let Err(error) = declare_or_find(broker, name).await? else {
        broker.outputs().well(name, broker.health());
        broker.renewed().tell(name, broker.health());
        return Ok(());
    };
    let report = Report { broker, missing: Code::ExchangeMissing, subject: name };
    broker.outputs().wrong(name);
    // What it says has been reported.
    let _ = report.note_error::<()>(Err(error), |error| exchange_error(name, error));
    Ok(())
}

/// Reports no longer that exchanges cannot be used which nobody publishes to any more: all but these.
pub fn forget_exchanges_but(broker: &Broker, used: &BTreeSet<String>) {
    let mut used = used.clone();
    // What is wrong with the source is told where it is declared.
    used.insert(broker.settings().exchange.clone());
    broker.renewed().forget_but(&used, broker.health());
    broker.outputs().keep(&used, broker.health());
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
