//! Compiled code on disk. Ours alone: nothing that comes with a plugin is ever read from here, and a miss is never an
//! error.
//!
//! ```text
//! <dir>/<code digest>-<engine>.ref    the digest of the compiled file, written last
//! <dir>/<compiled digest>.cwasm       the compiled file, named by its content
//! ```

use crate::WasmError;
use mortise_model::Digest;
use std::collections::HashSet;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use wasmtime::Engine;
use wasmtime::component::Component;

/// How much the folder may hold; the oldest files go first.
const CACHE_BYTES_MAX: u64 = 1 << 30;

/// A reference file holds `sha256:` and 64 digits.
const REFERENCE_BYTES_MAX: u64 = 71;

const PARTIAL_PREFIX: &str = ".partial-";

/// The folder of compiled code, for one engine.
#[derive(Debug)]
pub(crate) struct CodeCache {
    dir: PathBuf,
    /// Code compiled by another version, with other settings or for another CPU has another name.
    engine: u64,
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
    pub(crate) fn open(dir: PathBuf, engine: u64) -> Result<Self, WasmError> {
        Self::open_bounded(dir, engine, CACHE_BYTES_MAX)
    }

    fn open_bounded(dir: PathBuf, engine: u64, bytes_max: u64) -> Result<Self, WasmError> {
        let failed = |source| WasmError::CacheDir { path: dir.clone(), source };
        private_dir(&dir).map_err(failed)?;
        let bytes = sweep(&dir, bytes_max).map_err(failed)?;
        Ok(Self { dir, engine, verified: Mutex::default(), bytes_max, bytes: Mutex::new(bytes) })
    }

    /// The compiled form of the code with that digest. Blocks on the disk.
    pub(crate) fn load(&self, engine: &Engine, code: Digest) -> Option<Component> {
        let reference = self.reference(code);
        let compiled = read_reference(&reference)?;
        let path = self.compiled(compiled);
        if !path.exists() {
            // Swept, and its reference is younger.
            remove(&reference);
            return None;
        }
        match self.verify(&path, compiled).and_then(|()| deserialise(engine, &path)) {
            Ok(component) => Some(component),
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "cached code is unusable and will be compiled anew");
                self.verified().remove(&compiled);
                for path in [&reference, &path] {
                    remove(path);
                }
                None
            }
        }
    }

    /// Keeps the compiled form, and removes the oldest files where there would be too much. A failure costs a
    /// compilation at the next start and is logged. Blocks on the disk.
    pub(crate) fn store(&self, code: Digest, component: &Component) {
        let compiled = match component.serialize() {
            Ok(compiled) => compiled,
            Err(error) => return tracing::warn!(%error, "compiled code cannot be serialised"),
        };
        if let Err(error) = self.write(code, &compiled) {
            tracing::warn!(%error, dir = %self.dir.display(), "compiled code cannot be cached");
        }
    }

    fn write(&self, code: Digest, compiled: &[u8]) -> io::Result<()> {
        let size = compiled.len() as u64 + REFERENCE_BYTES_MAX;
        if size > self.bytes_max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has {size} bytes")));
        }
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.saturating_add(size) > self.bytes_max {
            // Some more than has to go, so that the folder is not read for each file from here on.
            *bytes = sweep(&self.dir, (self.bytes_max - size).min(self.bytes_max / 4 * 3))?;
            self.verified().retain(|compiled| self.compiled(*compiled).exists());
        }
        *bytes = bytes.saturating_add(size);
        let digest = Digest::of(compiled);
        // The reference comes last: without it the compiled file is not looked at.
        write_atomically(&self.dir, &self.compiled(digest), compiled)?;
        write_atomically(&self.dir, &self.reference(code), digest.to_string().as_bytes())?;
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

    fn verified(&self) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reference(&self, code: Digest) -> PathBuf {
        self.dir.join(format!("{}-{:016x}.ref", code.hex(), self.engine))
    }

    fn compiled(&self, compiled: Digest) -> PathBuf {
        self.dir.join(format!("{}.cwasm", compiled.hex()))
    }
}

