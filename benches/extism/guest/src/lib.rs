//! The filter of `examples/employee-filter`, for Extism.

mod types;

use extism_pdk::{FnResult, plugin_fn};

use types::{Event, Publication};

#[plugin_fn]
pub fn route(event: Vec<u8>) -> FnResult<Vec<u8>> {
    let event: Event = serde_json::from_slice(&event)?;
    let publications = match event.topic.service {
        Some("employee") => vec![Publication::default()],
        _ => Vec::new(),
    };
    Ok(serde_json::to_vec(&publications)?)
}

/// Answers without a look at what it is given.
#[plugin_fn]
pub fn accept(_event: Vec<u8>) -> FnResult<Vec<u8>> {
    Ok(vec![1])
}
