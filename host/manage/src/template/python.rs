//! The template of Python: what the reference's template has, without the accidents of its schemas (wire contract 6.2).

use super::text::{Blank, Syntax, fill};
use super::{Outline, TemplateError, TemplateFile};

pub(super) const SOURCE: &str = "capability.py";

const BLANKS: [Blank; 3] = [
    ("manifest.json", Syntax::Quoted, include_str!("../../../../templates/python/manifest.json")),
    (SOURCE, Syntax::Python, include_str!("../../../../templates/python/capability.py")),
    ("README.md", Syntax::Line, include_str!("../../../../templates/python/README.md")),
];

/// Python's keywords.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// What the template uses by that name once the class is there.
const USED: [&str; 7] = ["Any", "Dict", "Optional", "ValueError", "dict", "logger", "str"];

pub(super) fn render(outline: Outline<'_>) -> Result<Vec<TemplateFile>, TemplateError> {
    if !is_class_name(outline.class_name) {
        return Err(TemplateError::PythonClass(outline.class_name.to_owned()));
    }
    Ok(fill(&BLANKS, outline, &[]))
}

/// ASCII only: Python takes other letters too, but normalises them, and would not find the class by the name that the
/// manifest has.
pub(super) fn is_class_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !KEYWORDS.contains(&name)
        && !USED.contains(&name)
}
