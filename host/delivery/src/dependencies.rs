//! What Python plugins import of other people's: wheels without native code, which pip finds and unpacks. Nothing of them
//! runs outside the sandbox: pip is given names of packages alone, takes wheels alone, and a wheel has no script that an
//! install runs.

mod lock;
mod requirement;

pub use lock::{Lock, Package};

use crate::disk::{DiskError, failed};
use crate::native::SITE_PACKAGES;
use crate::{StageError, StagedPlugin, TreeLimits};
use mortise_model::{RuntimeKind, cut, one_line};
use requirement::normalised;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The Python that the runner is; [`PIP`] has it too.
const PYTHON_VERSION: &str = "3.14";

/// Runs pip for that Python.
const PIP: &str = include_str!("dependencies/pip.py");

/// How often pip is asked what packages require: longer chains of them are nobody's.
const ROUNDS_MAX: usize = 30;

/// How much pip may write, in bytes: wheels, what is in them, and what it needs for the moment.
const BYTES_MAX: u64 = 512 << 20;

/// Looks after pip between two looks at how much it has written.
const LOOKS_PER_SIZE: u32 = 10;

/// Variables that name indexes beside the one that counts.
const OTHER_INDEXES: [&str; 3] = ["PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"];

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
    /// How long pip may take in all (wire contract 10.7 has 120 s).
    pub time_max: Duration,
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
    #[error("`{text}` is no requirement that this host installs: {reason}")]
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
    #[error("pip did not install the dependencies within {limit:?}")]
    TimedOut {
        /// How long it had.
        limit: Duration,
    },
    /// pip writes too much.
    #[error("the dependencies have more than {} MiB", BYTES_MAX >> 20)]
    TooLarge,
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
    /// Of what the plugin declares all is well, and something that it requires in turn is not.
    #[error("package `{package}` requires `{requirement}`: {error}")]
    Required {
        /// What requires it.
        package: String,
        /// As the package has it.
        requirement: String,
        /// What is wrong with it.
        error: Box<DependencyError>,
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
            Self::TooLarge => "dependencies_too_large",
            Self::Unresolved { .. } | Self::TimedOut { .. } | Self::Report { .. } => "dependencies_unresolved",
            Self::NotAllowed { .. } => "dependency_not_allowed",
            Self::Required { error, .. } => error.code(),
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
                "name a Python with pip 22.2 or newer in `MORTISE_PYTHON`, or pack the dependencies into the bundle's `site-packages`"
            }
            Self::Unresolved { .. } => {
                "only wheels without native code run in the sandbox (`…-none-any.whl`), and of a package with native code \
                 there are none: take another, or have a service outside do that work and call it over HTTP"
            }
            Self::TooLarge => "take smaller packages, or have a service outside do that work and call it over HTTP",
            Self::TimedOut { .. } | Self::Report { .. } => "see that the package index can be reached, and try again",
            Self::NotAllowed { .. } => {
                "the operator names those that are in `allow` under `[dependencies]` in the policy"
            }
            Self::Required { error, .. } => return error.hint(),
            Self::Disk(error) => return error.hint(),
        };
        text.to_owned()
    }
}

impl StagedPlugin {
    /// The plugin as it arrived, without a `dependencies.lock`: what was installed for it is told by the host that did. Blocks.
    ///
    /// # Errors
    /// [`StageError`] of the disk.
    pub fn without_lock(self, limits: &TreeLimits) -> Result<Self, StageError> {
        if Lock::remove(&self.root).map_err(DependencyError::from)? {
            Ok(self.checked_again(limits)?)
        } else {
            Ok(self)
        }
    }

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
        let declared = match self.manifest.runtime {
            RuntimeKind::Python => self.manifest.python_dependencies.as_slice(),
            _ => &[],
        };
        let Some(config) = config.filter(|_| wanted != Some(false) && !declared.is_empty()) else {
            return match wanted {
                Some(true) if !declared.is_empty() => Err(DependencyError::Off { declared: declared.to_vec() }.into()),
                _ => Ok(self),
            };
        };
        let lock = Lock::read(&self.root);
        let (brought, asked) = (self.root.join(SITE_PACKAGES).exists(), wanted == Some(true));
        match &lock {
            Some(lock) if !asked && lock.requirements == declared => return Ok(self),
            None if brought && asked => return Err(DependencyError::Brought.into()),
            None if brought => return Ok(self),
            _ => {}
        }
        let packages = install(&self.root, declared, config)?;
        Lock { requirements: declared.to_vec(), packages }.write(&self.root).map_err(DependencyError::from)?;
        Ok(self.checked_again(limits)?)
    }
}

