//! Plugin templates (placeholders: `templates/README.md`), for `get_plugin_template` and `mortise new` (wire contract 10.3).

mod javascript;
mod python;
mod rust;
mod text;

use mortise_model::{PluginId, RuntimeKind};
use std::path::Path;

/// A language that there is a template for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Source that a host runs as it is.
    Python,
    /// The same.
    Javascript,
    /// A crate that is built into a component.
    Rust,
}

impl Language {
    /// All of them; the first is taken where nobody names one (wire contract 10.3).
    pub const ALL: [Self; 3] = [Self::Python, Self::Javascript, Self::Rust];

    /// As it is written in requests and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Javascript => "javascript",
            Self::Rust => "rust",
        }
    }

    /// The language that is called so; none where there is no template for it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.name() == name)
    }

    /// What runs its plugins.
    #[must_use]
    pub fn runtime(self) -> RuntimeKind {
        match self {
            Self::Python => RuntimeKind::Python,
            Self::Javascript => RuntimeKind::Javascript,
            Self::Rust => RuntimeKind::Wasm,
        }
    }

    /// The file that an author goes on with, relative to the plugin's folder.
    #[must_use]
    pub fn source(self) -> &'static str {
        match self {
            Self::Python => python::SOURCE,
            Self::Javascript => javascript::SOURCE,
            Self::Rust => rust::SOURCE,
        }
    }
}

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
    RustType(String),
    /// It would not compile, or would hide what the template uses.
    #[error(
        "invalid class name `{0}`: must be a name that Python takes for a class, of ASCII letters, digits and `_`, such as `GarageDoor`"
    )]
    PythonClass(String),
}

/// What a template is filled in with.
#[derive(Debug, Clone, Copy)]
pub struct Outline<'a> {
    /// The plugin.
    pub id: &'a PluginId,
    /// The name of its type.
    pub class_name: &'a str,
    /// Any text: it is quoted where it has to be, and put on one line.
    pub description: &'a str,
}

/// The default class name of a plugin (wire contract 10.3): `garage-door` becomes `GarageDoorCapability`.
#[must_use]
pub fn class_name(id: &PluginId) -> String {
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

/// Renders the template of `language`; that of Rust against the published SDK.
///
/// # Errors
/// [`TemplateError`] when no type of that language can be called so.
pub fn render(language: Language, outline: Outline<'_>) -> Result<Vec<TemplateFile>, TemplateError> {
    match language {
        Language::Python => python::render(outline),
        Language::Javascript => Ok(javascript::render(outline)),
        Language::Rust => rust::render(outline, None),
    }
}

/// Renders the template of Rust against the SDK crate in the folder `tenon`.
///
/// # Errors
/// As [`render`].
pub fn render_against(tenon: &Path, outline: Outline<'_>) -> Result<Vec<TemplateFile>, TemplateError> {
    rust::render(outline, Some(tenon))
}

#[cfg(test)]
mod tests;
