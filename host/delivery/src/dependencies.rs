//! What Python plugins import of other people's: wheels without native code, which pip finds and unpacks. Nothing of them
//! runs outside the sandbox: pip is given wheels alone, and a wheel has no script that an install runs.

mod lock;
mod requirement;

pub use lock::{Lock, Package};

use crate::disk::{DiskError, failed};
use crate::{StageError, StagedPlugin, TreeLimits};
use mortise_model::{cut, one_line};
use requirement::normalised;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where a plugin has what it imports of other people's.
const SITE_PACKAGES: &str = "site-packages";

/// The Python that the runner is.
const PYTHON_VERSION: &str = "3.14";

/// How long pip may take (wire contract 10.7).
const TIME_MAX: Duration = Duration::from_secs(120);

/// How often is looked whether pip has ended.
const POLL: Duration = Duration::from_millis(20);

/// How much is read of what pip complains of, in bytes, and how much of that is told.
const COMPLAINT_BYTES_MAX: u64 = 64 << 10;
const REASON_BYTES_MAX: usize = 1024;

/// How large pip's report may be, in bytes.
const REPORT_BYTES_MAX: u64 = 16 << 20;

/// By whom, and from where, dependencies are installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DependencyConfig {
    /// A Python with pip, by its path or as found on `PATH`.
    pub python: PathBuf,
    /// All of pip's environment.
    pub environment: Vec<(String, String)>,
    /// The package index, a URL. None: what this machine's pip is configured for.
    pub index: Option<String>,
    /// The packages that may be installed, those that others depend on included. None: all.
    pub allow: Option<Vec<String>>,
}

/// Dependencies that are not installed. Nothing of them is left.
#[derive(Debug, thiserror::Error)]
pub enum DependencyError {
    /// The caller asks for what the operator does not allow.
    #[error("dependencies are not installed on this host: {}", declared.join(", "))]
    Off {
        /// As the manifest declares them.
        declared: Vec<String>,
    },
    /// The plugin brings a folder of packages that is not the host's to change.
    #[error("the plugin brings its own `{SITE_PACKAGES}`")]
    Brought,
    /// Text that pip would not take for a package and its versions.
    #[error("`{text}` in `dependencies.python` is no requirement: {reason}")]
    Requirement {
        /// As the manifest has it.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no pip to ask.
    #[error("pip cannot be run with `{}`", python.display())]
    NoPip {
        /// What should run it.
        python: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// pip does not find what is wanted, or cannot.
    #[error("pip cannot install the dependencies: {reason}")]
    Unresolved {
        /// In pip's words, one line.
        reason: String,
    },
    /// pip takes too long.
    #[error("pip did not install the dependencies within {TIME_MAX:?}")]
    TimedOut,
    /// What pip says of its work cannot be read.
    #[error("pip's report cannot be read: {reason}")]
    Report {
        /// One line.
        reason: String,
    },
    /// The operator's list does not have one of the packages.
    #[error("package `{name}` is not among those that this host installs")]
    NotAllowed {
        /// Of the package.
        name: String,
    },
    /// See [`DiskError`].
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl DependencyError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Off { .. } => "dependencies_off",
            Self::Brought => "dependencies_brought",
            Self::Requirement { .. } => "invalid_requirement",
            Self::NoPip { .. } => "no_pip",
            Self::Unresolved { .. } | Self::TimedOut | Self::Report { .. } => "dependencies_unresolved",
            Self::NotAllowed { .. } => "dependency_not_allowed",
            Self::Disk(_) => "disk",
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Off { .. } => {
                "the operator allows them with `DC_PLUGIN_INSTALL_DEPENDENCIES=1`, or with `install` under \
                 `[dependencies]` in the policy; or pack them into the bundle's `site-packages`"
            }
            Self::Brought => "leave `install_dependencies` out, or `site-packages`",
            Self::Requirement { .. } => "write a package's name and its versions, like `httpx>=0.27,<1`",
            Self::NoPip { .. } => {
                "name a Python with pip in `MORTISE_PYTHON`, or pack the dependencies into the bundle's `site-packages`"
            }
            Self::Unresolved { .. } => {
                "only wheels without native code run in the sandbox (`…-none-any.whl`), and of a package with native code \
                 there are none: take another, or have a service outside do that work and call it over HTTP"
            }
            Self::TimedOut | Self::Report { .. } => "see that the package index can be reached, and try again",
            Self::NotAllowed { .. } => {
                "the operator names those that are in `allow` under `[dependencies]` in the policy"
            }
            Self::Disk(error) => return error.hint(),
        };
        text.to_owned()
    }
}

