//! Compiled code on disk. Ours alone: nothing that comes with a plugin is ever read from here, and a miss is never an
//! error.
//!
//! ```text
//! <dir>/<compiled digest>.cwasm       a compiled file, named by its content
//! ```
//!
//! Which file is the compiled form of which code is told by [`CodeHashes`] and by nothing in the folder, so that whoever
//! can write there cannot have the host run anything.

#[cfg(test)]
mod tests;

use crate::binary::Binary;
use crate::engine::compatibility;
use crate::{CodeHashError, CodeHashes, WasmError};
use mortise_model::Digest;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use wasmtime::component::Component;
use wasmtime::{Engine, Module, Precompiled};

/// How much the folder may hold; the oldest files go first.
const CACHE_BYTES_MAX: u64 = 1 << 30;

const PARTIAL_PREFIX: &str = ".partial-";

/// The folder of compiled code.
#[derive(Debug)]
pub(crate) struct CodeCache {
    dir: PathBuf,
    hashes: Arc<dyn CodeHashes>,
    /// What `hashes` holds.
    known: Mutex<HashMap<String, Digest>>,
    /// Compiled files whose content was found to match their name. Once in a process is enough: the folder is ours.
    verified: Mutex<HashSet<Digest>>,
    /// How much the folder may hold.
    bytes_max: u64,
    /// How much it holds. A file written twice counts twice until the next sweep. Held while files are written: a
    /// sweep would take what another thread has half written for a leftover.
    bytes: Mutex<u64>,
}

impl CodeCache {
    /// Opens the folder, creates it where needed, bars it to others and sweeps it.
    pub(crate) fn open(dir: PathBuf, hashes: Arc<dyn CodeHashes>) -> Result<Self, WasmError> {
        Self::open_bounded(dir, hashes, CACHE_BYTES_MAX)
    }

    fn open_bounded(dir: PathBuf, hashes: Arc<dyn CodeHashes>, bytes_max: u64) -> Result<Self, WasmError> {
        let failed = |source| WasmError::CacheDir { path: dir.clone(), source };
        private_dir(&dir).map_err(failed)?;
        let known: HashMap<String, Digest> = hashes.all().map_err(WasmError::CodeHashes)?.into_iter().collect();
        let bytes = sweep(&dir, bytes_max, &known.values().copied().collect()).map_err(failed)?;
        let known = Mutex::new(known);
        let cache = Self { dir, hashes, known, verified: Mutex::default(), bytes_max, bytes: Mutex::new(bytes) };
        cache.forget_lost();
        Ok(cache)
    }

