//! The open database, which is opened again after a failure of the disk.
//!
//! redb refuses everything after the first failure until it is opened again. A disk that was full for a minute must not
//! cost a restart.

use crate::database;
use crate::error::StoreError;
use crate::kind::META;
use crate::transaction::{LAST_CHANGE, Transaction};
use redb::{Database, Durability, ReadTransaction, ReadableDatabase as _, WriteTransaction};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[derive(Debug)]
pub(crate) struct Connection {
    path: PathBuf,
    /// Read-locked by whoever uses it, write-locked to close and open it. None after a failure, until it could be
    /// opened again. A panic cannot leave it half changed, so a poisoned lock is used on.
    database: RwLock<Option<Database>>,
    /// The mark of the next change. Each is different from the last one on disk and from every other of this process.
    next_mark: AtomicU64,
}

impl Connection {
    pub(crate) fn new(path: PathBuf, database: Database) -> Result<Self, StoreError> {
        let last = last_mark(&database).map_err(|error| StoreError::engine(&path, error))?;
        let next_mark = AtomicU64::new(last.unwrap_or(0).wrapping_add(1));
        Ok(Self { path, database: RwLock::new(Some(database)), next_mark })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (_open, tables) = self.begin(|database| Ok(database.begin_read()?))?;
        query(&tables)
    }

    pub(crate) fn write<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (open, tables) = self.begin(begin_write)?;
        let mut transaction = Transaction::new(&self.path, tables);
        let value = change(&mut transaction)?;
        if !transaction.changed {
            return Ok(value);
        }
        let mark = self.next_mark.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = transaction.commit(mark) {
            drop(open);
            return Err(self.settle(mark, error).into());
        }
        Ok(value)
    }

    /// Begins a transaction, on a database that is opened again if it has to be.
    fn begin<T>(
        &self,
        begin: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<(RwLockReadGuard<'_, Option<Database>>, T), StoreError> {
        let open = self.open()?;
        match open.as_ref().map(&begin) {
            Some(Ok(transaction)) => return Ok((open, transaction)),
            // An earlier failure of the disk, or of the library: the file itself was sound when it was opened.
            Some(Err(redb::Error::PreviousIo | redb::Error::Corrupted(_) | redb::Error::DatabaseClosed)) | None => {}
            Some(Err(error)) => return Err(StoreError::engine(&self.path, error)),
        }
        drop(open);
        *self.exclusive() = None;
        let open = self.open()?;
        let database = open.as_ref().ok_or(redb::Error::DatabaseClosed);
        let transaction = database.and_then(begin).map_err(|error| StoreError::engine(&self.path, error))?;
        Ok((open, transaction))
    }

    fn open(&self) -> Result<RwLockReadGuard<'_, Option<Database>>, StoreError> {
        let open = self.database.read().unwrap_or_else(PoisonError::into_inner);
        if open.is_some() {
            return Ok(open);
        }
        drop(open);
        let mut closed = self.exclusive();
        if closed.is_none() {
            *closed = Some(database::reopen(&self.path)?);
        }
        Ok(RwLockWriteGuard::downgrade(closed))
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, Option<Database>> {
        self.database.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a commit that failed came to: nothing, or nobody can say. No other change can have come between, since redb
    /// refuses all after a failure of the disk; and after any other failure nothing was made.
    fn settle(&self, mark: u64, error: redb::Error) -> StoreError {
        let error = StoreError::engine(&self.path, error);
        let mut database = self.exclusive();
        // It has to be closed before it can be opened.
        *database = None;
        let last = database::reopen(&self.path).and_then(|reopened| {
            last_mark(database.insert(reopened)).map_err(|error| StoreError::engine(&self.path, error))
        });
        let in_doubt = |source| StoreError::InDoubt { path: self.path.clone(), source: Box::new(source) };
        match last {
            Ok(last) if last != Some(mark) => error,
            // It can be read, and after a sync that failed that does not mean that it is on disk.
            Ok(_) => in_doubt(error),
            Err(source) => in_doubt(source),
        }
    }
}

/// Everything is on disk when the commit returns.
fn begin_write(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut tables = database.begin_write()?;
    tables.set_durability(Durability::Immediate)?;
    Ok(tables)
}

fn last_mark(database: &Database) -> Result<Option<u64>, redb::Error> {
    let mark = database.begin_read()?.open_table(META)?.get(LAST_CHANGE)?;
    Ok(mark.map(|mark| mark.value()))
}
