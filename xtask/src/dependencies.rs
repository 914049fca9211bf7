//! `cargo xtask dependencies`: what other people's code we ship, against `deny.toml`.
//!
//! A small part of what `cargo deny` checks, with its file format: licences, banned crates, duplicates and sources.
//! It needs no tool to be installed, so that CI checks nothing that a developer cannot.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;
use toml::Value as Toml;

use crate::workspace::Workspace;
use crate::{folder, licence};

const FILE: &str = "deny.toml";
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What `deny.toml` says.
#[derive(Debug, Default)]
struct Rules {
    targets: Vec<String>,
    licences: BTreeSet<String>,
    /// Crate → licences that it alone may have.
    exceptions: BTreeMap<String, BTreeSet<String>>,
    /// Crate → why not.
    banned: BTreeMap<String, String>,
    /// `name@version` that may stand beside another version of the same crate.
    duplicates: BTreeSet<String>,
}

/// A crate in the dependency graph.
#[derive(Debug)]
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    /// Nothing for a crate of ours.
    source: Option<String>,
}

/// Fails with every fault at once.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let rules = Rules::parse(&folder::read(&workspace.root.join(FILE))?).with_context(|| format!("failed to read `{FILE}`"))?;
    let mut faults = Vec::new();
    let mut count = 0;
    for (of, duplicates) in [("Cargo.toml", true), ("sdk/Cargo.toml", false)] {
        let manifest = workspace.root.join(of);
        if !manifest.is_file() {
            continue;
        }
        let mut arguments = Vec::new();
        for target in &rules.targets {
            arguments.extend(["--filter-platform", target]);
        }
        let packages = packages(&workspace.metadata(&manifest, &arguments)?)?;
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

    fn faults(&self, packages: &[Package]) -> Vec<String> {
        let mut faults = Vec::new();
        for package in packages.iter().filter(|package| package.source.is_some()) {
            let Package { name, version, .. } = package;
            if package.source.as_deref() != Some(CRATES_IO) {
                faults.push(format!("`{name} {version}` does not come from crates.io"));
            }
            if let Some(reason) = self.banned.get(name) {
                faults.push(format!("`{name} {version}` is banned: {reason}"));
            }
            let expression = package.licence.as_deref().unwrap_or_default();
            let excepted = self.exceptions.get(name).is_some_and(|allowed| licence::is_allowed(expression, allowed));
            if !excepted && !licence::is_allowed(expression, &self.licences) {
                faults.push(format!("`{name} {version}` has the licence `{expression}`, which is not allowed"));
            }
        }
        faults
    }

    /// A crate in several versions needs a reason for each but one.
    fn duplicate_faults(&self, packages: &[Package]) -> Vec<String> {
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in packages {
            versions.entry(&package.name).or_default().insert(&package.version);
        }
        let mut unused: BTreeSet<&str> = self.duplicates.iter().map(String::as_str).collect();
        let mut faults = Vec::new();
        for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
            let skipped = versions.iter().filter(|version| {
                let skip = format!("{name}@{version}");
                unused.remove(skip.as_str()) || self.duplicates.contains(&skip)
            });
            if skipped.count() + 1 < versions.len() {
                let versions: Vec<&str> = versions.iter().copied().collect();
                faults.push(format!("`{name}` comes in the versions {}: unify them, or add a `skip` with its reason", versions.join(", ")));
            }
        }
        faults.extend(unused.into_iter().map(|skip| format!("the `skip` of `{skip}` is no longer needed")));
        faults
    }
}

fn packages(metadata: &Json) -> Result<Vec<Package>> {
    let nodes = metadata["resolve"]["nodes"].as_array().context("cargo metadata has no graph")?;
    let used: BTreeSet<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    packages
        .iter()
        .filter(|package| package["id"].as_str().is_some_and(|id| used.contains(id)))
        .map(|package| {
            let text = |key: &str| package[key].as_str().map(str::to_owned);
            Ok(Package {
                name: text("name").context("a package has no name")?,
                version: text("version").context("a package has no version")?,
                licence: text("license"),
                source: text("source"),
            })
        })
        .collect()
}

fn entries(value: Option<&Toml>) -> impl Iterator<Item = &Toml> {
    value.and_then(Toml::as_array).into_iter().flatten()
}

fn field(entry: &Toml, key: &str) -> Result<String> {
    entry.get(key).and_then(Toml::as_str).map(str::to_owned).with_context(|| format!("`{entry}` has no `{key}`"))
}

fn strings(value: Option<&Toml>) -> Result<Vec<String>> {
    entries(value).map(|entry| entry.as_str().map(str::to_owned).with_context(|| format!("`{entry}` is no text"))).collect()
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
skip = [{ crate = "rand@0.8.6", reason = "the mesh library has not moved yet" }]
"#;

    fn package(name: &str, version: &str, licence: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: Some(licence.to_owned()).filter(|licence| !licence.is_empty()),
            source: Some(CRATES_IO.to_owned()),
        }
    }

    #[test]
    fn licences_bans_and_sources_are_checked() {
        let rules = Rules::parse(RULES).unwrap();
        let mut git = package("serde", "1.0.0", "MIT");
        git.source = Some("git+https://example.com/serde".to_owned());
        let mut ours = package("mortise", "0.1.0", "");
        ours.source = None;
        let packages = [
            package("fine", "1.0.0", "MIT OR GPL-3.0"),
            package("roots", "1.0.0", "CDLA-Permissive-2.0"),
            package("other", "1.0.0", "CDLA-Permissive-2.0"),
            package("none", "1.0.0", ""),
            package("openssl-sys", "0.9.0", "MIT"),
            git,
            ours,
        ];
        assert_eq!(
            rules.faults(&packages),
            [
                "`other 1.0.0` has the licence `CDLA-Permissive-2.0`, which is not allowed",
                "`none 1.0.0` has the licence ``, which is not allowed",
                "`openssl-sys 0.9.0` is banned: one TLS library",
                "`serde 1.0.0` does not come from crates.io",
            ]
        );
    }

    #[test]
    fn a_duplicate_needs_a_reason_and_a_reason_a_duplicate() {
        let rules = Rules::parse(RULES).unwrap();
        let of = |versions: &[&str]| {
            rules.duplicate_faults(&versions.iter().map(|version| package("rand", version, "MIT")).collect::<Vec<_>>())
        };
        assert_eq!(of(&["0.8.6", "0.10.3"]), [""; 0]);
        assert_eq!(of(&["0.10.3"]), ["the `skip` of `rand@0.8.6` is no longer needed"]);
        assert_eq!(
            of(&["0.8.6", "0.9.0", "0.10.3"]),
            ["`rand` comes in the versions 0.10.3, 0.8.6, 0.9.0: unify them, or add a `skip` with its reason"]
        );
    }

    #[test]
    fn a_skip_without_a_reason_is_refused() {
        let error = Rules::parse(&RULES.replace(", reason = \"the mesh library has not moved yet\"", "")).unwrap_err();
        assert!(format!("{error:#}").contains("each `skip` owes a reason"));
    }
}
