//! Plugin templates (placeholders: `templates/README.md`), for `get_plugin_template` and `mortise new` (wire contract 10.3).

use mortise_model::{PluginId, one_line};
use std::path::Path;

/// One file of a rendered template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFile {
    /// Relative to the plugin's folder.
    pub path: &'static str,
    /// Its text.
    pub text: String,
}

/// Why a template cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It would not compile.
    #[error("invalid class name `{0}`: must be a Rust type name such as `GarageDoor`")]
    TypeName(String),
}

/// How a text is written into a file so that it stays what it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    /// Within the quotes of JSON or of a TOML basic string.
    Quoted,
    /// Within one line of Markdown or of a comment.
    Line,
}

const RUST: [(&str, Syntax, &str); 4] = [
    ("Cargo.toml", Syntax::Quoted, include_str!("../../../templates/rust/Cargo.toml")),
    ("manifest.json", Syntax::Quoted, include_str!("../../../templates/rust/manifest.json")),
    ("src/lib.rs", Syntax::Line, include_str!("../../../templates/rust/src/lib.rs")),
    ("README.md", Syntax::Line, include_str!("../../../templates/rust/README.md")),
];

/// The crate `tenon` as a dependency's TOML.
const PUBLISHED_SDK: &str = concat!("{ git = \"", env!("CARGO_PKG_REPOSITORY"), "\" }");

/// Words that no type may be called.
const KEYWORDS: [&str; 2] = ["Self", "_"];

/// Names that a crate cannot have without hiding another, or at all.
const CRATES_TAKEN: [&str; 8] = ["alloc", "core", "proc_macro", "self", "std", "super", "tenon", "test"];

/// The default class name of a plugin (wire contract 10.3): `garage-door` becomes `GarageDoorCapability`.
#[must_use]
pub fn type_name(id: &PluginId) -> String {
    let mut name = String::new();
    for part in id.as_str().split(['-', '_']) {
        let mut letters = part.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name.push_str("Capability");
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert_str(0, "Plugin");
    }
    name
}

/// Renders the Rust template against the published SDK.
///
/// `description` may be any text: it is quoted where it has to be, and put on one line.
///
/// # Errors
/// [`TemplateError::TypeName`] when `type_name` is no Rust type name.
pub fn render(id: &PluginId, type_name: &str, description: &str) -> Result<Vec<TemplateFile>, TemplateError> {
    render_rust(id, type_name, description, PUBLISHED_SDK)
}

/// As [`render`], against the SDK crate in the folder `tenon`.
///
/// # Errors
/// As [`render`].
pub fn render_against(
    tenon: &Path,
    id: &PluginId,
    type_name: &str,
    description: &str,
) -> Result<Vec<TemplateFile>, TemplateError> {
    let path = quoted(&tenon.display().to_string());
    render_rust(id, type_name, description, &format!("{{ path = \"{path}\" }}"))
}

fn render_rust(
    id: &PluginId,
    type_name: &str,
    description: &str,
    tenon: &str,
) -> Result<Vec<TemplateFile>, TemplateError> {
    if !is_type_name(type_name) {
        return Err(TemplateError::TypeName(type_name.to_owned()));
    }
    let crate_name = crate_name(id);
    let description = one_line(description);
    let render = |syntax, text: &str| {
        // What is free text comes last: whatever it holds is not looked at again.
        text.replace("{{plugin_id}}", id.as_str())
            .replace("{{crate_name}}", &crate_name)
            .replace("{{type_name}}", type_name)
            .replace("{{tenon}}", tenon)
            .replace("{{description}}", &written(syntax, &description))
    };
    Ok(RUST.map(|(path, syntax, text)| TemplateFile { path, text: render(syntax, text) }).into())
}

fn is_type_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_uppercase() || first == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !KEYWORDS.contains(&name)
}

/// The id where it is a good name for a crate.
fn crate_name(id: &PluginId) -> String {
    let id = id.as_str();
    let is_lone_word = id.bytes().all(|b| b.is_ascii_lowercase());
    let may_be_keyword = is_lone_word && id.len() <= 8;
    if id.starts_with(|first: char| first.is_ascii_digit()) || CRATES_TAKEN.contains(&id) || may_be_keyword {
        return format!("plugin-{id}");
    }
    id.to_owned()
}

fn written(syntax: Syntax, text: &str) -> String {
    match syntax {
        Syntax::Quoted => quoted(text),
        Syntax::Line => text.to_owned(),
    }
}

/// `text` as it stands between quotes: JSON's escapes are those of TOML's basic strings as well.
fn quoted(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(id: &str, description: &str) -> Vec<TemplateFile> {
        let id = PluginId::new(id).unwrap();
        render(&id, &type_name(&id), description).unwrap()
    }

    fn text<'a>(files: &'a [TemplateFile], path: &str) -> &'a str {
        &files.iter().find(|file| file.path == path).unwrap().text
    }

    #[test]
    fn class_names_come_from_the_id() {
        for (id, name) in [
            ("garage-door", "GarageDoorCapability"),
            ("my_sensor-2", "MySensor2Capability"),
            ("3d", "Plugin3dCapability"),
            ("aBC", "ABCCapability"),
        ] {
            let name_of_id = type_name(&PluginId::new(id).unwrap());
            assert_eq!(name_of_id, name);
            assert!(is_type_name(&name_of_id));
        }
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        for file in rendered("garage-door", "Opens the door") {
            assert!(!file.text.contains("{{") && !file.text.contains("}}"), "{}: {}", file.path, file.text);
        }
    }

    #[test]
    fn a_hostile_description_stays_a_description() {
        let description = "says \"hi\\\"\", {{type_name}}\n*/ panic!() //\u{7f}";
        let files = rendered("x-1", description);
        let manifest: serde_json::Value = serde_json::from_str(text(&files, "manifest.json")).unwrap();
        assert_eq!(manifest["description"], "says \"hi\\\"\", {{type_name}} */ panic!() //");
        assert_eq!(manifest["id"], "x-1");
        let line = text(&files, "README.md").lines().nth(2).unwrap();
        assert_eq!(line, "says \"hi\\\"\", {{type_name}} */ panic!() //");
    }

    #[test]
    fn crates_get_a_name_that_cargo_takes() {
        for (id, name) in
            [("garage-door", "garage-door"), ("3d", "plugin-3d"), ("match", "plugin-match"), ("std", "plugin-std")]
        {
            assert!(text(&rendered(id, ""), "Cargo.toml").contains(&format!("name = \"{name}\"")), "{id}");
        }
    }

    #[test]
    fn the_sdk_may_lie_in_a_checkout() {
        let id = PluginId::new("x-1").unwrap();
        let files = render_against(Path::new("/a \"b\"/tenon"), &id, "X", "").unwrap();
        assert!(text(&files, "Cargo.toml").contains(r#"tenon = { path = "/a \"b\"/tenon" }"#));
        assert!(text(&rendered("x-1", ""), "Cargo.toml").contains("tenon = { git = \"https://"));
    }

    #[test]
    fn a_class_name_that_does_not_compile_is_refused() {
        let id = PluginId::new("x").unwrap();
        for bad in ["", "1A", "A B", "a", "Self", "A;", "Ä"] {
            assert_eq!(render(&id, bad, ""), Err(TemplateError::TypeName(bad.to_owned())));
        }
    }
}
