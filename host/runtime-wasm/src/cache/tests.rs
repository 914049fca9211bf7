//! Hits, misses, and what is swept.

use super::*;
use std::collections::BTreeMap;

const EMPTY_COMPONENT: &str = "(component)";

struct Fixture {
    dir: tempfile::TempDir,
    engine: Engine,
    code: Digest,
    hashes: Arc<Hashes>,
}

/// What outlives a process.
#[derive(Debug, Default)]
struct Hashes(Mutex<BTreeMap<String, Digest>>);

impl Hashes {
    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl CodeHashes for Hashes {
    fn all(&self) -> Result<Vec<(String, Digest)>, CodeHashError> {
        Ok(self.0.lock().unwrap().iter().map(|(key, hash)| (key.clone(), *hash)).collect())
    }

    fn put(&self, key: &str, hash: Digest) -> Result<(), CodeHashError> {
        self.0.lock().unwrap().insert(key.to_owned(), hash);
        Ok(())
    }

    fn remove(&self, keys: &[String]) -> Result<(), CodeHashError> {
        self.0.lock().unwrap().retain(|key, _| !keys.contains(key));
        Ok(())
    }
}

/// A state store that cannot be written.
#[derive(Debug)]
struct Full;

impl CodeHashes for Full {
    fn all(&self) -> Result<Vec<(String, Digest)>, CodeHashError> {
        Ok(Vec::new())
    }

    fn put(&self, _: &str, _: Digest) -> Result<(), CodeHashError> {
        Err("no room".into())
    }

    fn remove(&self, _: &[String]) -> Result<(), CodeHashError> {
        Err("no room".into())
    }
}

impl Fixture {
    /// A cache that holds one component.
    fn new() -> Self {
        let fixture = Self {
            dir: tempfile::tempdir().unwrap(),
            engine: Engine::default(),
            code: Digest::of(b"code"),
            hashes: Arc::default(),
        };
        let component = Component::new(&fixture.engine, wat::parse_str(EMPTY_COMPONENT).unwrap()).unwrap();
        fixture.open().store(fixture.code, &Binary::Component(component));
        assert!(fixture.hit());
        fixture
    }

    /// As after a restart: nothing is verified yet.
    fn open(&self) -> CodeCache {
        CodeCache::open(self.folder(), Arc::clone(&self.hashes) as Arc<dyn CodeHashes>).unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// The compiled form of other code.
    fn foreign(&self) -> Vec<u8> {
        component(&self.engine, 99).serialize().unwrap()
    }

    fn hit(&self) -> bool {
        self.open().load(&self.engine, self.code).is_some()
    }

    /// The compiled file.
    fn file(&self) -> PathBuf {
        fs::read_dir(self.folder()).unwrap().next().unwrap().unwrap().path()
    }

    fn files(&self) -> usize {
        fs::read_dir(self.folder()).unwrap().count()
    }
}

#[test]
fn damaged_compiled_code_is_a_miss_and_removed() {
    for what in ["truncated", "flipped", "emptied"] {
        let fixture = Fixture::new();
        let path = fixture.file();
        let mut bytes = fs::read(&path).unwrap();
        match what {
            "truncated" => bytes.truncate(bytes.len() / 2),
            "flipped" => *bytes.last_mut().unwrap() ^= 1,
            _ => bytes.clear(),
        }
        fs::write(&path, bytes).unwrap();
        assert!(!fixture.hit(), "{what}");
        assert_eq!((fixture.files(), fixture.hashes.len()), (0, 0), "{what}");
    }
}

#[test]
fn code_that_somebody_else_put_there_is_never_run() {
    // Good code under a good name, of which nobody wrote down that it is the code that is asked for.
    let fixture = Fixture::new();
    let foreign = fixture.foreign();
    let named = fixture.folder().join(format!("{}.cwasm", Digest::of(&foreign).hex()));
    fs::write(&named, &foreign).unwrap();
    assert!(fixture.hit());
    assert!(!named.exists(), "and it is removed");

    // In the place of ours, whole and loadable.
    fs::write(fixture.file(), &foreign).unwrap();
    assert!(!fixture.hit());
    let cache = fixture.open();
    cache.store(fixture.code, &component(&fixture.engine, 0));
    assert!(fixture.hit(), "compiled anew it is found again, after a restart too");
}

#[test]
fn without_its_hash_a_compiled_file_is_a_miss_and_removed() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    fixture.hashes.0.lock().unwrap().clear();
    assert!(!fixture.hit());
    assert_eq!(fixture.files(), 0);
    // A store that is full costs compilations and nothing else.
    let cache = CodeCache::open(fixture.folder(), Arc::new(Full)).unwrap();
    cache.store(fixture.code, &component(engine, 0));
    assert!(cache.load(engine, fixture.code).is_none());
}

#[test]
fn a_hash_without_its_file_is_forgotten() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.file()).unwrap();
    drop(fixture.open());
    assert_eq!(fixture.hashes.len(), 0);
}

