//! What one call of the filter costs through Extism: `extism-calls GUEST CALLS`.
//!
//! Prints nanoseconds, two lines: a call as one would make it, with the event and
//! the answer in JSON; and the least that a call can be, with the event's bytes
//! handed over and nothing read from them.

#[path = "../guest/src/types.rs"]
mod types;

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use extism::{Manifest, Plugin, Wasm};

use types::{Event, Publication, Topic};

/// As the router itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY: &str =
    r#"{"uuid": "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", "time": "2024-07-01T00:00:00+02:00"}"#;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let guest = arguments.next().context("the guest's file")?;
    let calls: u32 = arguments.next().context("how many calls")?.parse()?;
    let guest = std::fs::read(guest)?;
    let mut plugin = Plugin::new(Manifest::new([Wasm::data(guest)]), [], false)?;
    println!("{}", nanos(calls, || json(&mut plugin))?);
    println!("{}", nanos(calls, || bytes(&mut plugin))?);
    Ok(())
}

/// The mean of many calls, after some that do not count.
fn nanos(calls: u32, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    for _ in 0..calls / 10 {
        call()?;
    }
    let begin = Instant::now();
    for _ in 0..calls {
        call()?;
    }
    Ok(begin.elapsed().as_nanos() as f64 / f64::from(calls))
}

/// An event as MO sends it.
fn event() -> Event<'static> {
    Event {
        exchange: "os2mo_queue",
        routing_key: "employee.it.create",
        topic: Topic { service: Some("employee"), object_type: "it", action: Some("create") },
        uuid: "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60",
        object_uuid: None,
        time: Some((1_719_784_800, 0)),
        body: BODY.into(),
        content_type: None,
        headers: Vec::new(),
        redelivered: false,
        attempt: 1,
    }
}

fn json(plugin: &mut Plugin) -> Result<()> {
    let event = serde_json::to_vec(&event())?;
    let answer: &[u8] = plugin.call("route", event)?;
    let publications: Vec<Publication> = serde_json::from_slice(answer)?;
    ensure!(publications.len() == 1, "the event is forwarded");
    Ok(())
}

fn bytes(plugin: &mut Plugin) -> Result<()> {
    let answer: &[u8] = plugin.call("accept", BODY)?;
    ensure!(answer.len() == 1, "the event is forwarded");
    Ok(())
}
