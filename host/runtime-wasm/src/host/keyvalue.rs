//! `wasi:keyvalue`: one bucket, which is the plugin's state, with its permission, its limit and what its generation sees.

use crate::bindings::keyvalue::Bucket;
use crate::bindings::keyvalue::wasi::keyvalue::store::{Error, Host, HostBucket, KeyResponse};
use crate::bindings::keyvalue::wasi::keyvalue::{atomics, batch};
use crate::view::HostView;
use mortise_model::Failure;
use std::collections::VecDeque;
use std::sync::Arc;
use wasmtime::component::Resource;

/// What the bucket is called; the empty name is the same one.
const DEFAULT: &str = "default";

/// Handles of the bucket that an instance may have at once.
const BUCKETS_MAX: usize = 1000;

/// Listings that may be gone on with; of more, those begun last.
const CURSORS_MAX: usize = 16;

/// Keys in one answer, and entries of one batch: nothing ends a batch halfway, and no other plugin runs meanwhile.
const PAGE: usize = 1000;

/// What an instance has open.
#[derive(Default)]
pub(crate) struct KeyValue {
    buckets: usize,
    /// Where listings go on, by the number that the guest was given.
    cursors: VecDeque<(u64, Arc<str>)>,
    next_cursor: u64,
}

impl Host for HostView {
    async fn open(&mut self, identifier: String) -> Result<Resource<Bucket>, Error> {
        if !identifier.is_empty() && identifier != DEFAULT {
            return Err(Error::NoSuchStore);
        }
        if self.keyvalue.buckets >= BUCKETS_MAX {
            return Err(Error::Other(format!(
                "the bucket is open {BUCKETS_MAX} times: drop handles that are not used"
            )));
        }
        self.keyvalue.buckets += 1;
        // There is one: its handles stand for nothing else.
        Ok(Resource::new_own(0))
    }
}

impl HostBucket for HostView {
    async fn get(&mut self, _: Resource<Bucket>, key: String) -> Result<Option<Vec<u8>>, Error> {
        self.read(&key).await
    }

    async fn set(&mut self, _: Resource<Bucket>, key: String, value: Vec<u8>) -> Result<(), Error> {
        self.put(key, value).await
    }

    async fn delete(&mut self, _: Resource<Bucket>, key: String) -> Result<(), Error> {
        let deleted = self.shared.services.state_delete(&key).await;
        deleted.map_err(|failure| self.error(failure))
    }

    async fn exists(&mut self, _: Resource<Bucket>, key: String) -> Result<bool, Error> {
        let value = self.shared.services.state_get(&key).await;
        value.map(|value| value.is_some()).map_err(|failure| self.error(failure))
    }

    async fn list_keys(&mut self, _: Resource<Bucket>, cursor: Option<u64>) -> Result<KeyResponse, Error> {
        let after = match cursor {
            None => None,
            Some(cursor) => {
                let known = self.keyvalue.cursors.iter().find(|(number, _)| *number == cursor);
                let unknown = || Error::Other(format!("there is no cursor {cursor}: begin the listing anew"));
                Some(known.map(|(_, key)| Arc::clone(key)).ok_or_else(unknown)?)
            }
        };
        let keys = self.shared.services.state_keys("", after.as_deref(), PAGE).await;
        let keys = keys.map_err(|failure| self.error(failure))?;
        let last = keys.last().filter(|_| keys.len() == PAGE);
        let cursor = last.map(|last| self.keyvalue.go_on_after(Arc::clone(last)));
        Ok(KeyResponse { keys: keys.iter().map(|key| key.as_ref().to_owned()).collect(), cursor })
    }

    async fn drop(&mut self, _: Resource<Bucket>) -> wasmtime::Result<()> {
        self.keyvalue.buckets -= 1;
        Ok(())
    }
}

impl atomics::Host for HostView {
    async fn increment(&mut self, _: Resource<Bucket>, key: String, delta: u64) -> Result<u64, Error> {
        let sum = self.shared.services.state_increment(&key, delta).await;
        sum.map_err(|failure| self.error(failure))
    }
}

impl batch::Host for HostView {
    async fn get_many(
        &mut self,
        _: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, Error> {
        check_batch(keys.len())?;
        let bytes_max = self.shared.entry_bytes_max();
        let (mut found, mut bytes) = (Vec::new(), 0);
        for key in keys {
            let value = self.read(&key).await?;
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            if bytes > bytes_max {
                let text =
                    format!("the values have more than {bytes_max} bytes, which this plugin can be given at once");
                return Err(Error::Other(text));
            }
            found.push(value.map(|value| (key, value)));
        }
        Ok(found)
    }

    async fn set_many(&mut self, _: Resource<Bucket>, entries: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        check_batch(entries.len())?;
        for (key, value) in entries {
            self.put(key, value).await?;
        }
        Ok(())
    }

    async fn delete_many(&mut self, _: Resource<Bucket>, keys: Vec<String>) -> Result<(), Error> {
        check_batch(keys.len())?;
        for key in keys {
            let deleted = self.shared.services.state_delete(&key).await;
            deleted.map_err(|failure| self.error(failure))?;
        }
        Ok(())
    }
}

fn check_batch(entries: usize) -> Result<(), Error> {
    if entries > PAGE {
        return Err(Error::Other(format!("the batch has {entries} entries, more than {PAGE}: make several of it")));
    }
    Ok(())
}

impl HostView {
    async fn read(&mut self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let value = self.shared.state_value(key).await;
        value.map_err(|failure| self.error(failure))
    }

    async fn put(&mut self, key: String, value: Vec<u8>) -> Result<(), Error> {
        let put = self.shared.set_state_value(&key, &value).await;
        put.map_err(|failure| self.error(failure))
    }

    /// The interface has no words for who is denied what: the plugin's log has them.
    fn error(&self, failure: Failure) -> Error {
        if failure.code == "permission_denied" {
            self.shared.services.log(tracing::Level::WARN, "wasi:keyvalue", &failure.message);
            return Error::AccessDenied;
        }
        Error::Other(format!("{}: {}", failure.code, failure.message))
    }
}

impl KeyValue {
    fn go_on_after(&mut self, key: Arc<str>) -> u64 {
        let cursor = self.next_cursor;
        self.next_cursor += 1;
        self.cursors.push_back((cursor, key));
        if self.cursors.len() > CURSORS_MAX {
            self.cursors.pop_front();
        }
        cursor
    }
}
