//! Runners: interpreters of source plugins. CPython is a component of our own world that reads its plugin's files; QuickJS is a
//! core module that [`crate::javascript`] drives.
//!
//! ```text
//! <dir>/runners.json                   which files belong together, with their digests
//! <dir>/python.wasm                    a runner
//! <dir>/python-x86_64-linux.cwasm      compiled for every processor of that architecture
//! <dir>/quickjs.wasm                   another
//! <dir>/quickjs-x86_64-linux.cwasm
//! ```
//!
//! The folder is the operator's, as the host's own binary is: whoever can write there can have the host run anything. Digests
//! tell a folder that is incomplete or mixed from one that is whole.

mod index;

use crate::binary::Binary;
use crate::cache::deserialise;
use crate::code::{Code, CodeStore};
use crate::engine::{Engine, EngineConfig, compatibility};
use crate::javascript::Modules;
use crate::view::Source;
use index::{Artifact, Compiled, Index, Listed};
use mortise_model::{Digest, RuntimeKind};
use mortise_plugin::{Package, PrepareError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Which runtimes have one, and the name of its files.
const KINDS: [(RuntimeKind, &str); 2] = [(RuntimeKind::Python, "python"), (RuntimeKind::Javascript, "quickjs")];

/// The cure for whatever is wrong with the folder.
const HINT: &str =
    "`--runners-dir` names the folder of the runners of this release; from a checkout, `cargo xtask runners` builds it";

/// Why runners cannot be used or compiled.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// A file cannot be read or written.
    #[error("failed to access `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The list of runners says nothing of use.
    #[error("`{}` is no list of runners: {reason}", path.display())]
    Index {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder belongs to another release.
    #[error("the runners in `{}` are of release {found}, and this host is {expected}", dir.display())]
    Release {
        /// The folder.
        dir: PathBuf,
        /// What the list says.
        found: String,
        /// This host's own.
        expected: &'static str,
    },
    /// The list names none of that kind.
    #[error("`{}` has no runner for plugins of type `{kind}`", dir.display())]
    Missing {
        /// The folder.
        dir: PathBuf,
        /// Of the plugins.
        kind: RuntimeKind,
    },
    /// A file is not what the list says.
    #[error("`{}` has digest {found}, and the list of runners says {expected}", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// As listed.
        expected: Digest,
        /// As read.
        found: Digest,
    },
    /// The runner is no component that this host can run.
    #[error("the runner `{}` cannot be compiled: {reason}", path.display())]
    Code {
        /// The runner.
        path: PathBuf,
        /// One line.
        reason: String,
    },
    /// The machine cannot compile.
    #[error(transparent)]
    Engine(#[from] crate::WasmError),
}

impl RunnerError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } | Self::Missing { .. } | Self::Release { .. } => "no_runner",
            Self::Index { .. } | Self::Digest { .. } | Self::Code { .. } => "bad_runner",
            Self::Engine(error) => error.code(),
        }
    }

    /// The cure, as one line.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Engine(error) => error.hint(),
            _ => HINT.to_owned(),
        }
    }

    fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::File { path: path.to_owned(), source }
    }
}

/// The runner of one kind of plugins, read when the first of them is prepared and kept from then on.
pub(crate) struct Runner {
    pub(crate) kind: RuntimeKind,
    dir: PathBuf,
    code: Mutex<Option<Arc<Code>>>,
}

impl Runner {
    pub(crate) fn new(kind: RuntimeKind, dir: PathBuf) -> Self {
        Self { kind, dir, code: Mutex::default() }
    }

    /// Whether the folder's list has one for this release. What its files are worth is told by the first plugin.
    pub(crate) fn is_there(&self) -> bool {
        Index::read(&self.dir).is_ok_and(|index| index.runners.contains_key(self.kind.name()))
    }

    /// What it interprets of a package.
    pub(crate) fn source(&self, package: &Package) -> Source {
        let root = package.root.to_path_buf();
        match self.kind {
            RuntimeKind::Javascript => {
                Source::Modules(Modules { root, entry_point: package.manifest.entry_point.clone() })
            }
            _ => Source::Folder(root),
        }
    }

    /// Its code: compiled when it was built, or else here, which takes as long as it takes.
    pub(crate) async fn code(&self, store: &Arc<CodeStore>) -> Result<Arc<Code>, PrepareError> {
        let mut kept = self.code.lock().await;
        if let Some(code) = &*kept {
            return Ok(Arc::clone(code));
        }
        let (kind, dir, of_store) = (self.kind, self.dir.clone(), Arc::clone(store));
        let found = tokio::task::spawn_blocking(move || find(kind, &dir, &of_store)).await;
        let found = found.map_err(|error| io::Error::other(error).into()).and_then(|found| found);
        let code = match found.map_err(|error| self.unusable(&error))? {
            Found::Code(code) => code,
            Found::Wasm(path) => {
                tracing::warn!(
                    runner = kind.name(),
                    "no code was compiled for this release and architecture: compiling takes a while, once"
                );
                let name = path.display().to_string();
                store.load_file(path, name).await?
            }
        };
        *kept = Some(Arc::clone(&code));
        Ok(code)
    }

