//! `cargo xtask runners`: puts what runs plugins in source form into `target/runners`: for Python a component that is built
//! here, for JavaScript an interpreter that is fetched (`quickjs`).
//!
//! A runner is not the same twice, byte for byte, and takes a while. So one is kept under the user's cache folder for each
//! fingerprint of what it is made from, and every checkout with the same sources has the same runner.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::python::Requirements;
use crate::workspace::Workspace;
use crate::{command, environment, folder, python, quickjs};

/// What the runner of Python plugins is made with: a program, which the version of Python makes no difference to.
pub(crate) const REQUIREMENTS: Requirements =
    Requirements { file: "runners/python/requirements.txt", versions: &["3.12", "3.13", "3.11"] };

/// What lies in it, relative to the repository.
const APP: &str = "runners/python/app";

/// The contract it is made for, relative to the repository.
const WIT: &str = "wit/0.1.0";

/// Its name in `target/runners`.
const PYTHON: &str = "python.wasm";

/// What the host writes beside the runners: which there are, and what was compiled for whom.
const LIST: &str = "runners.json";

/// Changes whenever the same sources would make another runner.
const RECIPE: &str = "1";

/// `cargo xtask runners`.
pub(crate) fn run(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    match arguments {
        [] => {
            workspace.build_binaries(&["mortise"])?;
            build(workspace)?;
            compile(workspace)
        }
        [other, ..] => bail!("`runners` takes no `{other}`"),
    }
}

/// The folder to give to `mortise run --runners-dir`.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("target/runners")
}

/// Makes sure that the runners are there, that of Python made from the sources as they are.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let cache = environment::cache_folder()?;
    let kept = cache.join(format!("runner-{}", fingerprint(workspace)?)).with_extension("wasm");
    let _lock = folder::lock(&kept.with_extension("lock"))?;
    if !kept.is_file() {
        let unfinished = kept.with_extension("unfinished");
        componentize(workspace, &unfinished)?;
        folder::rename(&unfinished, &kept)?;
    }
    put(workspace, &kept, PYTHON)?;
    fetch(workspace)
}

/// Makes sure that the runner of JavaScript is there.
pub(crate) fn fetch(workspace: &Workspace) -> Result<()> {
    put(workspace, &quickjs::package(workspace)?.join(quickjs::MODULE), quickjs::MODULE)
}

fn put(workspace: &Workspace, file: &Path, name: &str) -> Result<()> {
    let installed = install(file, &folder(workspace), name)?;
    let size = std::fs::metadata(&installed)?.len();
    eprintln!("  {:<24} {:>7.1} MiB", installed.strip_prefix(&workspace.root)?.display(), size as f64 / 1_048_576.0);
    Ok(())
}

/// Puts a runner into the folder; without the list where it is another than before, of which nothing compiled may run.
fn install(component: &Path, runners: &Path, name: &str) -> Result<PathBuf> {
    let installed = runners.join(name);
    let content = std::fs::read(component).with_context(|| format!("failed to read `{}`", component.display()))?;
    if !std::fs::read(&installed).is_ok_and(|existing| existing == content) {
        let list = runners.join(LIST);
        match std::fs::remove_file(&list) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("failed to remove `{}`", list.display()));
            }
            _ => {}
        }
        folder::install_content(&content, &installed)?;
    }
    Ok(installed)
}

fn componentize(workspace: &Workspace, to: &Path) -> Result<()> {
    // componentize-py takes along every package that it finds in the environment in use, and looks for one in many places.
    let empty = to.with_extension("environment");
    folder::remove(&empty)?;
    for version in REQUIREMENTS.versions {
        folder::create(&empty.join(format!("lib/python{version}/site-packages")))?;
    }
    let mut componentize = builder(workspace)?;
    componentize
        .args(["componentize", "--python-path"])
        .arg(workspace.root.join(APP))
        .args(["runner", "--output"])
        .arg(to)
        .env("VIRTUAL_ENV", &empty)
        .env_remove("PYTHONPATH");
    let made = command::run(&mut componentize);
    folder::remove(&empty)?;
    made
}

