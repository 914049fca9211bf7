//! What the host remembers of compiled code outside the folder where that lies.

use mortise_model::Digest;
use std::fmt;

/// The hashes of compiled files, kept where whoever can write to the cache folder cannot: a compiled file that no hash
/// here names is never run. All methods block.
pub trait CodeHashes: fmt::Debug + Send + Sync {
    /// Every hash, with the key it was written under. Asked once, when the runtime is set up.
    ///
    /// # Errors
    /// They cannot be read.
    fn all(&self) -> Result<Vec<(String, Digest)>, CodeHashError>;

    /// Writes a hash, in place of the one before of the same key.
    ///
    /// # Errors
    /// It cannot be written; the compiled file then counts for nothing.
    fn put(&self, key: &str, hash: Digest) -> Result<(), CodeHashError>;

    /// Forgets hashes whose compiled files are gone.
    ///
    /// # Errors
    /// They cannot be forgotten.
    fn remove(&self, keys: &[String]) -> Result<(), CodeHashError>;
}

/// Why hashes cannot be read or written.
pub type CodeHashError = Box<dyn std::error::Error + Send + Sync>;
