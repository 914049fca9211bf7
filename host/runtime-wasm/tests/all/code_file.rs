//! The hashes of compiled code in a file, so that a cache can be found again by the next process.

use mortise_model::Digest;
use mortise_runtime_wasm::{CacheConfig, CodeHashError, CodeHashes};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A cache in `dir`, and its hashes beside it.
pub(crate) fn cache_in(dir: &Path) -> CacheConfig {
    let file = dir.with_extension("hashes");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let hashes = pairs.map(|(key, hash)| (key.to_owned(), Digest::parse(hash).unwrap())).collect();
    CacheConfig { dir: dir.to_owned(), hashes: Arc::new(CodeFile { file, hashes: Mutex::new(hashes) }) }
}

#[derive(Debug)]
struct CodeFile {
    file: PathBuf,
    hashes: Mutex<BTreeMap<String, Digest>>,
}

impl CodeFile {
    fn write(&self, change: impl FnOnce(&mut BTreeMap<String, Digest>)) {
        let mut hashes = self.hashes.lock().unwrap();
        change(&mut hashes);
        let text: String = hashes.iter().map(|(key, hash)| format!("{key} {hash}\n")).collect();
        std::fs::write(&self.file, text).unwrap();
    }
}

impl CodeHashes for CodeFile {
    fn all(&self) -> Result<Vec<(String, Digest)>, CodeHashError> {
        Ok(self.hashes.lock().unwrap().clone().into_iter().collect())
    }

    fn put(&self, key: &str, hash: Digest) -> Result<(), CodeHashError> {
        self.write(|hashes| {
            hashes.insert(key.to_owned(), hash);
        });
        Ok(())
    }

    fn remove(&self, keys: &[String]) -> Result<(), CodeHashError> {
        self.write(|hashes| hashes.retain(|key, _| !keys.contains(key)));
        Ok(())
    }
}
