//! Reading records, inside a change and outside.

use crate::codec;
use crate::error::StoreError;
use crate::kind::{Generations, Kind, STATE};
use crate::record::GenerationRecord;
use mortise_model::PluginId;
use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};
use std::collections::BTreeMap;
use std::path::Path;

/// Where rows are read: a snapshot, or a change with what it has changed so far.
pub(crate) trait Tables {
    fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<impl ReadableTable<K, V>, TableError>;
}

impl Tables for ReadTransaction {
    fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<impl ReadableTable<K, V>, TableError> {
        self.open_table(definition)
    }
}

impl Tables for WriteTransaction {
    fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<impl ReadableTable<K, V>, TableError> {
        self.open_table(definition)
    }
}

/// A record with its key.
pub(crate) type Row<K> = (<K as Kind>::Id, <K as Kind>::Record);

/// Reads from one file; its path is for errors.
pub(crate) struct Query<'a, T> {
    pub(crate) path: &'a Path,
    pub(crate) tables: &'a T,
}

impl<T: Tables> Query<'_, T> {
    /// One record. One that cannot be decoded is an error: nobody may take it for absent.
    pub(crate) fn get<K: Kind>(&self, id: &K::Id) -> Result<Option<K::Record>, StoreError> {
        let table = self.tables.table(K::TABLE).map_err(self.engine())?;
        let Some(row) = table.get(K::key(id)).map_err(self.engine())? else { return Ok(None) };
        let corrupt = |reason| StoreError::CorruptRecord { table: K::NAME, key: K::text(&K::key(id)), reason };
        codec::decode(row.value()).map(Some).map_err(corrupt)
    }

    /// Every record that can be decoded, by key.
    pub(crate) fn list<K: Kind>(&self) -> Result<Vec<Row<K>>, StoreError> {
        let mut records = Vec::new();
        let table = self.tables.table(K::TABLE).map_err(self.engine())?;
        for row in table.iter().map_err(self.engine())? {
            let (key, value) = row.map_err(self.engine())?;
            if let (Ok(id), Ok(record)) = (K::id(key.value()), codec::decode(value.value())) {
                records.push((id, record));
            }
        }
        Ok(records)
    }

    /// Every record of one plugin's generations that can be decoded, by number.
    pub(crate) fn generations(&self, id: &PluginId) -> Result<BTreeMap<u64, GenerationRecord>, StoreError> {
        let mut records = BTreeMap::new();
        let table = self.tables.table(Generations::TABLE).map_err(self.engine())?;
        let numbers = (id.as_str(), 0)..=(id.as_str(), u64::MAX);
        for row in table.range(numbers).map_err(self.engine())? {
            let (key, value) = row.map_err(self.engine())?;
            if let Ok(record) = codec::decode(value.value()) {
                records.insert(key.value().1, record);
            }
        }
        Ok(records)
    }

    /// Every key and value of one plugin, by key.
    pub(crate) fn state(&self, id: &PluginId) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut entries = Vec::new();
        let table = self.tables.table(STATE).map_err(self.engine())?;
        for row in table.range((id.as_str(), "")..).map_err(self.engine())? {
            let (key, value) = row.map_err(self.engine())?;
            let (plugin, key) = key.value();
            if plugin != id.as_str() {
                break;
            }
            entries.push((key.to_owned(), value.value().to_vec()));
        }
        Ok(entries)
    }

    /// Of which plugins there are keys.
    pub(crate) fn state_owners(&self) -> Result<Vec<String>, StoreError> {
        let mut owners: Vec<String> = Vec::new();
        let table = self.tables.table(STATE).map_err(self.engine())?;
        loop {
            // Straight to the next owner: no id holds the lowest of all characters.
            let after = owners.last().map_or(String::new(), |last| format!("{last}\0"));
            let Some(row) = table.range((after.as_str(), "")..).map_err(self.engine())?.next() else {
                return Ok(owners);
            };
            let (key, _) = row.map_err(self.engine())?;
            owners.push(key.value().0.to_owned());
        }
    }

    fn engine<E: Into<redb::Error>>(&self) -> impl FnOnce(E) -> StoreError {
        let path = self.path;
        move |error| StoreError::engine(path, error)
    }
}
