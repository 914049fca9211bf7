//! A fixture that no test runs proves nothing: it fails the build.

use std::path::Path;

use anyhow::{Result, bail};

use crate::folder;
use crate::workspace::Workspace;

/// Where the tests that run fixtures lie.
const TEST_ROOTS: &[&str] = &["host", "interop", "bench"];

/// Fails with the names of the fixtures that no test names.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let fixtures: Vec<String> = folder::entries(&workspace.root.join("sdk/fixtures"))?
        .iter()
        .filter(|path| path.join("Cargo.toml").is_file())
        .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    let mut sources = Vec::new();
    for root in TEST_ROOTS {
        for file in folder::files(&workspace.root.join(root))? {
            if file.extension().is_some_and(|extension| extension == "rs" || extension == "py") {
                sources.push(folder::read(&file)?);
            }
        }
    }
    let unused = unused(&fixtures, &sources);
    if !unused.is_empty() {
        bail!("no test names the fixtures {} of {}", unused.join(", "), Path::new("sdk/fixtures").display());
    }
    Ok(())
}

/// The fixtures that occur in no source as a string `"name"` or as a file `name.wasm`.
fn unused<'a>(fixtures: &'a [String], sources: &[String]) -> Vec<&'a str> {
    fixtures
        .iter()
        .map(String::as_str)
        .filter(|name| {
            let (quoted, file) = (format!("\"{name}\""), format!("{name}.wasm"));
            !sources.iter().any(|source| source.contains(&quoted) || source.contains(&file))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixture_counts_as_used_by_its_whole_name_only() {
        let fixtures = ["spin".to_owned(), "trap".to_owned(), "echo".to_owned()];
        let sources = ["guest(\"spinner\")".to_owned(), "load(\"out/trap.wasm\"); guest(\"echo\")".to_owned()];
        assert_eq!(unused(&fixtures, &sources), ["spin"]);
    }
}
