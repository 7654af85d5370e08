//! Sessions that open together consume together: each waits until the others have declared
//! what they need, so that nothing waits behind the deliveries of those that were first.

use std::time::Duration;

use tokio::sync::watch;

/// How long a session waits for the others, at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where sessions wait for each other.
#[derive(Debug, Default)]
pub struct Gate {
    /// How many sessions are opening and not at the gate yet.
    opening: watch::Sender<usize>,
}

/// A session that is opening. Dropping it lets the others pass.
#[derive(Debug)]
pub struct Opening<'a>(&'a Gate);

impl Gate {
    /// A session begins to open.
    pub fn opening(&self) -> Opening<'_> {
        self.opening.send_modify(|opening| *opening += 1);
        Opening(self)
    }
}

impl Opening<'_> {
    /// Waits until no session is opening that is not here too, or for 2 s.
    pub async fn pass(self) {
        let mut opening = self.0.opening.subscribe();
        drop(self);
        // One that takes longer holds up nobody.
        let _ = tokio::time::timeout(PATIENCE, opening.wait_for(|opening| *opening == 0)).await;
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.send_modify(|opening| *opening -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, sleep};

    #[tokio::test(start_paused = true)]
    async fn those_that_open_together_pass_together() {
        let gate = Gate::default();
        let (first, second, fails) = (gate.opening(), gate.opening(), gate.opening());
        let begun = Instant::now();
        let second = async {
            sleep(PATIENCE / 2).await;
            drop(fails);
            second.pass().await;
        };
        tokio::join!(first.pass(), second);
        assert_eq!(begun.elapsed(), PATIENCE / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_comes_is_not_waited_for() {
        let gate = Gate::default();
        let _never = gate.opening();
        let begun = Instant::now();
        gate.opening().pass().await;
        assert_eq!(begun.elapsed(), PATIENCE);
    }
}
