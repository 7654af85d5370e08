//! What a section of the settings is, and how one is written down.

/// A section: keys with documented meaning, a default each, and checked values.
pub(super) trait Section {
    /// The keys, with what each means.
    fn keys(&self) -> &'static [(&'static str, &'static str)];

    /// Sets one of [`Section::keys`].
    ///
    /// # Errors
    /// Says what about the value is wrong, and the mend.
    fn set(&mut self, key: &str, text: &str) -> Result<(), String>;

    /// The value of a key, as one would write it.
    fn show(&self, key: &str) -> String;
}

/// Defines a section: its struct, the defaults and [`Section`], so that each
/// setting is written once. The documentation of a field is also what
/// `docs/settings.md` says about it; `within` bounds its value. Fields after
/// `also` are no keys of the section itself.
macro_rules! section {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr $(, within $range:expr)?; )+
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

            fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
                use $crate::settings::value::Value;
                match key {
                    $( stringify!($key) => {
                        let value = <$type as Value>::read(text)?;
                        $( $crate::settings::value::check_range(&value, &$range)?; )?
                        self.$key = value;
                    } )+
                    _ => return Err(format!("{key:?} is not a setting")),
                }
                Ok(())
            }

            fn show(&self, key: &str) -> String {
                use $crate::settings::value::Value;
                match key {
                    $( stringify!($key) => self.$key.show(), )+
                    _ => String::new(),
                }
            }
        }
    };
}
pub(super) use section;
