//! The integration tests, in one binary so that they link once.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that fails panics, and what it prints is shown then"
)]

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod authors;
mod authors_ahead;
mod authors_beside;
mod authors_builds;
mod authors_cache;
mod authors_javascript;
mod authors_mistakes;
mod authors_origin;
mod authors_python;
mod authors_settings;
mod authors_zig;
mod broker_state;
mod closing;
mod cluster;
mod code_cache;
mod commands;
mod compiling;
mod consumer;
mod crashes;
mod dead_letters;
mod delay_agent;
mod delay_contract;
mod delay_crashes;
mod delay_database;
mod delay_faults;
mod delay_refusals;
mod deployments;
mod docs;
mod exchanges;
mod folder;
mod http;
mod interface;
mod interface_languages;
mod languages;
mod large_events;
mod lines;
mod log;
mod matrix;
mod mo_bridge;
mod mo_endpoint;
mod mo_faults;
mod mo_settings;
mod monitoring;
mod old_plugins;
mod page;
mod page_api;
mod page_pictures;
mod page_shown;
mod page_trouble;
mod plugin_cases;
mod plugin_commands;
mod plugin_dev;
mod plugin_log;
mod readiness;
mod real_events;
mod reload;
mod reminder;
mod rights;
mod routing;
mod sandbox;
mod secrets;
mod service;
mod sight;
mod slow_plugins;
mod time_in_calls;
mod tls;
mod topology;
mod traces;
mod unreadable;
