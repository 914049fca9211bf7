//! The policy file: read at start, and again whenever it changes or the host is told to.

use mortise_http::{TlsError, check_authorities};
use mortise_manage::{Manager, function_names};
use mortise_model::chain;
use mortise_policy::{POLICY_BYTES_MAX, Policy, PolicyError};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A policy file, and by what a change of it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    path: PathBuf,
    /// As it was when it was read.
    stamp: Stamp,
}

/// None while there is no file. One that is replaced is another.
type Stamp = Option<(u64, u64, i64, i64)>;

/// A policy file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// It cannot be read.
    #[error("failed to read the policy file `{path}`")]
    Read {
        /// Of the file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It says something that cannot be kept.
    #[error("the policy file `{path}` cannot be used")]
    Policy {
        /// Of the file.
        path: PathBuf,
        /// What, and where.
        #[source]
        source: PolicyError,
    },
    /// It names authorities of no use.
    #[error("the policy file `{path}` cannot be used: `http.ca_files`")]
    Authorities {
        /// Of the file.
        path: PathBuf,
        /// Which, and why.
        #[source]
        source: TlsError,
    },
}

impl PolicyFileError {
    /// The cure, as one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "name a file that the host may read with `--policy`, or `development`".to_owned(),
            Self::Policy { source, .. } => source.hint(),
            Self::Authorities { source, .. } => source.hint(),
        }
    }
}

impl PolicyFile {
    /// Reads the policy in `path`. Blocks.
    ///
    /// # Errors
    /// [`PolicyFileError`].
    pub fn open(path: PathBuf) -> Result<(Self, Policy), PolicyFileError> {
        // First: whoever changes the file from here on is seen.
        let stamp = stamp(&path);
        let policy = read(&path)?;
        Ok((Self { path, stamp }, policy))
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the file in force whenever it has changed, and at every signal. A file that cannot be used changes nothing:
    /// what was read last goes on. Never returns.
    pub(crate) async fn follow(mut self, manager: &Manager, hang_up: &mut Signal) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_look = self.stamp;
        loop {
            tokio::select! {
                _ = look.tick() => {
                    let now = stamp(&self.path);
                    // One that somebody is still writing is left alone until the next look.
                    let is_settled = std::mem::replace(&mut last_look, now) == now;
                    if now == self.stamp || !is_settled {
                        continue;
                    }
                }
                _ = hang_up.recv() => {}
            }
            let path = self.path.clone();
            // A panic within it is in the log.
            let Ok(read) = tokio::task::spawn_blocking(move || (stamp(&path), read(&path))).await else { continue };
            self.stamp = read.0;
            match read.1 {
                Ok(policy) => {
                    if policy.is_development() {
                        warn!("the policy has the profile `development`: plugins get whatever they ask for");
                    }
                    manager.set_policy(policy).await;
                    info!(file = %self.path.display(), "the policy was read again");
                }
                Err(error) => {
                    warn!(error = chain(&error), hint = error.hint(), "the policy stays as it was");
                    manager.keep_policy(chain(&error)).await;
                }
            }
        }
    }
}

fn read(path: &Path) -> Result<Policy, PolicyFileError> {
    let failed = |source| PolicyFileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // One byte more than may be, so that what is too long is told as such.
    let mut file = File::open(path).map_err(failed)?.take(POLICY_BYTES_MAX as u64 + 1);
    file.read_to_end(&mut bytes).map_err(failed)?;
    let text =
        String::from_utf8(bytes).map_err(|_| failed(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")))?;
    let policy = Policy::parse(&text, &function_names())
        .map_err(|source| PolicyFileError::Policy { path: path.to_owned(), source })?;
    check_authorities(&policy.http().ca_files)
        .map_err(|source| PolicyFileError::Authorities { path: path.to_owned(), source })?;
    Ok(policy)
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    // The time of the last change, which includes its mode and owner.
    Some((metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_policy_is_one() {
        let page = include_str!("../../docs/permissions.md");
        let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let policy = Policy::parse(example, &function_names()).unwrap();
        assert!(policy.dependencies().install && policy.dependencies().index.is_some());
        assert!(policy.requires_digest() && policy.offers("grant_plugin_permission"));
    }
}
