//! Objects of a JetStream object store.

use crate::ObjectError;
use async_nats::Client;
use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind, ObjectStoreError, ObjectStoreErrorKind};
use async_nats::jetstream::object_store::{GetError, GetErrorKind};
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

/// How long reading an object may take in all.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(120);

/// Reads an object whole. The library compares it with the digest that the store has of it.
pub(super) async fn read(client: Client, bucket: &str, name: &str, bytes_max: u64) -> Result<Vec<u8>, ObjectError> {
    let reading = receive(client, bucket, name, bytes_max);
    timeout(TOTAL_TIMEOUT, reading).await.unwrap_or(Err(ObjectError::Timeout))
}

async fn receive(client: Client, bucket: &str, name: &str, bytes_max: u64) -> Result<Vec<u8>, ObjectError> {
    let absent = || ObjectError::NotFound { bucket: bucket.to_owned(), name: name.to_owned() };
    let store = jetstream::new(client).get_object_store(bucket).await;
    let store = store.map_err(|error| of_bucket(&error, absent))?;
    let object = store.get(name).await.map_err(|error| of_object(&error, absent))?;
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is more, whatever size the store tells.
    let read = object.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).await;
    read.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => ObjectError::Timeout,
        _ => ObjectError::Transport(error.to_string()),
    })?;
    if bytes.len() as u64 > bytes_max { Err(ObjectError::TooLarge { bytes_max }) } else { Ok(bytes) }
}

fn of_bucket(error: &ObjectStoreError, absent: impl Fn() -> ObjectError) -> ObjectError {
    if error.kind() == ObjectStoreErrorKind::InvalidBucketName {
        return absent();
    }
    let cause = error.source().and_then(|source| source.downcast_ref::<GetStreamError>());
    match cause.map(GetStreamError::kind) {
        Some(GetStreamErrorKind::JetStream(error)) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => absent(),
        Some(GetStreamErrorKind::Request) => ObjectError::Timeout,
        _ => ObjectError::Transport(error.to_string()),
    }
}

fn of_object(error: &GetError, absent: impl Fn() -> ObjectError) -> ObjectError {
    match error.kind() {
        GetErrorKind::NotFound | GetErrorKind::InvalidName => absent(),
        GetErrorKind::TimedOut => ObjectError::Timeout,
        _ => ObjectError::Transport(error.to_string()),
    }
}
