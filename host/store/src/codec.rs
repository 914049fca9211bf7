//! How a record lies in its table: one byte that names the encoding, then JSON.
//!
//! JSON keeps manifests and descriptions as the text they are, and lets an operator read a record that was set aside.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The encoding this build writes. An older one that it still reads gets an arm in [`decode`]; a build that writes a
/// newer one raises the format of the store as well, so that this build refuses the store before it meets a record.
const ENCODING: u8 = 1;

pub(crate) fn encode<T: Serialize>(record: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = vec![ENCODING];
    serde_json::to_writer(&mut bytes, record)?;
    Ok(bytes)
}

/// The reason as text: it is reported and kept beside the bytes.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&ENCODING, json)) => serde_json::from_slice(json).map_err(|error| error.to_string()),
        Some((encoding, _)) => Err(format!("unknown encoding {encoding}")),
        None => Err("empty".to_owned()),
    }
}

/// Types that do not serialise themselves, as text.
macro_rules! as_text {
    ($module:ident, $type:ty, $parse:expr) => {
        pub(crate) mod $module {
            use serde::{Deserialize, Deserializer, Serializer, de::Error};

            pub(crate) fn serialize<S: Serializer>(value: &$type, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(value)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let text = String::deserialize(deserializer)?;
                $parse(&text).map_err(D::Error::custom)
            }
        }
    };
    ($module:ident, $optional:ident, $type:ty, $parse:expr) => {
        as_text!($module, $type, $parse);

        /// A field that is left out when it is none.
        pub(crate) mod $optional {
            use serde::{Deserializer, Serializer};

            pub(crate) fn serialize<S: Serializer>(value: &Option<$type>, serializer: S) -> Result<S::Ok, S::Error> {
                match value {
                    Some(value) => super::$module::serialize(value, serializer),
                    None => serializer.serialize_none(),
                }
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<$type>, D::Error> {
                super::$module::deserialize(deserializer).map(Some)
            }
        }
    };
}

as_text!(digest, digest_option, mortise_model::Digest, mortise_model::Digest::parse);
as_text!(permission, mortise_model::Permission, str::parse::<mortise_model::Permission>);
as_text!(instant, instant_option, jiff::Timestamp, str::parse::<jiff::Timestamp>);

pub(crate) mod json {
    use mortise_model::Json;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::value::RawValue;

    pub(crate) fn serialize<S: Serializer>(value: &Json, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Json::from)
    }
}

/// A field that is left out when it is none, so that it may hold `null`.
pub(crate) mod json_option {
    use mortise_model::Json;
    use serde::{Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Option<Json>, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
        super::json::deserialize(deserializer).map(Some)
    }
}

pub(crate) mod source {
    use mortise_model::Source;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(remote = "Source", rename_all = "snake_case")]
    enum Written {
        Folder { path: String },
        Bundle,
        Url { url: String },
        Upload,
        Object { bucket: String, name: String },
        WorkingCopy,
    }

    pub(crate) fn serialize<S: Serializer>(value: &Source, serializer: S) -> Result<S::Ok, S::Error> {
        Written::serialize(value, serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Source, D::Error> {
        Written::deserialize(deserializer)
    }
}
