//! What plugins may be granted to read of the host's surroundings: environment variables and secrets.

use crate::blocking::blocking;
use mortise_model::{Failure, FileAccess, VariableName};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tokio::sync::Semaphore;

/// Secrets that are read at once.
static READS: Semaphore = Semaphore::const_new(4);

/// The longest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Environment variables and secrets. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Environment variables, apart from the host's own.
    pub env: BTreeMap<String, String>,
    /// Secrets that came by the environment.
    pub secrets: BTreeMap<String, String>,
    /// Folder with one file for each secret, which is looked at first.
    pub secrets_dir: Option<PathBuf>,
    /// Files and folders of the host itself, of which no plugin is ever given anything: absolute, and may not exist.
    pub own_paths: Vec<PathBuf>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.secrets.keys().collect();
        f.debug_struct("Surroundings").field("secrets", &names).field("secrets_dir", &self.secrets_dir).finish()
    }
}

impl Surroundings {
    /// Whether a folder may be opened for a plugin. The path that was granted is the one that is opened: where a link lies
    /// on it, whoever may change the link would decide what the plugin sees.
    pub(crate) fn check_folder(&self, access: &FileAccess) -> Result<(), Failure> {
        let folder = access.folder();
        let refused = |reason: String| Failure::new("folder", format!("folder `{}`: {reason}", folder.display()));
        let real = folder.canonicalize().map_err(|error| refused(format!("it cannot be opened: {error}")))?;
        if real != folder {
            return Err(refused(format!("a link leads to `{}`; ask for that", real.display())));
        }
        if !real.is_dir() {
            return Err(refused("it is no folder".to_owned()));
        }
        let own = self.own_paths.iter().chain(&self.secrets_dir);
        // One that does not exist yet is where its path says.
        let mut own = own.map(|own| own.canonicalize().unwrap_or_else(|_| own.clone()));
        if own.any(|own| own.starts_with(&real) || real.starts_with(&own)) {
            return Err(refused("files of the host itself lie there".to_owned()));
        }
        Ok(())
    }

    /// A secret, without the line break at its end. Read anew each time, so that one that is replaced counts at once.
    pub(crate) async fn secret(&self, name: &VariableName) -> Result<Option<String>, Failure> {
        if let Some(folder) = &self.secrets_dir {
            let (path, secret) = (folder.join(name.as_str()), name.to_string());
            let failed =
                move |reason: String| Failure::new("secret_unreadable", format!("secret `{secret}`: {reason}"));
            // The semaphore is never closed.
            let place = READS.acquire().await;
            let found = blocking(move || {
                let _place = place;
                read(&path).map_err(failed)
            })
            .await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(self.secrets.get(name.as_str()).cloned())
    }
}

fn read(path: &Path) -> Result<Option<String>, String> {
    // Whoever opens a pipe otherwise waits for somebody to write.
    let without_waiting = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(without_waiting).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut text = String::new();
    file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!("it has more than {SECRET_BYTES_MAX} bytes"));
    }
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_opened_where_it_lies_and_never_one_of_the_hosts() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for folder in ["data/a", "own/state", "other"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("data/file"), "").unwrap();
        std::os::unix::fs::symlink(root.join("other"), root.join("data/link")).unwrap();
        let surroundings = Surroundings { own_paths: vec![root.join("own/state")], ..Surroundings::default() };
        let check = |folder: &str| {
            let access = FileAccess::new(root.join(folder).to_str().unwrap(), false).unwrap();
            surroundings.check_folder(&access).map_err(|failure| failure.message)
        };
        assert_eq!(check("data"), Ok(()));
        assert_eq!(check("data/a"), Ok(()));
        for (folder, reason) in [
            ("data/link", "a link leads to"),
            ("data/file", "it is no folder"),
            ("missing", "it cannot be opened"),
            ("own", "files of the host itself lie there"),
            ("own/state", "files of the host itself lie there"),
        ] {
            let message = check(folder).unwrap_err();
            assert!(message.contains(reason), "{message}");
        }
    }

    #[tokio::test]
    async fn a_secret_is_a_file_or_a_variable_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let surroundings = Surroundings {
            secrets: [("a".to_owned(), "by env".to_owned()), ("b".to_owned(), "by env".to_owned())].into(),
            secrets_dir: Some(folder.path().to_owned()),
            ..Surroundings::default()
        };
        std::fs::write(folder.path().join("a"), "by file\n").unwrap();
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        let pipe = (folder.path().join("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, pipe.0, pipe.1, pipe.2, 0).unwrap();
        std::fs::write(folder.path().join("large"), vec![b'x'; (64 << 10) + 1]).unwrap();
        let secret = async |name| surroundings.secret(&VariableName::new(name).unwrap()).await;
        assert_eq!(secret("a").await, Ok(Some("by file".to_owned())));
        assert_eq!(secret("b").await, Ok(Some("by env".to_owned())));
        assert_eq!(secret("c").await, Ok(None));
        assert_eq!(secret("folder").await.unwrap_err().message, "secret `folder`: it is no file");
        assert_eq!(secret("pipe").await.unwrap_err().message, "secret `pipe`: it is no file");
        assert_eq!(secret("large").await.unwrap_err().message, "secret `large`: it has more than 65536 bytes");
        assert!(!format!("{surroundings:?}").contains("by env"));
    }
}