/// componentize-py for the contract, ready for a command of its own.
fn builder(workspace: &Workspace) -> Result<Command> {
    let python = python::environment(workspace, REQUIREMENTS)?;
    let mut builder = command::new(python.with_file_name("componentize-py"));
    builder.args(["--quiet", "--world", "plugin", "--wit-path"]).arg(workspace.root.join(WIT));
    Ok(builder)
}

/// Has the host's binary compile what [`build`] made, for every processor of this architecture. Done once for binary and
/// runners: it takes ten seconds or more.
pub(crate) fn compile(workspace: &Workspace) -> Result<()> {
    let runners = folder(workspace);
    let binary = workspace.binary("mortise");
    let mut all = Vec::new();
    for file in [&binary, &runners.join(PYTHON), &runners.join(quickjs::MODULE)] {
        all.extend(std::fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))?);
    }
    let done = workspace.root.join("target/runners-compiled");
    let key = folder::fingerprint(&all);
    if runners.join(LIST).is_file() && done.is_file() && folder::read(&done)? == key {
        return Ok(());
    }
    command::run(command::new(&binary).args(["runners", "compile"]).arg(&runners))?;
    folder::write(&done, key.as_bytes())
}

/// `cargo xtask test runners`: the runners are there, and what they are made of passes its tests on an ordinary Python and on Node.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    build(workspace)?;
    quickjs::test(workspace)?;
    // The classes that the contract becomes in Python: the tests play the host with them.
    let bindings = workspace.root.join("target/runner-bindings");
    folder::remove(&bindings)?;
    command::run(builder(workspace)?.arg("bindings").arg(&bindings))?;
    let mut suite = command::new(python::environment(workspace, python::INTEROP)?);
    suite
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .current_dir(workspace.root.join("runners/python/tests"))
        .env("MORTISE_BINDINGS", bindings)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command::run(&mut suite)
}

/// Of everything that makes the runner what it is.
fn fingerprint(workspace: &Workspace) -> Result<String> {
    let mut inputs = format!("{RECIPE}\n").into_bytes();
    let mut files = vec![workspace.root.join(REQUIREMENTS.file)];
    for input in [APP, WIT] {
        files.extend(folder::files(&workspace.root.join(input))?.into_iter().filter(|file| !is_bytecode(file)));
    }
    for file in files {
        let content = std::fs::read(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
        let name = file.strip_prefix(&workspace.root)?.to_string_lossy();
        inputs.extend(format!("{name} {}\n", content.len()).into_bytes());
        inputs.extend(content);
    }
    Ok(folder::fingerprint(&inputs))
}

/// What an ordinary Python leaves beside the sources when they are tested.
fn is_bytecode(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "pyc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_component_is_not_run_by_what_was_compiled_of_the_last() {
        let root = tempfile::tempdir().unwrap();
        let (component, runners) = (root.path().join("kept.wasm"), root.path().join("runners"));
        let list = runners.join(LIST);
        let put = |content: &[u8]| {
            folder::write(&component, content).unwrap();
            assert_eq!(std::fs::read(install(&component, &runners, PYTHON).unwrap()).unwrap(), content);
        };
        put(b"one");
        folder::write(&list, b"{}").unwrap();
        put(b"one");
        assert!(list.is_file());
        put(b"two");
        assert!(!list.exists());
    }

    #[test]
    fn the_fingerprint_is_of_sources_and_contract_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            let file = root.path().join(name);
            folder::create(file.parent().unwrap()).unwrap();
            folder::write(&file, content.as_bytes()).unwrap();
        };
        let workspace = Workspace { root: root.path().to_owned(), target: root.path().join("target") };
        write(REQUIREMENTS.file, "componentize-py==1");
        write("runners/python/app/runner.py", "pass");
        write("wit/0.1.0/guest.wit", "world");
        let first = fingerprint(&workspace).unwrap();
        write("runners/python/app/__pycache__/runner.pyc", "x");
        write("runners/python/tests/test_runner.py", "x");
        assert_eq!(fingerprint(&workspace).unwrap(), first);
        let mut seen = vec![first];
        for changed in [REQUIREMENTS.file, "runners/python/app/loop.py", "wit/0.1.0/guest.wit"] {
            write(changed, "changed");
            let next = fingerprint(&workspace).unwrap();
            assert!(!seen.contains(&next), "`{changed}` makes no difference");
            seen.push(next);
        }
    }
}