    /// The compiled form of the code with that digest. Blocks on the disk.
    pub(crate) fn load(&self, engine: &Engine, code: Digest) -> Option<Binary> {
        let key = key(engine, code);
        let compiled = self.known().get(&key).copied()?;
        let path = self.compiled(compiled);
        if !path.exists() {
            // Swept, or somebody made room.
            self.forget(vec![key]);
            return None;
        }
        match self.verify(&path, compiled).and_then(|()| deserialise(engine, &path)) {
            Ok(binary) => Some(binary),
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "cached code is unusable and will be compiled anew");
                self.verified().remove(&compiled);
                remove(&path);
                self.forget(vec![key]);
                None
            }
        }
    }

    /// Keeps the compiled form, and removes the oldest files where there would be too much. A failure costs a
    /// compilation at the next start and is logged. Blocks on the disk.
    pub(crate) fn store(&self, code: Digest, binary: &Binary) {
        let compiled = match binary.serialize() {
            Ok(compiled) => compiled,
            Err(error) => return tracing::warn!(%error, "compiled code cannot be serialised"),
        };
        if let Err(error) = self.write(key(binary.engine(), code), &compiled) {
            tracing::warn!(%error, dir = %self.dir.display(), "compiled code cannot be cached");
        }
    }

    fn write(&self, key: String, compiled: &[u8]) -> Result<(), CodeHashError> {
        let size = compiled.len() as u64;
        if size > self.bytes_max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has {size} bytes")).into());
        }
        let digest = Digest::of(compiled);
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.saturating_add(size) > self.bytes_max {
            // Some more than has to go, so that the folder is not read for each file from here on.
            let known = self.known().values().copied().collect();
            *bytes = sweep(&self.dir, (self.bytes_max - size).min(self.bytes_max / 4 * 3), &known)?;
            self.verified().retain(|compiled| self.compiled(*compiled).exists());
            self.forget_lost();
        }
        *bytes = bytes.saturating_add(size);
        write_atomically(&self.dir, &self.compiled(digest), compiled)?;
        // Last: without it the file is not looked at, and swept at the next start.
        self.hashes.put(&key, digest)?;
        self.known().insert(key, digest);
        self.verified().insert(digest);
        Ok(())
    }

    fn verify(&self, path: &Path, digest: Digest) -> Result<(), String> {
        if self.verified().contains(&digest) {
            return Ok(());
        }
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        let actual = Digest::of(&bytes);
        if actual != digest {
            return Err(format!("digest mismatch: expected {digest}, got {actual}"));
        }
        self.verified().insert(digest);
        Ok(())
    }

    /// Forgets what the folder holds no longer.
    fn forget_lost(&self) {
        let known = self.known();
        let lost = known.iter().filter(|(_, compiled)| !self.compiled(**compiled).exists());
        let lost: Vec<String> = lost.map(|(key, _)| key.clone()).collect();
        drop(known);
        if !lost.is_empty() {
            self.forget(lost);
        }
    }

    fn forget(&self, keys: Vec<String>) {
        let mut known = self.known();
        for key in &keys {
            known.remove(key);
        }
        drop(known);
        if let Err(error) = self.hashes.remove(&keys) {
            // A hash without its file is forgotten at the next start.
            tracing::warn!(%error, "the hashes of compiled files that are gone cannot be forgotten");
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Digest>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verified(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compiled(&self, compiled: Digest) -> PathBuf {
        self.dir.join(format!("{}.cwasm", compiled.hex()))
    }
}

/// Code compiled by another version, with other settings or for another CPU has another key.
fn key(engine: &Engine, code: Digest) -> String {
    format!("{}-{:016x}", code.hex(), compatibility(engine))
}

/// The one place where bytes become machine code.
pub(crate) fn deserialise(engine: &Engine, path: &Path) -> Result<Binary, String> {
    let precompiled = Engine::detect_precompiled_file(path).map_err(|error| format!("{error:#}"))?;
    // SAFETY: wasmtime asks for a file that it wrote itself and that nobody alters while it is mapped. There are two kinds.
    // A runner's compiled code is a part of the release, as this program is: the release's own list names its digest,
    // which was compared, and whoever can write that folder could replace the program as well. In the cache only
    // `CodeCache::store` writes such files, from what `Binary::serialize` gave, and notes the digest of their content
    // outside the folder; the content was compared with that digest in this process, so a file that somebody else put
    // there or altered does not come this far. The folder is closed to other users (0700), a file's name is taken by
    // rename and never written again, and removing a mapped file leaves the mapping intact. Code of another engine has
    // another key, and wasmtime refuses it as well.
    #[expect(unsafe_code, reason = "compiled code is loaded here and nowhere else")]
    let binary = unsafe {
        match precompiled {
            Some(Precompiled::Component) => Component::deserialize_file(engine, path).map(Binary::Component),
            Some(Precompiled::Module) => Module::deserialize_file(engine, path).map(Binary::Module),
            None => return Err("it is no compiled code".to_owned()),
        }
    };
    binary.map_err(|error| format!("{error:#}"))
}

fn write_atomically(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(PARTIAL_PREFIX).tempfile_in(dir)?;
    file.write_all(bytes)?;
    // Not synced: after a power cut a torn file fails its digest and is compiled anew.
    file.persist(path)?;
    Ok(())
}

fn private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
        builder.mode(0o700).create(dir)?;
        let metadata = fs::metadata(dir)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the folder belongs to another user"));
        }
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
        // Others could write here, and may hold files open that they wrote.
        if metadata.mode() & 0o022 != 0 {
            tracing::warn!(dir = %dir.display(), "the code cache was open to others and is emptied");
            sweep(dir, 0, &HashSet::new())?;
        }
        Ok(())
    }
    #[cfg(not(unix))]
    builder.create(dir)
}

/// Removes what a crash left half written, compiled files that are not `known`, and the oldest of the others above
/// `bytes_max`. Returns how many bytes are left. Files that the cache would not write are none of its business.
fn sweep(dir: &Path, bytes_max: u64, known: &HashSet<Digest>) -> io::Result<u64> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PARTIAL_PREFIX) {
            remove(&entry.path());
            continue;
        }
        let Some(compiled) = compiled_digest(&name) else { continue };
        if !known.contains(&compiled) {
            remove(&entry.path());
            continue;
        }
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            files.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), entry.path()));
        }
    }
    files.sort_unstable_by(|a, b| b.cmp(a));
    let (mut kept, mut full): (u64, bool) = (0, false);
    for (_, bytes, path) in files {
        full = full || kept.saturating_add(bytes) > bytes_max;
        if full {
            remove(&path);
        } else {
            kept += bytes;
        }
    }
    Ok(kept)
}

/// Which compiled file has that name, if the cache would give it to one.
fn compiled_digest(name: &str) -> Option<Digest> {
    let hex = name.strip_suffix(".cwasm")?;
    Digest::parse(hex).ok().filter(|digest| digest.hex() == hex)
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "failed to remove a file of the code cache");
    }
}
