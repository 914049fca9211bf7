//! A limit that no test reaches is a promise: it fails the build.
//!
//! A test says which limits it reaches in its doc comment, right above its attribute: ``/// Limit: `turn`, `memory`.``

use anyhow::{Context, Result, bail};

use crate::folder;
use crate::workspace::Workspace;

/// What a manifest may set, as the host's own list of it.
const LIMITS: &str = "host/model/src/limits.rs";

const LIST: &str = "const SUPPORTED: ";

const MARKER: &str = "/// Limit: ";

/// Fails with the names of the limits that no test is marked with, and of those that are none.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let limits = listed(&folder::read(&workspace.root.join(LIMITS))?)
        .with_context(|| format!("`{LIMITS}` has no `{LIST}[…];`"))?;
    let mut tested = Vec::new();
    for file in folder::files(&workspace.root.join("host"))? {
        if file.extension().is_some_and(|extension| extension == "rs") {
            tested.extend(marked(&folder::read(&file)?).with_context(|| file.display().to_string())?);
        }
    }
    if let Some(unknown) = tested.iter().find(|name| !limits.contains(name)) {
        bail!("a test is marked with the limit `{unknown}`, which `{LIMITS}` does not list");
    }
    let untested: Vec<&str> = limits.iter().filter(|limit| !tested.contains(limit)).map(String::as_str).collect();
    if !untested.is_empty() {
        bail!(
            "no test is marked ``{MARKER}`…`.`` with {}: write one that fails without the limit",
            untested.join(", ")
        );
    }
    Ok(())
}

/// The texts of the list.
fn listed(source: &str) -> Option<Vec<String>> {
    let (_, list) = source.split_once(LIST)?;
    let (_, list) = list.split_once("= [")?;
    let (list, _) = list.split_once("];")?;
    Some(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// The limits that the tests of a source are marked with.
fn marked(source: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut lines = source.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(limits) = line.strip_prefix(MARKER) else { continue };
        let item = lines.clone().find(|line| !line.starts_with("///"));
        if !item.is_some_and(|item| item.starts_with("#[test]") || item.starts_with("#[tokio::test")) {
            bail!("`{line}` stands above no test");
        }
        names.extend(limits.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_as_it_is_written() {
        let source =
            "const OTHER: [&str; 1] = [\"x\"];\nconst SUPPORTED: [&str; 2] = [\n    \"memory\",\n    \"turn\",\n];";
        assert_eq!(listed(source).unwrap(), ["memory", "turn"]);
        assert_eq!(listed("const SUPPORTE: [&str; 0] = [];"), None);
    }

    #[test]
    fn a_marker_counts_above_a_test_only() {
        let above =
            |item: &str| marked(&format!("    /// Says more.\n    {MARKER}`turn`, `memory`.\n    /// More.\n{item}"));
        for attribute in ["    #[test]\n", "#[tokio::test(flavor = \"multi_thread\")]"] {
            assert_eq!(above(attribute).unwrap(), ["turn", "memory"], "{attribute}");
        }
        assert!(above("fn helper() {}").unwrap_err().to_string().contains("above no test"));
        assert!(above("").is_err());
        assert_eq!(marked("/// Limits of other things.\nfn f() {}").unwrap(), Vec::<String>::new());
    }
}
