//! Which reasons of dead letters are alike: those that differ in UUIDs and long numbers alone. Otherwise
//! ten thousand letters about ten thousand persons would be as many groups.

use uuid::Uuid;

/// From so many digits on a number tells no reasons apart. A shorter one may say what went wrong, as the
/// status of an HTTP answer does.
const LONG: usize = 4;
/// How many characters a UUID with hyphens has.
const UUID: usize = 36;

/// What reasons that are alike have in common.
pub fn shape(reason: &str) -> String {
    let mut shape = String::new();
    let mut rest = reason;
    while let Some(first) = rest.chars().next() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (length, written) = if rest.get(..UUID).is_some_and(|it| Uuid::try_parse(it).is_ok()) {
            (UUID, "{uuid}")
        } else if digits >= LONG {
            (digits, "{number}")
        } else {
            let length = digits.max(first.len_utf8());
            (length, &rest[..length])
        };
        shape.push_str(written);
        rest = &rest[length..];
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_uuids_and_long_numbers_are_alike() {
        let [one, other] =
            ["cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60", "CF5C0A53-8a4e-4f2e-8a0e-1b2c3d4e5f61"];
        for reason in ["no person {}", "{}", "øæå{}øæå", "person/{}: no", "{}{}"] {
            let [one, other] = [one, other].map(|uuid| shape(&reason.replace("{}", uuid)));
            assert_eq!(one, other, "{reason}");
        }
        assert_eq!(shape("employee 12345 of 2024"), shape("employee 678901 of 2025"));
        for (one, other) in [
            ("status 404", "status 500"),
            ("no person 1234", "no unit 1234"),
            ("", "1234"),
            (one, "cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f6"),
        ] {
            assert_ne!(shape(one), shape(other));
        }
        assert_eq!(shape("it was full: 507"), "it was full: 507");
    }
}
