//! One change of the store.

use crate::codec;
use crate::error::StoreError;
use crate::kind::{
    CodeHash, CodeHashes, Downloads, Generations, Grants, Kind, META, Names, Numbers, Operations, Plugins, STATE,
    Setting, Settings,
};
use crate::query::Query;
use crate::record::{
    DownloadRecord, GenerationRecord, GrantRecord, NameClaims, OperationKey, OperationRecord, PluginRecord,
};
use mortise_model::{Digest, FunctionName, Json, PluginId};
use redb::{ReadableTable as _, ReadableTableMetadata as _, WriteTransaction};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The largest record, encoded.
pub const RECORD_BYTES_MAX: usize = 4 << 20;

/// The largest operation, encoded, its key included.
pub const OPERATION_BYTES_MAX: usize = 256 << 10;

/// How many operations are kept. Beyond it the one that began first is forgotten.
pub const OPERATIONS_MAX: u64 = 256;

/// How many downloads are remembered. Beyond it the one that was seen longest ago is forgotten.
pub const DOWNLOADS_MAX: usize = 256;

/// The row of [`META`] that tells which change was the last.
pub(crate) const LAST_CHANGE: &str = "last_change";

/// A change under way. It sees what it has changed; nobody else does before it is committed.
///
/// Dropped without a commit, it leaves nothing. All methods block.
pub struct Transaction<'a> {
    path: &'a Path,
    pub(crate) tables: WriteTransaction,
    /// Whether there is anything to commit.
    pub(crate) changed: bool,
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("path", &self.path).field("changed", &self.changed).finish_non_exhaustive()
    }
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(path: &'a Path, tables: WriteTransaction) -> Self {
        Self { path, tables, changed: false }
    }

    /// A plugin's record.
    ///
    /// # Errors
    /// [`StoreError::CorruptRecord`], or the store cannot be read.
    pub fn plugin(&self, id: &PluginId) -> Result<Option<PluginRecord>, StoreError> {
        self.query().get::<Plugins>(id)
    }

    /// A generation's record.
    ///
    /// # Errors
    /// [`StoreError::CorruptRecord`], or the store cannot be read.
    pub fn generation(&self, id: &PluginId, number: u64) -> Result<Option<GenerationRecord>, StoreError> {
        self.query().get::<Generations>(&(id.clone(), number))
    }

    /// Every generation's record of one plugin that can be decoded, by number.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn generations(&self, id: &PluginId) -> Result<BTreeMap<u64, GenerationRecord>, StoreError> {
        self.query().generations(id)
    }

    /// Who claims each name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn names(&self) -> Result<NameClaims, StoreError> {
        Ok(self.query().list::<Names>()?.into_iter().collect())
    }

    /// A setting.
    ///
    /// # Errors
    /// [`StoreError::CorruptRecord`], or the store cannot be read.
    pub fn setting(&self, key: &str) -> Result<Option<Json>, StoreError> {
        Ok(self.query().get::<Settings>(&key.to_owned())?.map(|setting| setting.0))
    }

    /// Takes the number of a plugin's next generation, beginning with 1. Once this change is committed it is never given
    /// again, not even after the plugin was removed: its folder may still be in use.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn take_generation(&mut self, id: &PluginId) -> Result<u64, StoreError> {
        let next = self.query().get::<Numbers>(id)?.unwrap_or(1);
        // The counter may have been lost to the quarantine, and the generations not.
        let generations = self.query().generations(id)?;
        let known = generations.last_key_value().map_or(0, |(number, _)| *number);
        let number = next.max(known.saturating_add(1));
        self.put::<Numbers>(id, &number.saturating_add(1), RECORD_BYTES_MAX)?;
        Ok(number)
    }

    /// Writes a plugin's record in place of the one before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_plugin(&mut self, id: &PluginId, record: &PluginRecord) -> Result<(), StoreError> {
        self.put::<Plugins>(id, record, RECORD_BYTES_MAX)
    }

    /// Removes a plugin's record and those of its generations. Names, operations, grants, what it keeps and the
    /// count of its generations stay.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove_plugin(&mut self, id: &PluginId) -> Result<(), StoreError> {
        self.remove::<Plugins>(id)?;
        self.changed = true;
        let mut table = self.tables.open_table(Generations::TABLE).map_err(self.engine())?;
        table.retain_in((id.as_str(), 0)..=(id.as_str(), u64::MAX), |_, _| false).map_err(self.engine())
    }

    /// Writes a generation's record in place of the one before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_generation(&mut self, id: &PluginId, number: u64, record: &GenerationRecord) -> Result<(), StoreError> {
        self.put::<Generations>(&(id.clone(), number), record, RECORD_BYTES_MAX)
    }

    /// Removes a generation's record, if there is one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove_generation(&mut self, id: &PluginId, number: u64) -> Result<(), StoreError> {
        self.remove::<Generations>(&(id.clone(), number))
    }

    /// Replaces all claims of names. A name without a claimant is left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_names(&mut self, names: &NameClaims) -> Result<(), StoreError> {
        let before: Vec<(FunctionName, Vec<PluginId>)> = self.query().list::<Names>()?;
        for (name, _) in before.iter().filter(|(name, _)| names.get(name).is_none_or(Vec::is_empty)) {
            self.remove::<Names>(name)?;
        }
        for (name, claimants) in names.iter().filter(|(_, claimants)| !claimants.is_empty()) {
            self.put::<Names>(name, claimants, RECORD_BYTES_MAX)?;
        }
        Ok(())
    }

    /// Writes an operation. One that is known by its key and its `started_at` keeps its place among the others; any
    /// other is the newest, and replaces an earlier one of the same key. The oldest beyond [`OPERATIONS_MAX`] goes.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::TooLarge`] beyond [`OPERATION_BYTES_MAX`].
    pub fn put_operation(&mut self, key: &OperationKey, record: &OperationRecord) -> Result<(), StoreError> {
        let mut earlier = None;
        let mut sequence = 0;
        let mut table = self.tables.open_table(Operations::TABLE).map_err(self.engine())?;
        for row in table.iter().map_err(self.engine())? {
            let (stored, value) = row.map_err(self.engine())?;
            let (number, request, method) = stored.value();
            if request == key.request && method == key.method {
                let started_at = codec::decode::<OperationRecord>(value.value()).map(|record| record.started_at);
                earlier = Some((number, started_at == Ok(record.started_at)));
            }
            sequence = number.saturating_add(1);
        }
        match earlier {
            Some((number, true)) => sequence = number,
            Some((number, false)) => {
                table.remove((number, key.request.as_str(), key.method.as_str())).map_err(self.engine())?;
            }
            None => {}
        }
        drop(table);
        let bytes_max = OPERATION_BYTES_MAX.saturating_sub(key.request.len().saturating_add(key.method.len()));
        self.put::<Operations>(&(sequence, key.clone()), record, bytes_max)?;
        let mut table = self.tables.open_table(Operations::TABLE).map_err(self.engine())?;
        while table.len().map_err(self.engine())? > OPERATIONS_MAX {
            table.pop_first().map_err(self.engine())?;
        }
        Ok(())
    }

    /// Replaces all that a plugin was granted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_grants(&mut self, id: &PluginId, grants: &[GrantRecord]) -> Result<(), StoreError> {
        if grants.is_empty() {
            return self.remove::<Grants>(id);
        }
        self.put::<Grants>(id, &grants.to_vec(), RECORD_BYTES_MAX)
    }

    /// Writes what a plugin keeps under a key.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put_state(&mut self, id: &PluginId, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.changed = true;
        let mut table = self.tables.open_table(STATE).map_err(self.engine())?;
        table.insert((id.as_str(), key), value).map_err(self.engine())?;
        Ok(())
    }

    /// Removes what a plugin keeps under a key, if there is something.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove_state(&mut self, id: &PluginId, key: &str) -> Result<(), StoreError> {
        let mut table = self.tables.open_table(STATE).map_err(self.engine())?;
        self.changed |= table.remove((id.as_str(), key)).map_err(self.engine())?.is_some();
        Ok(())
    }

    /// Removes all that a plugin keeps.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn clear_state(&mut self, id: &PluginId) -> Result<(), StoreError> {
        let after = format!("{id}\0");
        let mut removed = false;
        let mut table = self.tables.open_table(STATE).map_err(self.engine())?;
        let clear = |_: (&str, &str), _: &[u8]| {
            removed = true;
            false
        };
        table.retain_in((id.as_str(), "")..(after.as_str(), ""), clear).map_err(self.engine())?;
        drop(table);
        self.changed |= removed;
        Ok(())
    }

    /// Remembers the digest of a compiled file under its code key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_code_hash(&mut self, key: &str, hash: &Digest) -> Result<(), StoreError> {
        self.put::<CodeHashes>(&key.to_owned(), &CodeHash(*hash), RECORD_BYTES_MAX)
    }

    /// Forgets a compiled file, if it is known.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove_code_hash(&mut self, key: &str) -> Result<(), StoreError> {
        self.remove::<CodeHashes>(&key.to_owned())
    }

    /// Remembers a download in place of the one before of the same URL. `url` names it without telling it: what a URL
    /// carries may be secret.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_download(&mut self, url: &str, record: &DownloadRecord) -> Result<(), StoreError> {
        self.put::<Downloads>(&url.to_owned(), record, RECORD_BYTES_MAX)?;
        let mut downloads = self.query().list::<Downloads>()?;
        downloads.sort_unstable_by_key(|(_, record)| record.seen_at);
        let too_many = downloads.len().saturating_sub(DOWNLOADS_MAX);
        for (url, _) in downloads.iter().take(too_many) {
            self.remove::<Downloads>(url)?;
        }
        Ok(())
    }

    /// Forgets a download, if it is known.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove_download(&mut self, url: &str) -> Result<(), StoreError> {
        self.remove::<Downloads>(&url.to_owned())
    }

    /// Writes a setting in place of the one before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_setting(&mut self, key: &str, value: &Json) -> Result<(), StoreError> {
        self.put::<Settings>(&key.to_owned(), &Setting(value.clone()), RECORD_BYTES_MAX)
    }

    /// Removes a setting, if there is one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove_setting(&mut self, key: &str) -> Result<(), StoreError> {
        self.remove::<Settings>(&key.to_owned())
    }

    pub(crate) fn put<K: Kind>(&mut self, id: &K::Id, record: &K::Record, bytes_max: usize) -> Result<(), StoreError> {
        let key = || K::text(&K::key(id)).chars().take(200).collect();
        let encoded =
            codec::encode(record).map_err(|source| StoreError::Encode { table: K::NAME, key: key(), source })?;
        if encoded.len() > bytes_max {
            return Err(StoreError::TooLarge { table: K::NAME, key: key(), bytes: encoded.len(), bytes_max });
        }
        self.changed = true;
        let mut table = self.tables.open_table(K::TABLE).map_err(self.engine())?;
        table.insert(K::key(id), encoded.as_slice()).map_err(self.engine())?;
        Ok(())
    }

    fn remove<K: Kind>(&mut self, id: &K::Id) -> Result<(), StoreError> {
        let mut table = self.tables.open_table(K::TABLE).map_err(self.engine())?;
        self.changed |= table.remove(K::key(id)).map_err(self.engine())?.is_some();
        Ok(())
    }

    /// Makes the change last, marked so that its outcome can be told after a failure.
    pub(crate) fn commit(self, mark: u64) -> Result<(), redb::Error> {
        self.tables.open_table(META)?.insert(LAST_CHANGE, mark)?;
        Ok(self.tables.commit()?)
    }

    pub(crate) fn query(&self) -> Query<'_, WriteTransaction> {
        Query { path: self.path, tables: &self.tables }
    }

    pub(crate) fn engine<E: Into<redb::Error>>(&self) -> impl FnOnce(E) -> StoreError + use<'a, E> {
        let path = self.path;
        move |error| StoreError::engine(path, error)
    }
}
