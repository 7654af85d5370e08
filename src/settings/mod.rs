//! Every setting: its name, meaning, default and limits.
//!
//! Settings come from `mo-router.toml`, then from MO's own variables
//! (`AMQP_ENABLE`, `AMQP__URL`, …) and OpenTelemetry's, then from the environment as
//! `MO_ROUTER_<SECTION>_<KEY>`; later sources win. Nothing below the daemon
//! reads the environment.
//!
//! `schema` is the one place where settings are defined: the documentation,
//! defaults and ranges of its fields are what `docs/settings.md` shows. Each
//! module uses only those above it:
//!
//! | | |
//! |---|---|
//! | `nearest` | the known word closest to an unknown one |
//! | `value` | the types that a setting can have, read from text or a list |
//! | `url`, `secret` | servers' URLs, which keep their passwords; secrets |
//! | `broker` | where the broker is, and how to log in to it |
//! | `otel` | what OpenTelemetry's variables say |
//! | `section` | the macro that defines a section |
//! | `schema` | the settings |
//! | `servers` | the brokers to connect to |
//! | `key` | their names |
//! | `origins` | which variable set what, and what to warn of |
//! | `file`, `environment`, `mo_variables`, `otel_variables` | where they are written |
//! | `libpq`, `pgpass` | what PostgreSQL's own variables and files add to a URL |
//! | `named_files` | the files with secrets and certificates that they name |
//! | `overrides` | other settings for a plugin's tests |
//! | `load`, `reference` | all sources put together; the tables for the documentation |

mod broker;
mod environment;
mod file;
mod key;
mod libpq;
mod load;
mod mo_variables;
mod named_files;
mod nearest;
mod origins;
mod otel;
mod otel_variables;
mod overrides;
mod pgpass;
mod reference;
mod schema;
mod secret;
mod section;
mod servers;
#[cfg(test)]
mod tests;
mod url;
mod value;
mod warnings;

pub use broker::{BrokerServer, BrokerUrls, TlsFiles};
pub use environment::{ServiceManager, service_manager, variables};
pub use load::{DEFAULT_FILE, default_file};
pub use named_files::NamedFile;
pub use otel::OtelVariables;
pub use reference::reference;
pub use schema::{
    Amqp, Daemon, Declare, Delay, Events, Http, InstanceMode, Limits, LogLevel, Mo, PluginSettings,
    Plugins, QueueType, Settings, Telemetry, Unroutable, canonical,
};
pub use secret::{Secret, read_secret, read_token};
pub use url::{HttpUrl, PASSWORD_FILE, ServerUrl, StoreUrl};
