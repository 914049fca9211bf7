//! What the runtime's cache of compiled code is told by, in the state store.

use mortise_manage::Depot;
use mortise_model::Digest;
use mortise_runtime_wasm::{CodeHashError, CodeHashes};

/// The hashes of compiled code, among the host's records.
#[derive(Debug)]
pub(crate) struct CompiledCode(pub(crate) Depot);

impl CodeHashes for CompiledCode {
    fn all(&self) -> Result<Vec<(String, Digest)>, CodeHashError> {
        Ok(self.0.code_hashes()?.into_iter().collect())
    }

    fn put(&self, key: &str, hash: Digest) -> Result<(), CodeHashError> {
        Ok(self.0.put_code_hash(key, hash)?)
    }

    fn remove(&self, keys: &[String]) -> Result<(), CodeHashError> {
        Ok(self.0.remove_code_hashes(keys)?)
    }
}