impl StagedPlugin {
    /// The plugin with what it declares in `dependencies.python`, in its `site-packages` and told in its
    /// `dependencies.lock`. `wanted` is the caller's wish, none if it has none; `config` is none where the operator
    /// allows nothing. What was installed earlier for the same requirements stays, unless it is asked for again. Blocks:
    /// pip may take two minutes.
    ///
    /// # Errors
    /// [`StageError`]; a plugin whose dependencies are refused is refused.
    pub fn with_dependencies(
        self,
        wanted: Option<bool>,
        config: Option<&DependencyConfig>,
        limits: &TreeLimits,
    ) -> Result<Self, StageError> {
        let declared = &self.manifest.python_dependencies;
        let Some(config) = config.filter(|_| wanted != Some(false) && !declared.is_empty()) else {
            return match wanted {
                Some(true) if !declared.is_empty() => Err(DependencyError::Off { declared: declared.clone() }.into()),
                _ => Ok(self),
            };
        };
        let lock = Lock::read(&self.root);
        let (brought, asked) = (self.root.join(SITE_PACKAGES).exists(), wanted == Some(true));
        match &lock {
            Some(lock) if !asked && lock.requirements == *declared => return Ok(self),
            None if brought && asked => return Err(DependencyError::Brought.into()),
            None if brought => return Ok(self),
            _ => {}
        }
        let packages = install(&self.root, declared, config)?;
        Lock { requirements: declared.clone(), packages }.write(&self.root).map_err(DependencyError::from)?;
        Ok(self.checked_again(limits)?)
    }
}

/// Has pip put the packages into the plugin's folder, in the place of what it put there before.
fn install(root: &Path, declared: &[String], config: &DependencyConfig) -> Result<Vec<Package>, DependencyError> {
    for text in declared {
        requirement::check(text).map_err(|reason| DependencyError::Requirement { text: text.clone(), reason })?;
    }
    let scratch = tempfile::tempdir().map_err(failed("create", &std::env::temp_dir()))?;
    let (report, target) = (scratch.path().join("report.json"), root.join(SITE_PACKAGES));
    match fs::remove_dir_all(&target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &target)(error).into()),
        _ => {}
    }
    let mut pip = pip(config);
    pip.arg("--target").arg(&target).arg("--report").arg(&report).arg("--").args(declared);
    // Whatever is named after a file of a folder is looked for in an empty one.
    pip.current_dir(scratch.path());
    run(&mut pip, &config.python, &scratch.path().join("complaints"))?;
    let packages = lock::read_report(&read(&report, REPORT_BYTES_MAX)?)
        .map_err(|reason| DependencyError::Report { reason: one_line(&reason) })?;
    if let Some(allow) = &config.allow {
        let allowed = |package: &&Package| !allow.iter().any(|name| normalised(name) == normalised(&package.name));
        if let Some(Package { name, .. }) = packages.iter().find(allowed) {
            return Err(DependencyError::NotAllowed { name: name.clone() });
        }
    }
    // Programs for a shell: there is none in the sandbox.
    match fs::remove_dir_all(target.join("bin")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &target)(error).into()),
        _ => Ok(packages),
    }
}

fn pip(config: &DependencyConfig) -> Command {
    #[expect(clippy::disallowed_methods, reason = "it ends in `ended`, one way or the other")]
    let mut pip = Command::new(&config.python);
    pip.env_clear().envs(config.environment.iter().map(|(name, value)| (name, value)));
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-compile"]);
    pip.args(["--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none"]);
    pip.arg(format!("--python-version={PYTHON_VERSION}"));
    if let Some(index) = &config.index {
        pip.args(["--index-url", index]);
    }
    pip
}

fn run(pip: &mut Command, python: &Path, complaints: &Path) -> Result<(), DependencyError> {
    let no_pip = |source| DependencyError::NoPip { python: python.to_owned(), source };
    let file = File::create(complaints).map_err(failed("create", complaints))?;
    let mut child = pip.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().map_err(no_pip)?;
    let Some(status) = ended(&mut child).map_err(no_pip)? else { return Err(DependencyError::TimedOut) };
    if status {
        return Ok(());
    }
    let said = read(complaints, COMPLAINT_BYTES_MAX)?;
    let said = String::from_utf8_lossy(&said);
    if said.contains("No module named pip") {
        return Err(no_pip(io::Error::new(io::ErrorKind::NotFound, "it has no pip")));
    }
    let errors: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("ERROR: ")).collect();
    let reason = if errors.is_empty() { said.into_owned() } else { errors.join("; ") };
    Err(DependencyError::Unresolved { reason: cut(&one_line(&reason), REASON_BYTES_MAX).to_owned() })
}

/// Whether it ended well; none if it did not end in time, and had to.
fn ended(child: &mut Child) -> io::Result<Option<bool>> {
    let end = Instant::now() + TIME_MAX;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        #[expect(clippy::disallowed_methods, reason = "the condition is looked at again, within a limit")]
        std::thread::sleep(POLL);
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed("read", path))?;
    file.take(bytes_max).read_to_end(&mut bytes).map_err(failed("read", path))?;
    Ok(bytes)
}