/// Has pip put the packages into the plugin's folder, in the place of what it put there before.
fn install(root: &Path, declared: &[String], config: &DependencyConfig) -> Result<Vec<Package>, DependencyError> {
    let scratch = tempfile::tempdir().map_err(failed("create", &std::env::temp_dir()))?;
    let pip = Pip { config, scratch: scratch.path(), end: Instant::now() + config.time_max };
    let wanted = pip.resolve(declared)?;
    let target = root.join(SITE_PACKAGES);
    remove(&target)?;
    let mut packages: Vec<Package> =
        pip.run(&wanted, &target, false)?.into_iter().map(|(package, _)| package).collect();
    packages.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    // Programs for a shell: there is none in the sandbox.
    remove(&target.join("bin"))?;
    Ok(packages)
}

fn remove(folder: &Path) -> Result<(), DiskError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", folder)(error)),
        _ => Ok(()),
    }
}

struct Pip<'a> {
    config: &'a DependencyConfig,
    /// Where it runs, and keeps what it needs for the moment.
    scratch: &'a Path,
    end: Instant,
}

impl Pip<'_> {
    /// Everything that has to be installed for what is declared.
    ///
    /// What packages depend on is not left to pip: it would fetch a source from wherever a package says, and have that
    /// build itself. So pip looks at the packages alone, each of their requirements is judged like one of the plugin's
    /// own, and pip is asked again until none is new.
    fn resolve(&self, declared: &[String]) -> Result<Vec<String>, DependencyError> {
        let (mut wanted, mut fresh): (Vec<String>, Vec<String>) = (Vec::new(), declared.to_vec());
        let mut requirers = Requirers::default();
        for _ in 0..ROUNDS_MAX {
            for text in &fresh {
                self.judge(text).map_err(|error| requirers.told(error, |required| required == text))?;
            }
            wanted.append(&mut fresh);
            let found = self.run(&wanted, &self.scratch.join("unused"), true);
            for (package, needs) in found.map_err(|error| requirers.told_of_pip(error))? {
                let is_it = |text: &str| normalised(requirement::name(text)) == normalised(&package.name);
                self.check_allowed(&package.name).map_err(|error| requirers.told(error, is_it))?;
                for text in needs.into_iter().filter(|text| !wanted.contains(text)) {
                    requirers.by.entry(text.clone()).or_insert_with(|| package.name.clone());
                    fresh.push(text);
                }
            }
            fresh.sort_unstable();
            fresh.dedup();
            if fresh.is_empty() {
                return Ok(wanted);
            }
        }
        Err(DependencyError::Unresolved { reason: format!("they depend on one another over {ROUNDS_MAX} steps") })
    }

    /// Refuses what is no package of the index, and packages that the operator does not name. Whether a marker holds is
    /// for pip to say.
    fn judge(&self, text: &str) -> Result<(), DependencyError> {
        requirement::check(text).map_err(|reason| DependencyError::Requirement { text: text.to_owned(), reason })?;
        match requirement::is_marked(text) {
            true => Ok(()),
            false => self.check_allowed(requirement::name(text)),
        }
    }

    fn check_allowed(&self, name: &str) -> Result<(), DependencyError> {
        match &self.config.allow {
            Some(allow) if !allow.iter().any(|allowed| normalised(allowed) == normalised(name)) => {
                Err(DependencyError::NotAllowed { name: name.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Looks for packages, or installs them; with each, what it requires. Nothing but these packages is looked at.
    fn run(
        &self,
        wanted: &[String],
        target: &Path,
        only_look: bool,
    ) -> Result<Vec<(Package, Vec<String>)>, DependencyError> {
        let (report, complaints) = (self.scratch.join("report.json"), self.scratch.join("complaints"));
        let mut pip = self.command();
        pip.args(only_look.then_some("--dry-run"));
        pip.arg("--target").arg(target).arg("--report").arg(&report).arg("--").args(wanted);
        let no_pip = |source| DependencyError::NoPip { python: self.config.python.clone(), source };
        let file = File::create(&complaints).map_err(failed("create", &complaints))?;
        let mut child = pip.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().map_err(no_pip)?;
        match ended(&mut child, self.end, &[self.scratch, target]).map_err(no_pip)? {
            End::Well => {}
            End::TooLate => return Err(DependencyError::TimedOut { limit: self.config.time_max }),
            End::TooLarge => return Err(DependencyError::TooLarge),
            End::Badly => return Err(explain(&read(&complaints, COMPLAINT_BYTES_MAX)?, no_pip)),
        }
        lock::read_report(&read(&report, REPORT_BYTES_MAX)?)
            .map_err(|reason| DependencyError::Report { reason: one_line(&reason) })
    }

    fn command(&self) -> Command {
        #[expect(clippy::disallowed_methods, reason = "it ends in `ended`, one way or the other")]
        let mut pip = Command::new(&self.config.python);
        let environment = self.config.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        pip.env_clear();
        match &self.config.index {
            None => pip.envs(environment),
            // This one alone: not those beside it that the machine is configured for. In the environment, since others
            // see the arguments of a process, and an index may have a password.
            Some(index) => pip
                .envs(environment.filter(|(name, _)| !OTHER_INDEXES.contains(name)))
                .env("PIP_CONFIG_FILE", "/dev/null")
                .env("PIP_INDEX_URL", index),
        };
        pip.args(["-c", PIP, "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-compile"]);
        pip.args(["--no-deps", "--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none"]);
        pip.arg(format!("--python-version={PYTHON_VERSION}"));
        // Whatever is named after a file of a folder is looked for in one of ours.
        pip.env("TMPDIR", self.scratch).current_dir(self.scratch).process_group(0);
        pip
    }
}

/// What packages require, in their words, and which of them does.
#[derive(Default)]
struct Requirers {
    by: BTreeMap<String, String>,
}

impl Requirers {
    /// The error, with the package whose requirement it is about, if it is not the plugin's own.
    fn told(&self, error: DependencyError, is_it: impl Fn(&str) -> bool) -> DependencyError {
        // One whose marker may not hold comes last.
        let about = self.by.iter().filter(|(text, _)| is_it(text));
        match about.min_by_key(|(text, _)| requirement::is_marked(text)) {
            None => error,
            Some((requirement, package)) => DependencyError::Required {
                package: package.clone(),
                requirement: requirement.clone(),
                error: Box::new(error),
            },
        }
    }

    /// Of what pip complains it has the name alone.
    fn told_of_pip(&self, error: DependencyError) -> DependencyError {
        let DependencyError::Unresolved { reason } = &error else { return error };
        let words: Vec<String> =
            reason.split(|c: char| c.is_whitespace() || "<>=!~;([,".contains(c)).map(normalised).collect();
        self.told(error, |text| words.contains(&normalised(requirement::name(text))))
    }
}

/// Why pip ended badly, in its words.
fn explain(said: &[u8], no_pip: impl FnOnce(io::Error) -> DependencyError) -> DependencyError {
    let said = String::from_utf8_lossy(said);
    if said.contains("No module named 'pip'") {
        return no_pip(io::Error::new(io::ErrorKind::NotFound, "it has no pip"));
    }
    if said.contains("no such option") {
        return no_pip(io::Error::new(io::ErrorKind::Unsupported, "its pip is older than 22.2"));
    }
    let errors: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("ERROR: ")).collect();
    let reason = match errors.as_slice() {
        [] => said.into_owned(),
        // What was raised stands at the end of the traceback, in several lines perhaps, of which the first is not indented.
        ["Exception:"] => {
            let lines: Vec<&str> = said.trim_end().lines().collect();
            let begin = lines.iter().rposition(|line| !line.starts_with(' ')).unwrap_or_default();
            lines.get(begin..).unwrap_or_default().join(" ")
        }
        errors => errors.join("; "),
    };
    DependencyError::Unresolved { reason: cut(&one_line(&reason), REASON_BYTES_MAX).to_owned() }
}

/// How pip ended.
enum End {
    Well,
    Badly,
    TooLate,
    TooLarge,
}

/// Waits for it, and ends it with whatever it has started where it takes too long, or writes too much into the folders.
fn ended(child: &mut Child, end: Instant, folders: &[&Path]) -> io::Result<End> {
    let mut looks = 0_u32;
    let cut = loop {
        if let Some(status) = child.try_wait()? {
            return Ok(if status.success() { End::Well } else { End::Badly });
        }
        if Instant::now() >= end {
            break End::TooLate;
        }
        looks += 1;
        if looks.is_multiple_of(LOOKS_PER_SIZE)
            && folders.iter().map(|folder| bytes_in(folder)).sum::<u64>() > BYTES_MAX
        {
            break End::TooLarge;
        }
        #[expect(clippy::disallowed_methods, reason = "the condition is looked at again, within a limit")]
        std::thread::sleep(POLL);
    };
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself meanwhile.
        let _ = kill_process_group(group, Signal::KILL);
    }
    child.kill()?;
    child.wait()?;
    Ok(cut)
}

/// How much lies in a folder that others write to at the same time; what cannot be looked at counts nothing.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let sizes = entries.filter_map(|entry| {
        let metadata = entry.metadata().ok()?;
        Some(if metadata.is_dir() { bytes_in(&entry.path()) } else { metadata.len() })
    });
    sizes.sum()
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed("read", path))?;
    file.take(bytes_max).read_to_end(&mut bytes).map_err(failed("read", path))?;
    Ok(bytes)
}
