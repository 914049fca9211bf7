//! `cargo xtask dependencies`: what other people's code we ship, against `deny.toml`.
//!
//! A small part of what `cargo deny` checks, with its file format: licences, banned crates, duplicates and sources, for
//! what ends up in a build (dev-dependencies do not). No tool needs to be installed for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use toml::Value;

use crate::workspace::Workspace;
use crate::{command, environment, folder, licence};

const FILE: &str = "deny.toml";

/// What `deny.toml` says.
#[derive(Debug, Default)]
struct Rules {
    targets: Vec<String>,
    licences: BTreeSet<String>,
    /// Crate → licences that it alone may have.
    exceptions: BTreeMap<String, BTreeSet<String>>,
    /// Crate → why not.
    banned: BTreeMap<String, String>,
    /// `name@version` that may stand beside another version of the same crate; `name@0.8` means every `0.8.x`.
    duplicates: BTreeSet<String>,
}

/// A crate in the dependency graph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    CratesIo,
    Ours,
    Elsewhere,
}

/// Fails with every fault at once.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let rules =
        Rules::parse(&folder::read(&workspace.root.join(FILE))?).with_context(|| format!("failed to read `{FILE}`"))?;
    let mut faults = lockfile_faults(workspace);
    let mut count = 0;
    for (of, duplicates) in [("Cargo.toml", true), ("sdk/Cargo.toml", false)] {
        let manifest = workspace.root.join(of);
        if !manifest.is_file() {
            continue;
        }
        let packages = packages(workspace, &manifest, &rules.targets)?;
        count += packages.len();
        faults.extend(rules.faults(&packages));
        // Guests ship a handful of crates each: what they share with one another is no concern here.
        if duplicates {
            faults.extend(rules.duplicate_faults(&packages));
        }
    }
    if !faults.is_empty() {
        bail!("{} fault(s) against `{FILE}`:\n  {}", faults.len(), faults.join("\n  "));
    }
    eprintln!("{count} packages keep to `{FILE}`");
    Ok(())
}

impl Rules {
    fn parse(text: &str) -> Result<Self> {
        let file: toml::Table = toml::from_str(text)?;
        let section = |name: &str| file.get(name).with_context(|| format!("there is no section `[{name}]`"));
        let (graph, licenses, bans) = (section("graph")?, section("licenses")?, section("bans")?);
        let mut rules = Self { targets: strings(graph.get("targets"))?, ..Self::default() };
        rules.licences = strings(licenses.get("allow"))?.into_iter().collect();
        for entry in entries(licenses.get("exceptions")) {
            rules.exceptions.insert(field(entry, "crate")?, strings(entry.get("allow"))?.into_iter().collect());
        }
        for entry in entries(bans.get("deny")) {
            rules.banned.insert(field(entry, "crate")?, field(entry, "reason")?);
        }
        for entry in entries(bans.get("skip")) {
            field(entry, "reason").context("each `skip` owes a reason")?;
            rules.duplicates.insert(field(entry, "crate")?);
        }
        Ok(rules)
    }

    fn faults(&self, packages: &BTreeSet<Package>) -> Vec<String> {
        let mut faults = Vec::new();
        for package in packages.iter().filter(|package| package.source != Source::Ours) {
            let Package { name, version, licence, source } = package;
            if *source == Source::Elsewhere {
                faults.push(format!("`{name} {version}` does not come from the registry"));
            }
            if let Some(reason) = self.banned.get(name) {
                faults.push(format!("`{name} {version}` is banned: {reason}"));
            }
            let excepted = self.exceptions.get(name).is_some_and(|allowed| licence::is_allowed(licence, allowed));
            if !excepted && !licence::is_allowed(licence, &self.licences) {
                faults.push(format!("`{name} {version}` has the licence `{licence}`, which is not allowed"));
            }
        }
        faults
    }

    /// A crate in several versions needs a reason for each but one.
    fn duplicate_faults(&self, packages: &BTreeSet<Package>) -> Vec<String> {
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in packages {
            versions.entry(&package.name).or_default().insert(&package.version);
        }
        let mut unused: BTreeSet<&str> = self.duplicates.iter().map(String::as_str).collect();
        let mut faults = Vec::new();
        for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
            let skips: Vec<&str> = versions
                .iter()
                .filter_map(|version| self.duplicates.iter().find(|skip| is_skipped(skip, name, version)))
                .map(String::as_str)
                .collect();
            unused.retain(|skip| !skips.contains(skip));
            if skips.len() + 1 < versions.len() {
                let versions: Vec<&str> = versions.iter().copied().collect();
                let versions = versions.join(", ");
                faults.push(format!(
                    "`{name}` comes in the versions {versions}: unify them, or add a `skip` with its reason"
                ));
            }
        }
        faults.extend(unused.into_iter().map(|skip| format!("the `skip` of `{skip}` is no longer needed")));
        faults
    }
}

