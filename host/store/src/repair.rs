//! What is put right when the store is opened.

use crate::codec;
use crate::connection::Connection;
use crate::database::make_tables;
use crate::error::StoreError;
use crate::kind::{
    CodeHashes, Downloads, Generations, Grants, KeyOf, Kind, Names, Numbers, Operations, Plugins, QUARANTINE, Settings,
};
use crate::record::{OperationKey, OperationStatus};
use crate::transaction::Transaction;
use redb::{ReadableTable as _, ReadableTableMetadata as _};
use std::path::PathBuf;

/// How many quarantined records are kept. Beyond it the oldest goes.
const QUARANTINED_MAX: u64 = 1024;

/// What was found when the store was opened, for the host to log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The file could not be read: an empty store took its place.
    pub set_aside: Option<SetAside>,
    /// Records that could not be decoded and count as absent from now on. Their bytes are kept in the store.
    pub corrupt: Vec<CorruptRecord>,
    /// Operations that were under way when the host last ended, oldest first.
    pub interrupted: Vec<OperationKey>,
}

/// A file that is no state store, or no longer. Nothing of it was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// A record that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorruptRecord {
    /// Its table.
    pub table: &'static str,
    /// Its key as text.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Adds the tables that an earlier build did not know, moves what cannot be decoded to the quarantine, and marks what was
/// under way as interrupted. Changes nothing where there is nothing of any of them.
pub(crate) fn repair(connection: &Connection) -> Result<OpenReport, StoreError> {
    connection.write(|change| {
        let mut report = OpenReport::default();
        add_tables(change)?;
        quarantine::<Plugins>(change, &mut report)?;
        quarantine::<Generations>(change, &mut report)?;
        quarantine::<Numbers>(change, &mut report)?;
        quarantine::<Names>(change, &mut report)?;
        quarantine::<Operations>(change, &mut report)?;
        quarantine::<CodeHashes>(change, &mut report)?;
        quarantine::<Grants>(change, &mut report)?;
        quarantine::<Downloads>(change, &mut report)?;
        quarantine::<Settings>(change, &mut report)?;
        for (id, mut record) in change.query().list::<Operations>()? {
            if record.status == OperationStatus::Running {
                record.status = OperationStatus::Interrupted;
                change.put::<Operations>(&id, &record, usize::MAX)?;
                report.interrupted.push(id.1);
            }
        }
        Ok(report)
    })
}

fn add_tables(change: &mut Transaction<'_>) -> Result<(), StoreError> {
    let before = change.tables.list_tables().map_err(change.engine())?.count();
    make_tables(&change.tables).map_err(change.engine())?;
    change.changed |= change.tables.list_tables().map_err(change.engine())?.count() != before;
    Ok(())
}

fn quarantine<K: Kind>(change: &mut Transaction<'_>, report: &mut OpenReport) -> Result<(), StoreError> {
    let mut found = Vec::new();
    let mut table = change.tables.open_table(K::TABLE).map_err(change.engine())?;
    let keep = |key: KeyOf<'_, K>, bytes: &[u8]| {
        let text = K::text(&key);
        let decoded = K::id(key).and_then(|_| codec::decode::<K::Record>(bytes));
        let Err(reason) = decoded else { return true };
        found.push((CorruptRecord { table: K::NAME, key: text, reason }, bytes.to_vec()));
        false
    };
    table.retain(keep).map_err(change.engine())?;
    drop(table);
    if found.is_empty() {
        return Ok(());
    }
    change.changed = true;
    let mut quarantined = change.tables.open_table(QUARANTINE).map_err(change.engine())?;
    let last = quarantined.last().map_err(change.engine())?.map(|(number, _)| number.value());
    for (number, (record, bytes)) in (last.map_or(0, |last| last.saturating_add(1))..).zip(found) {
        let row = (record.table, record.key.as_str(), bytes.as_slice(), record.reason.as_str());
        quarantined.insert(number, row).map_err(change.engine())?;
        report.corrupt.push(record);
    }
    while quarantined.len().map_err(change.engine())? > QUARANTINED_MAX {
        quarantined.pop_first().map_err(change.engine())?;
    }
    Ok(())
}
