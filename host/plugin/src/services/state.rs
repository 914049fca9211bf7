//! The plugin's durable key-value.

use super::Services;
use crate::state::check_key;
use mortise_model::{Failure, Json, Permission};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is said of a plugin that may not.
const WHAT: &str = "keep state";

impl Services {
    /// The value of a key of the plugin's state; none where it has none. Only a grant for a single time takes it to the
    /// disk, here and in the functions below. Dropped, that grant may be used up.
    ///
    /// # Errors
    /// `permission_denied` when the plugin is not granted `state`, `invalid_key` for one that is empty, longer than 256
    /// bytes or holds a control character, `state_migrated` once another version serves for which the state was migrated.
    pub async fn state_get(&self, key: &str) -> Result<Option<Arc<[u8]>>, Failure> {
        check_key(key)?;
        self.permit_now(&Permission::State, WHAT).await?;
        count(&self.account.state.reads);
        self.state.get(key)
    }

    /// Writes the value of a key: others see it at once, if the generation is active, and it is on disk a moment later.
    ///
    /// # Errors
    /// As [`state_get`](Self::state_get); `state_full` where the plugin's state would have more than `limits.state`, and
    /// nothing is changed then; `state_migrating` while a version that has migrated it is about to serve.
    pub async fn state_set(&self, key: &str, value: &[u8]) -> Result<(), Failure> {
        self.state_put(key, Some(value)).await
    }

    /// Removes a key. One that is not there is no error.
    ///
    /// # Errors
    /// As [`state_set`](Self::state_set).
    pub async fn state_delete(&self, key: &str) -> Result<(), Failure> {
        self.state_put(key, None).await
    }

    /// Adds to the number that a key holds as decimal text, 0 where there is none, and returns the sum. Nobody writes in between.
    ///
    /// # Errors
    /// As [`state_set`](Self::state_set); `not_a_number` where the key holds something else, or the sum is over 64 bits.
    pub async fn state_increment(&self, key: &str, delta: u64) -> Result<u64, Failure> {
        check_key(key)?;
        self.permit_now(&Permission::State, WHAT).await?;
        let mut sum = 0;
        let changed = self.state.change(key, self.limits().state, |value| {
            let text = value.map_or(Ok("0"), str::from_utf8);
            let number =
                text.ok().and_then(|text| text.parse::<u64>().ok()).and_then(|number| number.checked_add(delta));
            sum = number.ok_or_else(|| {
                let message = format!("the key `{key}` holds no decimal number that could have {delta} added");
                Failure::new("not_a_number", message)
            })?;
            Ok(Some(Arc::from(sum.to_string().as_bytes())))
        });
        self.count_write(&changed);
        changed.map(|()| sum)
    }

    /// The first `limit` keys that begin with `prefix` and come after `after`, in the order of their bytes; at most 1,000.
    ///
    /// # Errors
    /// As [`state_get`](Self::state_get), whatever the prefix.
    pub async fn state_keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Arc<str>>, Failure> {
        self.permit_now(&Permission::State, WHAT).await?;
        count(&self.account.state.reads);
        self.state.keys(prefix, after, limit)
    }

    /// Waits until what was written before is on disk. Cancel safe.
    ///
    /// # Errors
    /// `permission_denied` when the plugin is not granted `state`, `not_active` before the generation serves,
    /// `state_not_saved` when the disk refuses (what was written stays in memory, and is tried again), `stopped` once the
    /// plugin is uninstalled.
    pub async fn state_flush(&self) -> Result<(), Failure> {
        self.permit_now(&Permission::State, WHAT).await?;
        self.state.flush().await
    }

    /// What the `migrate` hook is given: from which version to which, as a JSON object; none where there is nothing to
    /// migrate. What an earlier run of the hook wrote is forgotten.
    #[must_use]
    pub fn migration(&self) -> Option<Json> {
        let [from, to] = self.state.migration()?;
        Some(Json::of(&json!({"from": from.as_ref(), "to": to.as_ref()})))
    }

    /// Notes that the `migrate` hook has run. Where what it had to migrate was changed meanwhile,
    /// [`migration`](Self::migration) asks for it once more, and nothing changes then.
    pub fn migrated(&self) {
        self.state.migrated();
    }

    async fn state_put(&self, key: &str, value: Option<&[u8]>) -> Result<(), Failure> {
        check_key(key)?;
        self.permit_now(&Permission::State, WHAT).await?;
        let put = self.state.put(key, value, self.limits().state);
        self.count_write(&put);
        put
    }

    fn count_write(&self, written: &Result<(), Failure>) {
        match written {
            Ok(()) => count(&self.account.state.writes),
            Err(failure) if failure.code == "state_full" => count(&self.account.state.refused),
            Err(_) => {}
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
