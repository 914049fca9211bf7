//! The template of Rust.

use super::text::{Blank, Syntax, fill, quoted};
use super::{Outline, TemplateError, TemplateFile};
use mortise_model::PluginId;
use std::path::Path;

pub(super) const SOURCE: &str = "src/lib.rs";

const BLANKS: [Blank; 4] = [
    ("Cargo.toml", Syntax::Quoted, include_str!("../../../../templates/rust/Cargo.toml")),
    ("manifest.json", Syntax::Quoted, include_str!("../../../../templates/rust/manifest.json")),
    (SOURCE, Syntax::Line, include_str!("../../../../templates/rust/src/lib.rs")),
    ("README.md", Syntax::Line, include_str!("../../../../templates/rust/README.md")),
];

/// The crate `tenon` as a dependency's TOML.
const PUBLISHED_SDK: &str = concat!("{ git = \"", env!("CARGO_PKG_REPOSITORY"), "\" }");

/// Words that no type may be called.
const KEYWORDS: [&str; 2] = ["Self", "_"];

/// Names that a crate cannot have without hiding another, or at all.
const CRATES_TAKEN: [&str; 8] = ["alloc", "core", "proc_macro", "self", "std", "super", "tenon", "test"];

/// Renders against the SDK crate in the folder `tenon`, or else the published one.
pub(super) fn render(outline: Outline<'_>, tenon: Option<&Path>) -> Result<Vec<TemplateFile>, TemplateError> {
    if !is_type_name(outline.class_name) {
        return Err(TemplateError::RustType(outline.class_name.to_owned()));
    }
    let crate_name = crate_name(outline.id);
    let tenon = match tenon {
        Some(folder) => format!("{{ path = \"{}\" }}", quoted(&folder.display().to_string())),
        None => PUBLISHED_SDK.to_owned(),
    };
    Ok(fill(&BLANKS, outline, &[("{{crate_name}}", crate_name.as_str()), ("{{tenon}}", tenon.as_str())]))
}

pub(super) fn is_type_name(name: &str) -> bool {
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
