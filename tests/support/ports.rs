//! Ports for programs that are started later.
//!
//! Who listens at port 0 and lets go of what it got has a port that the system gives to the next
//! connection, so a program that takes long to start may find it taken. These are below all that
//! the system gives away (32768 and more), and no test is given the port of another.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A port at which nothing listens, for one program.
pub fn free_port() -> u16 {
    free(24_000..32_000, &[0])
}

/// A port at which nothing listens, nor at those 4000 and 8000 above, which RabbitMQ takes too.
pub fn free_port_of_broker() -> u16 {
    free(12_000..16_000, &[0, 4_000, 8_000])
}

#[expect(clippy::disallowed_methods, reason = "several programs must not take the same one")]
fn free(range: Range<u16>, above: &[u16]) -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    std::iter::repeat_with(|| rand::random_range(range.clone()))
        .filter(|port| above.iter().all(|above| free(port + above)))
        .find(|port| given.insert(*port))
        .expect("there are always more")
}
