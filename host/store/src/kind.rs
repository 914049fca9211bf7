//! The tables, and what a row of each is.

use crate::record::{DownloadRecord, GenerationRecord, GrantRecord, OperationKey, OperationRecord, PluginRecord};
use mortise_model::{Digest, FunctionName, Json, PluginId};
use redb::{TableDefinition, Value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What the store says of itself: its format, and the mark of the last change.
pub(crate) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// Rows that could not be decoded: table, key as text, bytes, reason; by the order in which they were found.
pub(crate) const QUARANTINE: TableDefinition<u64, (&str, &str, &[u8], &str)> = TableDefinition::new("quarantine");

/// What plugins keep: the value of each key, by plugin. Bytes as they are, so that no row has to be decoded.
pub(crate) const STATE: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("plugin_state");

/// A key as redb hands it out.
pub(crate) type KeyOf<'a, K> = <<K as Kind>::Key as Value>::SelfType<'a>;

/// One kind of record: its table, its key as stored and as the host knows it.
pub(crate) trait Kind {
    type Key: redb::Key + 'static;
    type Id;
    type Record: Serialize + DeserializeOwned;

    const NAME: &'static str;
    const TABLE: TableDefinition<'static, Self::Key, &'static [u8]> = TableDefinition::new(Self::NAME);

    fn key(id: &Self::Id) -> KeyOf<'_, Self>;

    /// The reason as text where the key breaks its rule.
    fn id(key: KeyOf<'_, Self>) -> Result<Self::Id, String>;

    /// The key as it is reported.
    fn text(key: &KeyOf<'_, Self>) -> String;
}

/// Kinds whose key is one text.
macro_rules! text_kind {
    ($kind:ident, $name:literal, $id:ty, $record:ty, $parse:expr) => {
        pub(crate) struct $kind;

        impl Kind for $kind {
            type Key = &'static str;
            type Id = $id;
            type Record = $record;
            const NAME: &'static str = $name;

            fn key(id: &$id) -> &str {
                id.as_str()
            }

            fn id(key: &str) -> Result<$id, String> {
                $parse(key)
            }

            fn text(key: &&str) -> String {
                (*key).to_owned()
            }
        }
    };
}

text_kind!(Plugins, "plugins", PluginId, PluginRecord, |key| PluginId::new(key).map_err(|error| error.to_string()));
// The number of each plugin's next generation. It outlives the plugin.
text_kind!(Numbers, "next_generations", PluginId, u64, |key| PluginId::new(key).map_err(|error| error.to_string()));
text_kind!(Names, "names", FunctionName, Vec<PluginId>, |key| FunctionName::new(key)
    .map_err(|error| error.to_string()));
text_kind!(CodeHashes, "code_hashes", String, CodeHash, |key: &str| Ok(key.to_owned()));
text_kind!(Grants, "grants", PluginId, Vec<GrantRecord>, |key| PluginId::new(key).map_err(|error| error.to_string()));
text_kind!(Downloads, "downloads", String, DownloadRecord, |key: &str| Ok(key.to_owned()));
text_kind!(Settings, "settings", String, Setting, |key: &str| Ok(key.to_owned()));

/// A digest that serialises itself.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct CodeHash(#[serde(with = "crate::codec::digest")] pub(crate) Digest);

/// JSON text that serialises itself.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Setting(#[serde(with = "crate::codec::json")] pub(crate) Json);

pub(crate) struct Generations;

impl Kind for Generations {
    type Key = (&'static str, u64);
    type Id = (PluginId, u64);
    type Record = GenerationRecord;
    const NAME: &'static str = "generations";

    fn key((plugin, number): &Self::Id) -> (&str, u64) {
        (plugin.as_str(), *number)
    }

    fn id((plugin, number): (&str, u64)) -> Result<Self::Id, String> {
        Ok((PluginId::new(plugin).map_err(|error| error.to_string())?, number))
    }

    fn text((plugin, number): &(&str, u64)) -> String {
        format!("{plugin}/{number}")
    }
}

/// Operations lie in the order in which they began, so that the first row is the oldest.
pub(crate) struct Operations;

impl Kind for Operations {
    type Key = (u64, &'static str, &'static str);
    type Id = (u64, OperationKey);
    type Record = OperationRecord;
    const NAME: &'static str = "operations";

    fn key((sequence, key): &Self::Id) -> (u64, &str, &str) {
        (*sequence, &key.request, &key.method)
    }

    fn id((sequence, request, method): (u64, &str, &str)) -> Result<Self::Id, String> {
        Ok((sequence, OperationKey { request: request.to_owned(), method: method.to_owned() }))
    }

    fn text((_, request, method): &(u64, &str, &str)) -> String {
        format!("{method} {request}")
    }
}