/// Whether `skip`, `name@version` or `name@` and the first parts of a version, means this package.
fn is_skipped(skip: &str, name: &str, version: &str) -> bool {
    skip.split_once('@').is_some_and(|(skip_name, skip_version)| {
        let rest = version.strip_prefix(skip_version);
        skip_name == name && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// In CI the lock file is what was committed: running xtask itself would have repaired one that was out of date.
fn lockfile_faults(workspace: &Workspace) -> Vec<String> {
    if !environment::is_on("CI") {
        return Vec::new();
    }
    let mut git = command::new("git");
    git.current_dir(&workspace.root).args(["diff", "--name-only", "HEAD", "--", "Cargo.lock"]);
    let changed = command::try_output(&mut git).unwrap_or_default();
    changed.lines().map(|file| format!("`{file}` is not as committed: it was out of date")).collect()
}

/// What a build of the workspace holds, dev-dependencies aside.
fn packages(workspace: &Workspace, manifest: &Path, targets: &[String]) -> Result<BTreeSet<Package>> {
    let mut cargo = workspace.cargo();
    cargo.args([
        "tree",
        "--locked",
        "--workspace",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}|{l}",
    ]);
    cargo.arg("--manifest-path").arg(manifest);
    for target in targets {
        cargo.args(["--target", target]);
    }
    let tree = command::output(&mut cargo)?;
    tree.lines().filter(|line| line.contains('|')).map(package).collect()
}

/// Reads `name v1.2.3 (source) (proc-macro)|licence (*)`; a package of the registry has no source.
fn package(line: &str) -> Result<Package> {
    let (package, licence) = line.split_once('|').with_context(|| format!("`{line}` has no licence"))?;
    let mut words = package.split_whitespace();
    let name = words.next().with_context(|| format!("`{line}` has no name"))?;
    let version = words.next().and_then(|word| word.strip_prefix('v'));
    let version = version.with_context(|| format!("`{line}` has no version"))?;
    let source = match words.find(|word| *word != "(proc-macro)") {
        None => Source::CratesIo,
        Some(path) if path.starts_with("(/") => Source::Ours,
        Some(_) => Source::Elsewhere,
    };
    let licence = licence.trim_end_matches("(*)").trim();
    Ok(Package { name: name.to_owned(), version: version.to_owned(), licence: licence.to_owned(), source })
}

fn entries(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn field(entry: &Value, key: &str) -> Result<String> {
    entry.get(key).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("`{entry}` has no `{key}`"))
}

fn strings(value: Option<&Value>) -> Result<Vec<String>> {
    entries(value)
        .map(|entry| entry.as_str().map(str::to_owned).with_context(|| format!("`{entry}` is no text")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
[graph]
targets = ["x86_64-unknown-linux-gnu"]
[licenses]
allow = ["MIT", "Apache-2.0"]
exceptions = [{ crate = "roots", allow = ["CDLA-Permissive-2.0"] }]
[bans]
deny = [{ crate = "openssl-sys", reason = "one TLS library" }]
skip = [{ crate = "rand@0.8", reason = "the mesh library has not moved yet" }]
"#;

    fn packages(lines: &[&str]) -> BTreeSet<Package> {
        lines.iter().map(|line| package(line).unwrap()).collect()
    }

    #[test]
    fn a_line_of_the_tree_is_read() {
        let package = package("syn v2.0.1 (proc-macro)|MIT/Apache-2.0 (*)").unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("syn", "2.0.1"));
        assert_eq!((package.licence.as_str(), package.source), ("MIT/Apache-2.0", Source::CratesIo));
    }

    #[test]
    fn licences_bans_and_sources_are_checked() {
        let rules = Rules::parse(RULES).unwrap();
        let packages = packages(&[
            "fine v1.0.0|MIT OR GPL-3.0",
            "mortise v0.1.0 (/r/host)|",
            "nothing v1.0.0|",
            "openssl-sys v0.9.0|MIT",
            "other v1.0.0|CDLA-Permissive-2.0",
            "roots v1.0.0|CDLA-Permissive-2.0 (*)",
            "serde v1.0.0 (https://example.com/serde#1234abcd)|MIT",
        ]);
        assert_eq!(
            rules.faults(&packages),
            [
                "`nothing 1.0.0` has the licence ``, which is not allowed",
                "`openssl-sys 0.9.0` is banned: one TLS library",
                "`other 1.0.0` has the licence `CDLA-Permissive-2.0`, which is not allowed",
                "`serde 1.0.0` does not come from the registry",
            ]
        );
    }

    #[test]
    fn a_duplicate_needs_a_reason_and_a_reason_a_duplicate() {
        let rules = Rules::parse(RULES).unwrap();
        let of = |lines: &[&str]| rules.duplicate_faults(&packages(lines));
        assert_eq!(of(&["rand v0.8.6|MIT", "rand v0.10.3|MIT"]), [""; 0]);
        assert_eq!(of(&["rand v0.10.3|MIT"]), ["the `skip` of `rand@0.8` is no longer needed"]);
        assert_eq!(
            of(&["rand v0.8.6|MIT", "rand v0.80.0|MIT", "rand v0.10.3|MIT"]),
            ["`rand` comes in the versions 0.10.3, 0.8.6, 0.80.0: unify them, or add a `skip` with its reason"]
        );
    }

    #[test]
    fn a_skip_without_a_reason_is_refused() {
        let error = Rules::parse(&RULES.replace(", reason = \"the mesh library has not moved yet\"", "")).unwrap_err();
        assert!(format!("{error:#}").contains("each `skip` owes a reason"));
    }
}
