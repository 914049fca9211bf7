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
    let mut tested: Vec<(String, String)> = Vec::new();
    for file in folder::files(&workspace.root.join("host"))? {
        if file.extension().is_some_and(|extension| extension == "rs") {
            tested.extend(marked(&folder::read(&file)?).with_context(|| file.display().to_string())?);
        }
    }
    if let Some((unknown, _)) = tested.iter().find(|(name, _)| !limits.contains(name)) {
        bail!("a test is marked with the limit `{unknown}`, which `{LIMITS}` does not list");
    }
    let mut untested = Vec::new();
    for limit in &limits {
        let tests: Vec<&str> = tested.iter().filter(|(name, _)| name == limit).map(|(_, test)| test.as_str()).collect();
        println!("  {limit}: {}", tests.join(", "));
        if tests.is_empty() {
            untested.push(limit.as_str());
        }
    }
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

/// The limits that the tests of a source are marked with, each with the test's name.
fn marked(source: &str) -> Result<Vec<(String, String)>> {
    let mut names = Vec::new();
    let mut lines = source.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(limits) = line.strip_prefix(MARKER) else { continue };
        let mut item = lines.clone().skip_while(|line| line.starts_with("///"));
        if !item.next().is_some_and(|item| item.starts_with("#[test]") || item.starts_with("#[tokio::test")) {
            bail!("`{line}` stands above no test");
        }
        let next = item.next().unwrap_or_default();
        let Some((_, name)) = next.split_once("fn ") else {
            bail!("`{line}` stands above a test with `{next}`, which may not run it");
        };
        let name = name.split('(').next().unwrap_or_default();
        names.extend(limits.split('`').skip(1).step_by(2).map(|limit| (limit.to_owned(), name.to_owned())));
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
        for attribute in ["    #[test]", "#[tokio::test(flavor = \"multi_thread\")]"] {
            let found = above(&format!("{attribute}\n    async fn it_holds() {{")).unwrap();
            assert_eq!(found, ["turn", "memory"].map(|limit| (limit.to_owned(), "it_holds".to_owned())), "{attribute}");
        }
        let ignored = above("#[test]\n#[ignore]\nfn it_holds() {").unwrap_err().to_string();
        assert!(ignored.contains("`#[ignore]`, which may not run it"), "{ignored}");
        assert!(above("fn helper() {}").unwrap_err().to_string().contains("above no test"));
        assert!(above("").is_err());
        assert!(marked("/// Limits of other things.\nfn f() {}").unwrap().is_empty());
    }
}
