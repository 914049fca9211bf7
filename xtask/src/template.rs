//! The plugin templates, rendered into `target/guests/templates` so that they are built and tested like any plugin.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::guests::Guest;
use crate::workspace::Workspace;
use crate::{command, folder, guest_toolchain};

/// Renders every template that is a crate, as `mortise new template-<language>` does from a checkout.
pub(crate) fn render(workspace: &Workspace) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for template in folder::entries(&workspace.root.join("templates"))? {
        if !template.join("Cargo.toml").is_file() {
            continue;
        }
        let language = template.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("template-{language}");
        let rendered = workspace.guests().join("templates").join(&*language);
        for file in folder::files(&template)? {
            let text = fill(&folder::read(&file)?, &name, &workspace.sdk());
            ensure!(
                !text.contains("{{"),
                "`{}` has a placeholder that templates/README.md does not name",
                file.display()
            );
            folder::install_content(text.as_bytes(), &rendered.join(file.strip_prefix(&template)?))?;
        }
        lock(workspace, &rendered)?;
        guests.push(Guest { name, folder: rendered });
    }
    Ok(guests)
}

/// Replaces the placeholders (`templates/README.md`).
fn fill(text: &str, name: &str, sdk: &Path) -> String {
    text.replace("{{plugin_id}}", name)
        .replace("{{crate_name}}", name)
        .replace("{{type_name}}", "Template")
        .replace("{{description}}", "Rendered to be built")
        .replace("{{tenon}}", &format!("{{ path = \"{}\" }}", sdk.display()))
}

/// Gives the rendered crate the versions that the SDK's lock file names: what an author gets today is not what CI is
/// about. Made again when the SDK's lock file or the crate's manifest changes.
fn lock(workspace: &Workspace, rendered: &Path) -> Result<()> {
    let source = workspace.root.join("sdk/Cargo.lock");
    let state = folder::read(&source)? + &folder::read(&rendered.join("Cargo.toml"))?;
    let made_from = rendered.join(".locked");
    let key = folder::fingerprint(state.as_bytes());
    if folder::read(&made_from).is_ok_and(|made| made == key) {
        return Ok(());
    }
    folder::install(&source, &rendered.join("Cargo.lock"))?;
    let mut cargo = guest_toolchain::clean_cargo();
    cargo.args(["update", "--quiet", "--workspace"]).current_dir(rendered);
    command::run(&mut cargo).with_context(|| format!("failed to lock `{}`", rendered.display()))?;
    folder::write(&made_from, key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled() {
        let text = "name = \"{{crate_name}}\"\ntenon = {{tenon}}\n// {{plugin_id}} {{type_name}}: {{description}}";
        assert_eq!(
            fill(text, "template-rust", Path::new("/sdk")),
            "name = \"template-rust\"\ntenon = { path = \"/sdk\" }\n// template-rust Template: Rendered to be built"
        );
    }
}
