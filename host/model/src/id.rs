//! Names that travel over the wire or become part of a path.

use std::fmt;
use std::sync::Arc;

/// A name that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Wire contract 1.1.
    #[error("invalid device id `{0}`: must match `^[a-zA-Z0-9][a-zA-Z0-9._-]{{0,254}}$`")]
    Device(String),
    /// Wire contract 1.1: these ids alias fixed subjects.
    #[error("device id `{0}` is reserved")]
    DeviceReserved(String),
    /// Wire contract 1.2.
    #[error(
        "invalid tenant `{0}`: must be one subject token of 1 to 64 letters, digits, `_` or `-`, beginning with a letter or digit"
    )]
    Tenant(String),
    /// Wire contract 1.5.
    #[error("invalid plugin id `{0}`: must match `^[A-Za-z0-9][A-Za-z0-9_-]{{0,127}}$`")]
    Plugin(String),
    /// Wire contract 1.4.
    #[error("invalid function name `{0}`: must match `^[A-Za-z0-9_-]{{1,128}}$`")]
    Function(String),
    /// Wire contract 1.3.
    #[error("Invalid event name '{0}'. Must match '^[A-Za-z0-9_-]+$'.")]
    Event(String),
    /// An event is emitted under a name that is too long.
    #[error("invalid event name of {bytes} bytes: it may have {bytes_max}")]
    EmittedTooLong {
        /// Of the name.
        bytes: usize,
        /// At most.
        bytes_max: usize,
    },
}

fn starts_alphanumeric(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

fn only(text: &str, extra: &[u8]) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes it a name.
            ///
            /// # Errors
            /// [`IdError`] with the offending text when it breaks the rule.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                let check: fn(&str) -> Result<(), IdError> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The name as shared text; cloning it copies nothing.
            #[must_use]
            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id_type!(
    /// A device of the mesh: 1 to 255 ASCII characters (wire contract 1.1).
    ///
    /// Dots are legal and break routing; see [`DeviceId::has_dots`].
    DeviceId,
    |text| {
        if !(1..=255).contains(&text.len()) || !starts_alphanumeric(text) || !only(text, b"._-") {
            return Err(IdError::Device(text.to_owned()));
        }
        if matches!(text, "device" | "registry" | "discovery" | "broadcast") {
            return Err(IdError::DeviceReserved(text.to_owned()));
        }
        Ok(())
    }
);

impl DeviceId {
    /// Whether the id holds dots: legal, but such a device is never discovered by one-token wildcards.
    #[must_use]
    pub fn has_dots(&self) -> bool {
        self.0.contains('.')
    }
}

id_type!(
    /// A tenant: exactly one subject token of 1 to 64 characters (wire contract 1.2).
    Tenant,
    |text| {
        if !(1..=64).contains(&text.len()) || !starts_alphanumeric(text) || !only(text, b"_-") {
            return Err(IdError::Tenant(text.to_owned()));
        }
        Ok(())
    }
);

id_type!(
    /// A plugin: 1 to 128 characters, safe as a path component (wire contract 1.5).
    PluginId,
    |text| {
        if !(1..=128).contains(&text.len()) || !starts_alphanumeric(text) || !only(text, b"_-") {
            return Err(IdError::Plugin(text.to_owned()));
        }
        Ok(())
    }
);

id_type!(
    /// A function as a plugin names it: 1 to 128 characters, no dot (wire contract 1.4).
    FunctionName,
    |text| {
        if !(1..=128).contains(&text.len()) || !only(text, b"_-") {
            return Err(IdError::Function(text.to_owned()));
        }
        Ok(())
    }
);

id_type!(
    /// An event: one subject token of 1 to 128 characters (wire contract 1.3; the length is ours).
    EventName,
    |text| {
        if !(1..=128).contains(&text.len()) || !only(text, b"_-") {
            return Err(IdError::Event(text.to_owned()));
        }
        Ok(())
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_ids_follow_the_wire_contract() {
        for good in ["a", "plugin-host-1", "A.b_c-d", &"x".repeat(255)] {
            assert!(DeviceId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "a\n", "é", "a*", &"x".repeat(256)] {
            assert_eq!(DeviceId::new(bad), Err(IdError::Device(bad.to_owned())));
        }
        assert_eq!(DeviceId::new("broadcast"), Err(IdError::DeviceReserved("broadcast".into())));
    }

    #[test]
    fn plugin_ids_are_safe_path_components() {
        for good in ["a", "hello-world", "A_1"] {
            assert!(PluginId::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".artifacts", "a/b", "a\\b", "../x", "a.b", "-a", "_a", "a\0", &"x".repeat(129)] {
            assert_eq!(PluginId::new(bad), Err(IdError::Plugin(bad.to_owned())));
        }
    }

    #[test]
    fn tenants_are_one_subject_token() {
        assert!(Tenant::new("default").is_ok());
        for bad in ["", "a.b", "a/b", "a*", ">", "a b", &"x".repeat(65)] {
            assert!(Tenant::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn event_and_function_names_are_one_token() {
        assert!(EventName::new("motion-detected_2").is_ok());
        assert!(EventName::new("event/motion").is_err());
        assert!(FunctionName::new("hello_world").is_ok());
        assert!(FunctionName::new("a.b").is_err());
        assert!(FunctionName::new("").is_err());
    }
}
