//! Routes the events of OS2mo (MO) from a RabbitMQ topic exchange through
//! sandboxed WebAssembly plugins, and publishes what they answer.
//!
//! # The life of one event
//!
//! MO publishes a message. The broker copies it into the queue of each plugin
//! whose subscriptions match: from here on each plugin is on its own.
//!
//! 1. **Delivery.** [`amqp::Inbox`] takes it from the queue, with a receipt.
//! 2. **Parse.** [`event::Event::parse`] reads routing key, uuid and time. What
//!    is no event of MO is a dead letter.
//! 3. **Plugin.** [`plugins::Instance::route`] calls the guest, within its limits.
//! 4. **Publications.** [`router::core::answer::plan`] fills in what the plugin left
//!    open, checks where it may publish, and gives each message its id.
//! 5. **Publish or schedule.** What is due goes to [`amqp::Outbox`], and comes
//!    back confirmed, nacked or unroutable; what is not due yet goes to
//!    [`delay`], and from there to an outbox when its time has come.
//! 6. **Settle.** When the last message of the event is confirmed or stored, its
//!    receipt is moved into [`transport::Inbox::settle`].
//!
//! The rules of steps 2 to 6 are [`router::Core`], without I/O; [`router::Session`] is
//! the loop around them. Without a broker, [`jsonl`] stands in for [`amqp`].
//!
//! # Promises
//!
//! On a broker, with the default settings:
//!
//! 1. At least once: a delivery is acknowledged only after every message that it
//!    caused is confirmed by the broker and was routed to a queue, or is committed
//!    to the delay store.
//! 2. A delayed message is removed from the store only after its publishing is
//!    confirmed. Its `message_id` is stable, so that a repeat can be told.
//! 3. Nothing is lost silently: what cannot be parsed, what a plugin rejects or
//!    keeps failing on, and what the broker returns as unroutable, refuses or does not
//!    take goes to the exchange `mo-router.dead`, with the reason and all that it takes
//!    to send it back.
//! 4. The original bytes and properties travel on unless the plugin replaced
//!    them; what leaves is persistent.
//! 5. An event that is with a plugin when it is replaced is finished by the
//!    version that began it. A new version that does not load leaves the old one
//!    running.
//! 6. A plugin has no files, network, environment or other exchange than it was
//!    granted; its time, memory and output are limited. A trap ends its instance,
//!    never the router.
//! 7. Every delivery is settled at most once, by construction: the type that
//!    carries it is moved into its settlement. One that is not settled is redelivered.
//! 8. Order is kept per uuid, per plugin, within one router.
//!
//! # Map
//!
//! What stands further down uses what stands above it.
//!
//! | | |
//! |---|---|
//! | [`escape`] | text from outside, safe to print: log, terminal, page |
//! | [`event`] | the domain: events, messages, times; no I/O |
//! | [`agenda`], [`backoff`], [`clock`] | what happens later; growing pauses; the time, real or virtual |
//! | [`health`] | what stops or slows the flow, for readiness and the log |
//! | [`keep`], [`unhung`] | work that goes on after a fault; file systems that do not answer |
//! | [`logging`] | what is logged, and what never is |
//! | [`measure`] | counts and durations, for metrics |
//! | [`procfs`] | what Linux says of a process |
//! | [`settings`] | every setting: name, meaning, default, range |
//! | [`tls`] | whom to trust, and the own certificate |
//! | [`requests`] | what sends HTTP requests to other programs |
//! | [`transport`] | what the router asks of the world: an inbox and an outbox |
//! | [`telemetry`] | traces, for an OpenTelemetry collector |
//! | [`amqp`] | the broker; the one module that speaks lapin |
//! | [`jsonl`] | standard input and output instead |
//! | [`plugins`] | the sandbox; the one module that speaks wasmtime |
//! | [`mo`] | MO's GraphQL events; the one module that speaks HTTP to MO |
//! | [`delay`] | the delay store; the one module that speaks SQL |
//! | [`router`] | one plugin's events, from delivery to settlement |
//! | [`replay`] | recorded events on a virtual clock; publishes nothing |
//! | [`daemon`], [`daemon::http`] | everything put together; health, metrics, status |
//! | [`scaffold`] | new plugin projects |
//! | [`cli`] | the command line |

pub mod agenda;
pub mod amqp;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod daemon;
pub mod delay;
pub mod escape;
pub mod event;
pub mod health;
pub mod jsonl;
pub mod keep;
pub mod logging;
pub mod measure;
pub mod mo;
pub mod plugins;
pub mod procfs;
pub mod replay;
pub mod requests;
pub mod router;
pub mod scaffold;
pub mod settings;
pub mod telemetry;
pub mod tls;
pub mod transport;
pub mod unhung;