    fn unusable(&self, error: &RunnerError) -> PrepareError {
        let reason = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        PrepareError::Runner { kind: self.kind, reason, hint: error.hint() }
    }
}

impl From<io::Error> for RunnerError {
    fn from(source: io::Error) -> Self {
        Self::File { path: PathBuf::new(), source }
    }
}

enum Found {
    Code(Arc<Code>),
    /// What has to be compiled.
    Wasm(PathBuf),
}

/// Blocks on the disk.
fn find(kind: RuntimeKind, dir: &Path, store: &CodeStore) -> Result<Found, RunnerError> {
    let listed = Index::read(dir)?.runner(dir, kind)?;
    let engine = store.engine().wasmtime();
    let key = format!("{:016x}", compatibility(engine));
    if let Some(compiled) = listed.compiled.iter().find(|compiled| compiled.engine == key) {
        let path = checked(dir, &compiled.artifact)?;
        let code = deserialise(engine, &path)
            .and_then(|binary| store.link(&binary, compiled.artifact.digest).map_err(|error| error.reason));
        match code {
            Ok(code) => return Ok(Found::Code(code)),
            Err(reason) => tracing::warn!(path = %path.display(), reason, "the runner's compiled code is unusable"),
        }
    }
    Ok(Found::Wasm(checked(dir, &listed.component)?))
}

/// The path of a file whose content is what the list says.
fn checked(dir: &Path, artifact: &Artifact) -> Result<PathBuf, RunnerError> {
    let path = dir.join(&artifact.file);
    let found = Digest::of(&fs::read(&path).map_err(RunnerError::file(&path))?);
    if found == artifact.digest {
        Ok(path)
    } else {
        Err(RunnerError::Digest { path, expected: artifact.digest, found })
    }
}

/// What is wrong with a folder of runners, as far as its list tells. The files themselves are compared with it when the first plugin
/// needs them. Blocks on the disk.
///
/// # Errors
/// [`RunnerError`]: there is no list, or it is of no use to this release.
pub fn check_runners(dir: &Path) -> Result<(), RunnerError> {
    let index = Index::read(dir)?;
    if KINDS.iter().any(|(kind, _)| index.runners.contains_key(kind.name())) {
        return Ok(());
    }
    Err(RunnerError::Missing { dir: dir.to_owned(), kind: RuntimeKind::Python })
}

/// Compiles every runner in `dir` for all processors of this machine's architecture, and lists them for this release. What was
/// compiled of the same runners for other architectures stays listed. Takes a quarter of a minute of processor time for each,
/// and blocks.
///
/// # Errors
/// [`RunnerError`]; nothing is listed then.
pub fn compile_runners(dir: &Path) -> Result<Vec<PathBuf>, RunnerError> {
    // A list of no use, such as that of another release, says nothing of these runners.
    let mut before = Index::read(dir).unwrap_or_default();
    let (mut index, mut written) = (Index::default(), Vec::new());
    for (kind, name) in KINDS {
        let file = format!("{name}.wasm");
        let path = dir.join(&file);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read.map_err(RunnerError::file(&path))?,
        };
        let engine = Engine::new(EngineConfig::of_runner(kind, Duration::from_millis(1)))?;
        let compiled = Binary::compile(engine.wasmtime(), engine.form(), &bytes).and_then(|binary| binary.serialize());
        let compiled = compiled.map_err(|error| RunnerError::Code {
            path: path.clone(),
            reason: mortise_model::one_line(&format!("{error:#}")),
        })?;
        let name = format!("{name}-{}-linux.cwasm", std::env::consts::ARCH);
        written.push(index::write_file(dir, &name, &compiled)?);
        let source = Artifact { file, digest: Digest::of(&bytes) };
        let listed = before.runners.remove(kind.name()).filter(|listed| listed.component.digest == source.digest);
        let mut all = listed.map(|listed| listed.compiled).unwrap_or_default();
        all.retain(|other| other.artifact.file != name && dir.join(&other.artifact.file).is_file());
        all.push(Compiled {
            artifact: Artifact { file: name, digest: Digest::of(&compiled) },
            engine: format!("{:016x}", compatibility(engine.wasmtime())),
        });
        index.runners.insert(kind.name().to_owned(), Listed { component: source, compiled: all });
    }
    if index.runners.is_empty() {
        return Err(RunnerError::Missing { dir: dir.to_owned(), kind: RuntimeKind::Python });
    }
    written.push(index.write(dir)?);
    Ok(written)
}
