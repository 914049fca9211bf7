//! The handle.

use crate::connection::Connection;
use crate::database;
use crate::error::StoreError;
use crate::kind::{CodeHashes, Downloads, Generations, Grants, Names, Operations, Plugins, Settings};
use crate::query::Query;
use crate::record::{
    DownloadRecord, GenerationRecord, GrantRecord, NameClaims, OperationKey, OperationRecord, PluginRecord,
};
use crate::repair::{self, OpenReport};
use crate::transaction::Transaction;
use mortise_model::{Digest, Json, PluginId};
use redb::ReadTransaction;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const FILE: &str = "state.redb";

/// The state store. Clones share it; the last one closes it when it is dropped.
///
/// Everything blocks, on the disk and on other changes: call from a thread that may. Reads see the last committed
/// change and wait for nobody. A failure of the disk fails the call and not the store: the next call opens it again.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    report: OpenReport,
}

impl Store {
    /// Opens `<state_dir>/state.redb`, or makes it with mode 0600. `state_dir` must exist. Blocks: the whole file is
    /// read and checked, and after a crash repaired.
    ///
    /// What cannot be read is put aside and never keeps the host from starting; [`Store::report`] says what it was.
    ///
    /// # Errors
    /// [`StoreError`]: the file is in use, of a later format, no file, or the disk refuses.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join(FILE);
        let (database, set_aside) = database::open_or_create(&path)?;
        let connection = Connection::new(path, database)?;
        let report = OpenReport { set_aside, ..repair::repair(&connection)? };
        Ok(Self { inner: Arc::new(Inner { connection, report }) })
    }

    /// What was found when it was opened.
    #[must_use]
    pub fn report(&self) -> &OpenReport {
        &self.inner.report
    }

    /// Makes a change: all of it if `change` returns `Ok`, nothing if it returns an error. It is on disk when this
    /// returns. Changes of several threads follow one another. Blocks; `change` must not use the store itself, which
    /// would wait for its own end.
    ///
    /// # Errors
    /// What `change` returns, or [`StoreError`]. Only after [`StoreError::InDoubt`] is it not known whether the change
    /// was made.
    pub fn write<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.inner.connection.write(change)
    }

    /// A plugin's record. Blocks.
    ///
    /// # Errors
    /// [`StoreError::CorruptRecord`], or the store cannot be read.
    pub fn plugin(&self, id: &PluginId) -> Result<Option<PluginRecord>, StoreError> {
        self.query(|query| query.get::<Plugins>(id))
    }

    /// Every plugin's record that can be decoded. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn plugins(&self) -> Result<BTreeMap<PluginId, PluginRecord>, StoreError> {
        self.query(|query| Ok(query.list::<Plugins>()?.into_iter().collect()))
    }

    /// A generation's record. Blocks.
    ///
    /// # Errors
    /// [`StoreError::CorruptRecord`], or the store cannot be read.
    pub fn generation(&self, id: &PluginId, number: u64) -> Result<Option<GenerationRecord>, StoreError> {
        self.query(|query| query.get::<Generations>(&(id.clone(), number)))
    }

    /// Every generation's record of one plugin that can be decoded, by number. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn generations(&self, id: &PluginId) -> Result<BTreeMap<u64, GenerationRecord>, StoreError> {
        self.query(|query| query.generations(id))
    }

    /// Who claims each name. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn names(&self) -> Result<NameClaims, StoreError> {
        self.query(|query| Ok(query.list::<Names>()?.into_iter().collect()))
    }

    /// An operation. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn operation(&self, key: &OperationKey) -> Result<Option<OperationRecord>, StoreError> {
        let operations = self.operations()?;
        Ok(operations.into_iter().find_map(|(stored, record)| (stored == *key).then_some(record)))
    }

    /// Every operation that can be decoded, the one that began last first. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn operations(&self) -> Result<Vec<(OperationKey, OperationRecord)>, StoreError> {
        let operations = self.query(|query| query.list::<Operations>())?;
        Ok(operations.into_iter().rev().map(|((_, key), record)| (key, record)).collect())
    }

    /// What every plugin was granted, where that can be decoded. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn grants(&self) -> Result<BTreeMap<PluginId, Vec<GrantRecord>>, StoreError> {
        self.query(|query| Ok(query.list::<Grants>()?.into_iter().collect()))
    }

    /// The digest of a compiled file. Blocks.
    ///
    /// # Errors
    /// [`StoreError::CorruptRecord`], or the store cannot be read.
    pub fn code_hash(&self, key: &str) -> Result<Option<Digest>, StoreError> {
        Ok(self.query(|query| query.get::<CodeHashes>(&key.to_owned()))?.map(|hash| hash.0))
    }

    /// The digests of all compiled files, by code key. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn code_hashes(&self) -> Result<BTreeMap<String, Digest>, StoreError> {
        let hashes = self.query(|query| query.list::<CodeHashes>())?;
        Ok(hashes.into_iter().map(|(key, hash)| (key, hash.0)).collect())
    }

    /// What is remembered of the last download of a URL, under the name that it was written under. Blocks.
    ///
    /// # Errors
    /// [`StoreError::CorruptRecord`], or the store cannot be read.
    pub fn download(&self, url: &str) -> Result<Option<DownloadRecord>, StoreError> {
        self.query(|query| query.get::<Downloads>(&url.to_owned()))
    }

    /// What a plugin keeps: every key and value, by key. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn state(&self, id: &PluginId) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.query(|query| query.state(id))
    }

    /// Which plugins keep something. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn state_owners(&self) -> Result<Vec<PluginId>, StoreError> {
        let owners = self.query(|query| query.state_owners())?;
        Ok(owners.into_iter().filter_map(|id| PluginId::new(id).ok()).collect())
    }

    /// A setting. Blocks.
    ///
    /// # Errors
    /// [`StoreError::CorruptRecord`], or the store cannot be read.
    pub fn setting(&self, key: &str) -> Result<Option<Json>, StoreError> {
        Ok(self.query(|query| query.get::<Settings>(&key.to_owned()))?.map(|setting| setting.0))
    }

    /// Every setting. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn settings(&self) -> Result<BTreeMap<String, Json>, StoreError> {
        let settings = self.query(|query| query.list::<Settings>())?;
        Ok(settings.into_iter().map(|(key, setting)| (key, setting.0)).collect())
    }

    fn query<T>(
        &self,
        query: impl FnOnce(&Query<'_, ReadTransaction>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = &self.inner.connection;
        connection.read(|tables| query(&Query { path: connection.path(), tables }))
    }
}
