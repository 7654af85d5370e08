//! Rows of which not everything can be read.

use std::fmt::Display;

/// Reads the columns of one row. A column that cannot be read gets a stand-in and is noted,
/// so that one damaged row neither stops the others nor hides its id.
#[derive(Debug, Default)]
pub struct Damage(Vec<String>);

impl Damage {
    /// The value of a column, or its default.
    pub fn value<T: Default, E: Display>(&mut self, column: &str, value: Result<T, E>) -> T {
        value.unwrap_or_else(|error| {
            self.0.push(format!("its {column} cannot be read: {error}"));
            T::default()
        })
    }

    /// The text of a column, with replacement characters for what is not UTF-8.
    pub fn text<E: Display>(&mut self, column: &str, bytes: Result<&[u8], E>) -> String {
        let bytes = bytes.map(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(error) => {
                self.0.push(format!("its {column} is not text: {error}"));
                String::from_utf8_lossy(bytes).into_owned()
            }
        });
        self.value(column, bytes)
    }

    /// A count, which must not be negative.
    pub fn count<E: Display>(&mut self, column: &str, number: Result<i64, E>) -> u32 {
        let number = self.value(column, number);
        self.value(column, u32::try_from(number).map_err(|_| format!("{number} is no count")))
    }

    /// What cannot be read, if anything.
    pub fn noted(self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_far_as_it_can_be() {
        let mut damage = Damage::default();
        let good: Result<&[u8], String> = Ok("blåbær".as_bytes());
        assert_eq!(damage.text("plugin", good), "blåbær");
        assert_eq!(damage.count::<String>("attempts", Ok(3)), 3);
        let bad: Result<&[u8], String> = Ok(b"\xffabc");
        assert_eq!(damage.text("exchange", bad), "\u{fffd}abc");
        assert_eq!(damage.count::<String>("attempts", Ok(-1)), 0);
        assert_eq!(damage.value::<i64, _>("due", Err("malformed")), 0);
        let noted = damage.noted().unwrap();
        for column in ["exchange", "attempts", "due"] {
            assert!(noted.contains(column), "{noted}");
        }
        assert_eq!(Damage::default().noted(), None);
    }
}
