//! The types of wit/router.wit as they cross the sandbox's border: an event goes
//! in as a view of the router's own bytes, an answer comes out as owned values.

wasmtime::component::bindgen!({
    inline: "
        package mo-router:host;
        world guest { export os2mo:router/filter@1.0.0; }
    ",
    path: "wit",
    ownership: Borrowing { duplicate_if_necessary: true },
    exports: { default: async },
});

pub(super) use os2mo::router::types::{Datetime, Due, Event, Failure, Publication, Topic};
