//! The hashes of compiled code, for the runtime that compiles it.

use super::{Depot, DepotError};
use mortise_model::Digest;
use std::collections::BTreeMap;

impl Depot {
    /// The hashes of all compiled files, by the runtime's keys. Blocks.
    ///
    /// # Errors
    /// [`DepotError::Store`].
    pub fn code_hashes(&self) -> Result<BTreeMap<String, Digest>, DepotError> {
        Ok(self.store.code_hashes()?)
    }

    /// Writes the hash of a compiled file in place of the one before of the same key: on disk when this returns. Blocks.
    ///
    /// # Errors
    /// [`DepotError::Store`].
    pub fn put_code_hash(&self, key: &str, hash: Digest) -> Result<(), DepotError> {
        Ok(self.store.write(|tx| tx.put_code_hash(key, &hash))?)
    }

    /// Forgets the hashes of compiled files that are gone. Blocks.
    ///
    /// # Errors
    /// [`DepotError::Store`].
    pub fn remove_code_hashes(&self, keys: &[String]) -> Result<(), DepotError> {
        Ok(self.store.write(|tx| keys.iter().try_for_each(|key| tx.remove_code_hash(key)))?)
    }
}
