//! Records and folders for all tests.

use jiff::Timestamp;
use mortise_model::{Digest, FunctionName, Json, PluginId, Source};
use mortise_store::{Desired, GenerationRecord, OperationKey, PluginRecord, Store, StoreError};
use redb::{Database, TableDefinition};
use std::path::Path;
use tempfile::TempDir;

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn open(folder: &Path) -> Store {
    let store = Store::open(folder).unwrap();
    assert_eq!(*store.report(), mortise_store::OpenReport::default());
    store
}

pub(crate) fn id(text: &str) -> PluginId {
    PluginId::new(text).unwrap()
}

pub(crate) fn name(text: &str) -> FunctionName {
    FunctionName::new(text).unwrap()
}

pub(crate) fn json(text: &str) -> Json {
    Json::new(text.to_owned()).unwrap()
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub(crate) fn key(request: &str) -> OperationKey {
    OperationKey { request: request.to_owned(), method: "install_plugin".to_owned() }
}

pub(crate) fn loaded(current: u64) -> PluginRecord {
    PluginRecord { current: Some(current), working_copy: Some(current), ..PluginRecord::new(Desired::Loaded) }
}

pub(crate) fn generation(version: &str) -> GenerationRecord {
    GenerationRecord {
        version: Some(version.to_owned()),
        tree: Digest::of(version.as_bytes()),
        archive: None,
        source: Source::Bundle,
        signer: None,
        installed_at: at(0),
        manifest: json(r#"{"id": "a"}"#),
        description: None,
    }
}

pub(crate) fn put_plugin(store: &Store, plugin: &str, record: &PluginRecord) {
    store.write(|change| change.put_plugin(&id(plugin), record)).unwrap();
}

pub(crate) fn put_setting(store: &Store, key: &str, value: &str) -> Result<(), StoreError> {
    store.write(|change| change.put_setting(key, &json(value)))
}

/// Writes bytes as no build of ours would. The store must be closed.
pub(crate) fn put_raw(folder: &Path, table: &str, key: &str, bytes: &[u8]) {
    let database = Database::open(folder.join("state.redb")).unwrap();
    let tables = database.begin_write().unwrap();
    let table = TableDefinition::<&str, &[u8]>::new(table);
    tables.open_table(table).unwrap().insert(key, bytes).unwrap();
    tables.commit().unwrap();
}
