//! The file: opened as it is, set aside when it is not ours to read, made anew where there is none.

use crate::error::{StoreError, failed};
use crate::kind::{
    CodeHashes, Downloads, Generations, Grants, Kind as _, META, Names, Numbers, Operations, Plugins, QUARANTINE,
    STATE, Settings,
};
use crate::repair::SetAside;
use jiff::Timestamp;
use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase as _, WriteTransaction};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The format that this build writes: the tables, their keys, and the encoding of records. A build that raises it
/// turns what it finds into the new format when it opens it, and still reads every format before. A table that is added
/// for what a host may forget raises nothing: a build that does not know it leaves it alone, and one that does makes it.
const FORMAT: u64 = 1;
const FORMAT_KEY: &str = "format";

/// Records are few and small; redb would take a gigabyte.
const CACHE_BYTES: usize = 8 << 20;

/// The format of redb's own files that its linked version writes, and where a file tells it (redb's `docs/design.md`).
const ENGINE_MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
const ENGINE_FORMAT: u8 = 3;
const ENGINE_FORMAT_AT: [usize; 2] = [64, 192];

/// Why a file was not opened.
#[derive(Debug)]
enum Unopened {
    /// It is no state store, or no longer.
    Unreadable(String),
    /// It may well be one.
    Refused(StoreError),
}

impl From<StoreError> for Unopened {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// Opens the store, or makes one. A file that cannot be read is renamed first and never removed.
pub(crate) fn open_or_create(path: &Path) -> Result<(Database, Option<SetAside>), StoreError> {
    let Some(file) = open_plain(path)? else { return Ok((create(path)?, None)) };
    match open(file, path) {
        Ok(database) => Ok((database, None)),
        Err(Unopened::Refused(error)) => Err(error),
        Err(Unopened::Unreadable(reason)) => {
            let moved = set_aside(path)?;
            Ok((create(path)?, Some(SetAside { path: moved, reason })))
        }
    }
}

/// Opens the store again, after a failure.
pub(crate) fn reopen(path: &Path) -> Result<Database, StoreError> {
    let missing = || failed("open", path)(io::ErrorKind::NotFound.into());
    open(open_plain(path)?.ok_or_else(missing)?, path).map_err(|unopened| match unopened {
        Unopened::Refused(error) => error,
        Unopened::Unreadable(reason) => StoreError::CorruptFile { path: path.to_owned(), reason },
    })
}

fn open(file: File, path: &Path) -> Result<Database, Unopened> {
    rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| failed("close to others", path)(errno.into()))?;
    let bytes = file.metadata().map_err(failed("read", path))?.len();
    // To redb an empty file is one to begin with, and to us one that has lost everything.
    if bytes == 0 {
        return Err(Unopened::Unreadable("it is empty".to_owned()));
    }
    let engine_format = engine_format(&file);
    let database = engine(file).map_err(|error| match error {
        redb::Error::Corrupted(_) if engine_format.is_some_and(|format| format > ENGINE_FORMAT) => {
            let (found, supported) = (u64::from(engine_format.unwrap_or_default()), u64::from(ENGINE_FORMAT));
            Unopened::Refused(StoreError::NewerFormat { path: path.to_owned(), found, supported })
        }
        redb::Error::Corrupted(reason) => Unopened::Unreadable(reason),
        redb::Error::UpgradeRequired(_) | redb::Error::RepairAborted => Unopened::Unreadable(error.to_string()),
        redb::Error::Io(source)
            if matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            Unopened::Unreadable(source.to_string())
        }
        other => Unopened::Refused(StoreError::engine(path, other)),
    })?;
    match format(&database) {
        Ok(Some(FORMAT)) => Ok(database),
        Ok(Some(found)) if found > FORMAT => {
            Err(Unopened::Refused(StoreError::NewerFormat { path: path.to_owned(), found, supported: FORMAT }))
        }
        Ok(found) => Err(Unopened::Unreadable(format!("it tells no format that we wrote: {found:?}"))),
        Err(redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. }) => {
            Err(Unopened::Unreadable("it is the database of something else".to_owned()))
        }
        Err(error) => Err(Unopened::Refused(StoreError::engine(path, error))),
    }
}

/// Every page is checked: what redb reads later it trusts.
fn engine(file: File) -> Result<Database, redb::Error> {
    let backend = FileBackend::new(file)?;
    #[cfg(test)]
    let backend = crate::fault::Faulty(backend);
    Ok(Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create_with_backend(backend)?)
}

fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    let format = database.begin_read()?.open_table(META)?.get(FORMAT_KEY)?;
    Ok(format.map(|format| format.value()))
}

/// The format of redb in both of its headers, where they agree and are the headers of a redb file.
fn engine_format(file: &File) -> Option<u8> {
    let mut head = [0; 256];
    file.read_exact_at(&mut head, 0).ok()?;
    let [first, second] = ENGINE_FORMAT_AT.map(|at| head.get(at).copied());
    (head.starts_with(ENGINE_MAGIC) && first == second).then_some(first).flatten()
}

/// Makes an empty store under another name and renames it, so that the name never shows half a store.
fn create(path: &Path) -> Result<Database, StoreError> {
    let unfinished = beside(path, ".new");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &unfinished)(error)),
        _ => {}
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(&unfinished, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| failed("create", &unfinished)(errno.into()))?;
    let database = engine(File::from(file)).map_err(|error| StoreError::engine(&unfinished, error))?;
    let begin = || -> Result<(), redb::Error> {
        let tables = database.begin_write()?;
        make_tables(&tables)?;
        tables.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
        Ok(tables.commit()?)
    };
    begin().map_err(|error| StoreError::engine(&unfinished, error))?;
    fs::rename(&unfinished, path).map_err(failed("rename", &unfinished))?;
    sync_folder(path)?;
    Ok(database)
}

/// Reading a table that is not there is an error.
pub(crate) fn make_tables(tables: &WriteTransaction) -> Result<(), redb::Error> {
    tables.open_table(META)?;
    tables.open_table(QUARANTINE)?;
    tables.open_table(Plugins::TABLE)?;
    tables.open_table(Generations::TABLE)?;
    tables.open_table(Numbers::TABLE)?;
    tables.open_table(Names::TABLE)?;
    tables.open_table(Operations::TABLE)?;
    tables.open_table(CodeHashes::TABLE)?;
    tables.open_table(Grants::TABLE)?;
    tables.open_table(Downloads::TABLE)?;
    tables.open_table(Settings::TABLE)?;
    tables.open_table(STATE)?;
    Ok(())
}

/// Renames the file to a name that tells when, and is free.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut moved = beside(path, &format!(".corrupt-{time}"));
    let mut again = 1_u32;
    // The lock of the state folder keeps others from making files here.
    while fs::symlink_metadata(&moved).is_ok() {
        again = again.saturating_add(1);
        moved = beside(path, &format!(".corrupt-{time}-{again}"));
    }
    fs::rename(path, &moved).map_err(failed("set aside", path))?;
    sync_folder(path)?;
    Ok(moved)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}

/// Opens a plain file for reading and writing; none where nothing is. A link is not followed.
fn open_plain(path: &Path) -> Result<Option<File>, StoreError> {
    let not_a_file = || StoreError::NotAFile { path: path.to_owned() };
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO | Errno::NODEV) => return Err(not_a_file()),
        Err(errno) => return Err(failed("open", path)(errno.into())),
    };
    let stat = rustix::fs::fstat(&file).map_err(|errno| failed("read", path)(errno.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Some(File::from(file))),
        _ => Err(not_a_file()),
    }
}
