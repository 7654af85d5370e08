//! What a section of the settings is, and the macro that defines one.

use super::value::{AmqpNames, Raw};

/// A section: keys, each with its meaning, a default and checked values.
pub(super) trait Section {
    /// The keys and their documentation.
    fn keys(&self) -> &'static [(&'static str, &'static str)];

    /// Sets one of [`Section::keys`].
    ///
    /// # Errors
    /// Says what is wrong with the value, and how to fix it.
    fn set(&mut self, key: &str, raw: &Raw) -> Result<(), String>;

    /// Which values a key takes, for people; empty where its meaning says it.
    fn range_text(&self, key: &str) -> String;

    /// The default of a key, as it would be written; empty for none. Only defaults are
    /// ever written out: what is set may be secret.
    fn default_text(&self, key: &str) -> String;
}

/// # Errors
/// Says which of the names at the broker is longer than AMQP allows.
pub(super) fn broker(names: &impl AmqpNames) -> Result<(), String> {
    names.check()
}

/// Defines a section: its struct, the defaults and [`Section`], so that each
/// setting is written once. The documentation of a field is also what
/// `docs/settings.md` says about it; `within` bounds its value, and `at the broker` has the names
/// that AMQP has room for. Fields after
/// `also` are no keys of the section itself.
macro_rules! section {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr $(, within $range:expr)? $(, at the $broker:ident)?; )+
            $( also { $( $(#[doc = $more:literal])+ $field:ident: $field_type:ty; )+ } )?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $key: $type, )+
            $( $( $(#[doc = $more])+ pub $field: $field_type, )+ )?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $( $key: $default, )+
                    $( $( $field: Default::default(), )+ )?
                }
            }
        }

        impl $crate::settings::section::Section for $name {
            fn keys(&self) -> &'static [(&'static str, &'static str)] {
                &[ $( (stringify!($key), concat!($($doc),+)) ),+ ]
            }

            fn set(&mut self, key: &str, raw: &$crate::settings::value::Raw) -> Result<(), String> {
                use $crate::settings::value::SettingValue;
                match key {
                    $( stringify!($key) => {
                        let value = <$type as SettingValue>::read(raw).map_err(|wrong| {
                            match self.range_text(key) {
                                // An array, say, has other faults than its range.
                                range if range.is_empty() || !wrong.contains(" must be ") => wrong,
                                range => format!("{wrong}, {range}"),
                            }
                        })?;
                        $( $crate::settings::value::check_range(&value, &$range)?; )?
                        $( $crate::settings::section::$broker(&value)?; )?
                        self.$key = value;
                    } )+
                    _ => return Err(format!("{key:?} is not a setting")),
                }
                Ok(())
            }

            fn range_text(&self, key: &str) -> String {
                match key {
                    $( stringify!($key) => {
                        let range: Option<String> = None;
                        $( let range = range.or(Some($crate::settings::value::range_text::<$type>(&$range))); )?
                        range.unwrap_or_default()
                    } )+
                    _ => String::new(),
                }
            }

            fn default_text(&self, key: &str) -> String {
                use $crate::settings::value::SettingValue;
                match key {
                    $( stringify!($key) => <$type as SettingValue>::to_text(&$default), )+
                    _ => String::new(),
                }
            }
        }
    };
}
pub(super) use section;