#[test]
fn another_engines_code_is_not_found() {
    let fixture = Fixture::new();
    let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
    assert!(fixture.open().load(&other, fixture.code).is_none());
    assert!(fixture.hit());
}

#[cfg(unix)]
#[test]
fn the_folder_is_closed_to_others_even_if_it_was_open() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new();
    let dir = fixture.folder();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(!fixture.hit(), "what others could have written is not used");
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let fixture = Fixture::new();
    fs::set_permissions(fixture.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(fixture.hit(), "others could read and not write");
}

#[test]
fn the_sweep_removes_leftovers_and_the_oldest_files() {
    let dir = tempfile::tempdir().unwrap();
    let [new, old, unknown] = ["a", "b", "c"].map(|digit| format!("{}.cwasm", digit.repeat(64)));
    let foreign = format!("{}.txt", "d".repeat(64));
    let partial = ".partial-x".to_owned();
    for (name, age_s) in [(&new, 1), (&old, 100), (&unknown, 1), (&partial, 1), (&foreign, 1000)] {
        let path = dir.path().join(name);
        fs::write(&path, [0; 10]).unwrap();
        let modified = SystemTime::now() - std::time::Duration::from_secs(age_s);
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    }
    let known = [&new, &old].map(|name| compiled_digest(name).unwrap()).into();
    assert_eq!(sweep(dir.path(), 15, &known).unwrap(), 10);
    let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort_unstable();
    assert_eq!(left, [new.as_str(), foreign.as_str()]);
}

/// A component like no other.
fn component(engine: &Engine, number: u32) -> Binary {
    let text = format!("(component (core module (func (export \"f{number}\"))))");
    Binary::Component(Component::new(engine, wat::parse_str(text).unwrap()).unwrap())
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
    let hashes = Arc::<Hashes>::default();
    let open = || {
        let hashes = Arc::clone(&hashes) as Arc<dyn CodeHashes>;
        CodeCache::open_bounded(dir.path().join("cache"), hashes, bytes_max).unwrap()
    };
    let cache = open();
    let code = |number: u32| Digest::of(&number.to_le_bytes());
    for number in 0..20 {
        cache.store(code(number), &component(&engine, number));
        assert!(held() <= bytes_max, "{} of {bytes_max}", held());
        assert!(cache.load(&engine, code(number)).is_some(), "what was stored last is found");
    }
    assert!(held() >= 2 * one, "no more is removed than has to be, or little: {} of {bytes_max}", held());
    assert!(cache.load(&engine, code(0)).is_none(), "the oldest is gone");
    assert!(cache.verified().len() <= 4 && hashes.len() <= 4, "and nobody remembers it");

    // After a restart it is as full as before.
    let cache = open();
    for number in 20..23 {
        cache.store(code(number), &component(&engine, number));
    }
    assert!(held() <= bytes_max, "{} of {bytes_max}", held());
}

#[test]
fn code_that_alone_is_too_much_is_not_kept_and_drives_nothing_out() {
    let fixture = Fixture::new();
    let held = fs::metadata(fixture.file()).unwrap().len();
    let hashes = Arc::clone(&fixture.hashes) as Arc<dyn CodeHashes>;
    let cache = CodeCache::open_bounded(fixture.folder(), hashes, held).unwrap();
    cache.store(Digest::of(b"large"), &component(&fixture.engine, 1));
    assert!(cache.load(&fixture.engine, Digest::of(b"large")).is_none());
    assert!(cache.load(&fixture.engine, fixture.code).is_some());
}