/// The one place where bytes become machine code.
fn deserialise(engine: &Engine, path: &Path) -> Result<Component, String> {
    // SAFETY: wasmtime asks for a file that it wrote itself and that nobody alters while it is mapped. Only
    // `CodeCache::store` writes such files, from what `Component::serialize` gave, under the digest of their content;
    // that digest was checked in this process. The folder is closed to other users (0700), a file's name is taken by
    // rename and never written again, and removing a mapped file leaves the mapping intact. Code of another engine has
    // another reference, and wasmtime refuses it as well.
    #[expect(unsafe_code, reason = "compiled code is loaded here and nowhere else")]
    unsafe { Component::deserialize_file(engine, path) }.map_err(|error| format!("{error:#}"))
}

fn read_reference(path: &Path) -> Option<Digest> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(REFERENCE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Digest::parse(&text).ok()
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
        // Others could write here, so a file's name proves nothing.
        if metadata.mode() & 0o022 != 0 {
            tracing::warn!(dir = %dir.display(), "the code cache was open to others and is emptied");
            sweep(dir, 0)?;
        }
        Ok(())
    }
    #[cfg(not(unix))]
    builder.create(dir)
}

/// Removes what a crash left half written, and the oldest files above `bytes_max`. Returns how many bytes are left.
/// Files that the cache would not write are none of its business.
fn sweep(dir: &Path, bytes_max: u64) -> io::Result<u64> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PARTIAL_PREFIX) {
            remove(&entry.path());
            continue;
        }
        if !is_own_name(&name) {
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

/// Whether the cache would give a file that name.
fn is_own_name(name: &str) -> bool {
    let is_hex = |text: &str, digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    match name.rsplit_once('.') {
        Some((compiled, "cwasm")) => is_hex(compiled, 64),
        Some((reference, "ref")) => {
            reference.split_once('-').is_some_and(|(code, engine)| is_hex(code, 64) && is_hex(engine, 16))
        }
        _ => false,
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "failed to remove a file of the code cache");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_COMPONENT: &str = "(component)";

    struct Fixture {
        dir: tempfile::TempDir,
        engine: Engine,
        code: Digest,
    }

    impl Fixture {
        /// A cache that holds one component.
        fn new() -> Self {
            let fixture =
                Self { dir: tempfile::tempdir().unwrap(), engine: Engine::default(), code: Digest::of(b"code") };
            let component = Component::new(&fixture.engine, wat::parse_str(EMPTY_COMPONENT).unwrap()).unwrap();
            fixture.open().store(fixture.code, &component);
            assert!(fixture.hit());
            fixture
        }

        /// As after a restart: nothing is verified yet.
        fn open(&self) -> CodeCache {
            CodeCache::open(self.dir.path().join("cache"), 1).unwrap()
        }

        fn hit(&self) -> bool {
            self.open().load(&self.engine, self.code).is_some()
        }

        fn file(&self, extension: &str) -> PathBuf {
            let mut files = fs::read_dir(self.dir.path().join("cache")).unwrap().map(|entry| entry.unwrap().path());
            files.find(|path| path.extension().is_some_and(|e| e == extension)).unwrap()
        }

        fn files(&self) -> usize {
            fs::read_dir(self.dir.path().join("cache")).unwrap().count()
        }
    }

    #[test]
    fn damaged_compiled_code_is_a_miss_and_removed() {
        for what in ["truncated", "flipped", "emptied"] {
            let fixture = Fixture::new();
            let path = fixture.file("cwasm");
            let mut bytes = fs::read(&path).unwrap();
            match what {
                "truncated" => bytes.truncate(bytes.len() / 2),
                "flipped" => *bytes.last_mut().unwrap() ^= 1,
                _ => bytes.clear(),
            }
            fs::write(&path, bytes).unwrap();
            assert!(!fixture.hit(), "{what}");
            assert_eq!(fixture.files(), 0, "{what}");
        }
    }

    #[test]
    fn a_damaged_or_lying_reference_is_a_miss() {
        for reference in ["", "nonsense", &Digest::of(b"other").to_string()] {
            let fixture = Fixture::new();
            fs::write(fixture.file("ref"), reference).unwrap();
            assert!(!fixture.hit(), "{reference}");
        }
    }

    #[test]
    fn a_foreign_file_with_a_matching_digest_is_still_refused_by_wasmtime() {
        let fixture = Fixture::new();
        let foreign = b"no compiled code at all";
        let path = fixture.dir.path().join("cache").join(format!("{}.cwasm", Digest::of(foreign).hex()));
        fs::write(path, foreign).unwrap();
        fs::write(fixture.file("ref"), Digest::of(foreign).to_string()).unwrap();
        assert!(!fixture.hit());
    }

    #[test]
    fn another_engines_code_is_not_found() {
        let fixture = Fixture::new();
        let other = CodeCache::open(fixture.dir.path().join("cache"), 2).unwrap();
        assert!(other.load(&fixture.engine, fixture.code).is_none());
        assert!(fixture.hit());
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_closed_to_others_even_if_it_was_open() {
        use std::os::unix::fs::PermissionsExt as _;
        let fixture = Fixture::new();
        let dir = fixture.dir.path().join("cache");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(!fixture.hit(), "what others could have written is not used");
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let fixture = Fixture::new();
        fs::set_permissions(fixture.dir.path().join("cache"), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(fixture.hit(), "others could read and not write");
    }

    #[test]
    fn the_sweep_removes_leftovers_and_the_oldest_files() {
        let dir = tempfile::tempdir().unwrap();
        let (new, old) = (format!("{}.cwasm", "a".repeat(64)), format!("{}-{}.ref", "b".repeat(64), "c".repeat(16)));
        let foreign = format!("{}.txt", "d".repeat(64));
        for (name, age_s) in [(&new, 1), (&old, 100), (&".partial-x".to_owned(), 1), (&foreign, 1000)] {
            let path = dir.path().join(name);
            fs::write(&path, [0; 10]).unwrap();
            let modified = SystemTime::now() - std::time::Duration::from_secs(age_s);
            fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }
        assert_eq!(sweep(dir.path(), 15).unwrap(), 10);
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort_unstable();
        assert_eq!(left, [new.as_str(), foreign.as_str()]);
    }

    /// A component like no other.
    fn component(engine: &Engine, number: u32) -> Component {
        let text = format!("(component (core module (func (export \"f{number}\"))))");
        Component::new(engine, wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn the_folder_never_holds_more_than_it_may_while_the_cache_is_in_use() {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::default());
        let held = || -> u64 {
            let entries = fs::read_dir(dir.path().join("cache")).unwrap();
            entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
        };
        let one = component(&engine, 0).serialize().unwrap().len() as u64;
        let bytes_max = one * 7 / 2;
        let cache = CodeCache::open_bounded(dir.path().join("cache"), 1, bytes_max).unwrap();
        let code = |number: u32| Digest::of(&number.to_le_bytes());
        for number in 0..20 {
            cache.store(code(number), &component(&engine, number));
            assert!(held() <= bytes_max, "{} of {bytes_max}", held());
            assert!(cache.load(&engine, code(number)).is_some(), "what was stored last is found");
        }
        assert!(held() >= 2 * one, "no more is removed than has to be, or little: {} of {bytes_max}", held());
        assert!(cache.load(&engine, code(0)).is_none(), "the oldest is gone");
        assert!(cache.verified().len() <= 4, "and nobody remembers it");

        // After a restart it is as full as before.
        let cache = CodeCache::open_bounded(dir.path().join("cache"), 1, bytes_max).unwrap();
        for number in 20..23 {
            cache.store(code(number), &component(&engine, number));
        }
        assert!(held() <= bytes_max, "{} of {bytes_max}", held());
    }

    #[test]
    fn code_that_alone_is_too_much_is_not_kept_and_drives_nothing_out() {
        let fixture = Fixture::new();
        let held = fs::metadata(fixture.file("cwasm")).unwrap().len() + REFERENCE_BYTES_MAX;
        let cache = CodeCache::open_bounded(fixture.dir.path().join("cache"), 1, held).unwrap();
        cache.store(Digest::of(b"large"), &component(&fixture.engine, 1));
        assert!(cache.load(&fixture.engine, Digest::of(b"large")).is_none());
        assert!(cache.load(&fixture.engine, fixture.code).is_some());
    }
}
