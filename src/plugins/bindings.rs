//! The types of wit/router.wit, as they are passed to and from guests. An event is
//! passed as a view of the router's bytes; an answer is returned as owned values.

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
