//! How many deliveries a consumer may have unsettled.
//!
//! AMQP counts them, and says nothing of their size: a thousand of 15 MiB are as good to the
//! broker as a thousand of 100 bytes, and what the router does not take, its client library holds.
//! So a consumer of large messages may have fewer.

/// How far back the average looks, in deliveries.
const MEMORY: usize = 16;

/// See the module's documentation.
#[derive(Debug)]
pub struct Prefetch {
    most: u16,
    bytes: usize,
    now: u16,
    /// Of the sizes that were told, in bytes; the newest count most.
    average: usize,
    /// How many were told since it was last changed.
    told: usize,
}

impl Prefetch {
    /// At most so many, and as many as take so many bytes.
    pub fn new(most: u16, bytes: usize) -> Self {
        Self { most: most.max(1), bytes, now: most.max(1), average: 0, told: 0 }
    }

    /// Begins with so many at most.
    pub fn beginning_with(mut self, now: usize) -> Self {
        self.now = u16::try_from(now).unwrap_or(u16::MAX).clamp(1, self.most);
        self
    }

    /// How many there may be.
    pub fn now(&self) -> u16 {
        self.now
    }

    /// How many bytes what is taken before it is wanted may have.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there may be fewer than the settings say.
    pub fn is_narrow(&self) -> bool {
        self.now < self.most
    }

    /// Whether as many as there may be would be too much if all were of this size.
    pub fn is_large(&self, size: usize) -> bool {
        size.saturating_mul(self.now.into()) > self.bytes.saturating_mul(2)
    }

    /// A delivery has this size, in bytes.
    pub fn tell(&mut self, size: usize) {
        self.average = match self.average {
            0 => size,
            average => (average * (MEMORY - 1) + size) / MEMORY,
        };
        self.told += 1;
    }

    /// Whether there may be at least twice as many now, since deliveries are smaller again.
    pub fn can_grow(&self) -> bool {
        self.told >= MEMORY && self.fitting() / 2 >= self.now
    }

    /// Takes the number that fits.
    pub fn fit(&mut self) {
        (self.now, self.told) = (self.fitting(), 0);
    }

    /// How many of the size of the last ones take the bytes that there may be.
    pub fn fitting(&self) -> u16 {
        let fitting = self.bytes / self.average.max(1);
        u16::try_from(fitting).unwrap_or(u16::MAX).clamp(1, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn told(prefetch: &mut Prefetch, sizes: impl IntoIterator<Item = usize>) -> u16 {
        sizes.into_iter().for_each(|size| prefetch.tell(size));
        prefetch.fit();
        prefetch.now()
    }

    #[test]
    fn large_messages_come_a_few_at_a_time_and_small_ones_as_before() {
        let mut prefetch = Prefetch::new(1000, 64 * MIB);
        assert_eq!((prefetch.now(), prefetch.is_narrow()), (1000, false));
        assert_eq!(told(&mut prefetch, [200; 3]), 1000);
        assert!(prefetch.is_large(MIB) && !prefetch.is_large(100));
        assert_eq!(told(&mut prefetch, [16 * MIB; 100]), 4);
        assert!(prefetch.is_narrow() && !prefetch.can_grow());
        // One that is small is no sign, many are.
        prefetch.tell(200);
        assert!(!prefetch.can_grow());
        (0..200).for_each(|_| prefetch.tell(200));
        assert!(prefetch.can_grow());
        prefetch.fit();
        assert_eq!(prefetch.now(), 1000);
        assert!(!prefetch.can_grow());
    }

    #[test]
    fn what_is_larger_than_all_of_it_comes_alone() {
        assert_eq!(told(&mut Prefetch::new(1000, 100), [5000]), 1);
        assert_eq!(told(&mut Prefetch::new(0, 0), [0]), 1);
        assert_eq!(told(&mut Prefetch::new(u16::MAX, usize::MAX), [1]), u16::MAX);
    }
}
