//! The integration tests, in one binary so that they link once.

#[path = "../support/mod.rs"]
mod support;

mod code_cache;
mod commands;
mod consumer;
mod crashes;
mod delay_contract;
mod delay_crashes;
mod exchanges;
mod folder;
mod languages;
mod lines;
mod plugin_commands;
mod reload;
mod routing;
mod sandbox;
mod unreadable;
