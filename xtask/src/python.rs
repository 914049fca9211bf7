//! Virtual environments of Python, one for each list of pinned packages.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{command, environment, folder};

/// Packages of Python that belong together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requirements {
    /// The list, relative to the repository.
    pub(crate) file: &'static str,
    /// What they run on, best first.
    pub(crate) versions: &'static [&'static str],
}

/// The packages of interop and of tests in Python.
pub(crate) const INTEROP: Requirements = Requirements { file: "interop/requirements.txt", versions: &["3.12"] };

/// The interpreter of the environment that has these requirements. It is made on first use, and again when they change.
pub(crate) fn environment(workspace: &Workspace, requirements: Requirements) -> Result<PathBuf> {
    let base = interpreter(requirements.versions)?;
    let requirements = workspace.root.join(requirements.file);
    let key = folder::fingerprint(format!("{}\n{}", base.display(), folder::read(&requirements)?).as_bytes());
    let cache = environment::cache_folder()?;
    let home = cache.join(format!("venv-{key}"));
    let _lock = folder::lock(&cache.join(format!("venv-{key}.lock")))?;
    let python = home.join("bin/python");
    // Not made elsewhere and renamed: scripts of an environment name its path. The marker tells that it is finished.
    let finished = home.join("finished");
    if finished.is_file() && command::try_output(command::new(&python).arg("--version")).is_some() {
        return Ok(python);
    }
    folder::remove(&home)?;
    command::run(command::new(&base).args(["-m", "venv"]).arg(&home)).context("failed to make a Python environment")?;
    let mut pip = command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--retries", "5", "-r"])
        .arg(&requirements);
    command::run(&mut pip)?;
    folder::write(&finished, b"")?;
    Ok(python)
}

/// A real Python of one of these versions: one of pyenv's, or one on `PATH`. What is found must start, since pyenv's shims
/// exist for versions that are switched off and then refuse to run; and it must be able to make a virtual environment.
pub(crate) fn interpreter(versions: &[&str]) -> Result<PathBuf> {
    for version in versions {
        if let Some(python) = candidates(version)?.into_iter().find(|candidate| is_version(candidate, version)) {
            return Ok(python);
        }
    }
    bail!(
        "no Python {} with `venv` and `ensurepip` was found\n\
         hint: put it on `PATH` as `python{1}`, or `pyenv install {1}`",
        versions.join(" or "),
        versions.first().unwrap_or(&"3")
    )
}

fn candidates(version: &str) -> Result<Vec<PathBuf>> {
    let home = environment::value("HOME").map(PathBuf::from).unwrap_or_default();
    let pyenv = environment::value("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    let mut candidates: Vec<PathBuf> = folder::entries(&pyenv.join("versions"))?
        .into_iter()
        .filter(|folder| {
            folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{version}.")))
        })
        .map(|folder| folder.join("bin").join(format!("python{version}")))
        .collect();
    candidates.extend(environment::find_program(&format!("python{version}")));
    candidates.extend(environment::find_program("python3"));
    Ok(candidates)
}

fn is_version(python: &Path, version: &str) -> bool {
    let code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])";
    command::try_output(command::new(python).args(["-c", code])).is_some_and(|found| found.trim() == version)
}
