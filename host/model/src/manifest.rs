//! `manifest.json`: a superset of the reference host's (design section 5, wire contract 10.2).

mod entry;
mod error;
mod permissions;
mod schema;
mod strict;
#[cfg(test)]
mod tests;

pub use error::{ManifestError, ManifestWarning};
pub use permissions::{Folder, GUEST_SOURCE};
pub use schema::ConfigError;

use crate::suggestion::{near_miss, suggestion};
use crate::{Instances, Json, LimitError, Limits, Permissions, PluginId};
use permissions::Asked;
use serde_json::{Map, Value};
use std::fmt;

/// How large a manifest may be: `list_plugins` shows every one of them in full.
pub const MANIFEST_BYTES_MAX: usize = 256 << 10;

/// The top-level keys that this version knows.
pub const MANIFEST_KEYS: [&str; 12] = [
    "id",
    "version",
    "description",
    "type",
    "entry_point",
    "class_name",
    "dependencies",
    "permissions",
    "limits",
    "config",
    "config_schema",
    "swap",
];

/// What executes a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuntimeKind {
    /// A WebAssembly component.
    Wasm,
    /// Python source.
    Python,
    /// JavaScript source.
    Javascript,
    /// A shared library.
    Native,
    /// A container.
    Docker,
}

impl RuntimeKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Wasm, Self::Python, Self::Javascript, Self::Native, Self::Docker];

    /// As manifests write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wasm => "wasm",
            Self::Python => "python",
            Self::Javascript => "javascript",
            Self::Native => "native",
            Self::Docker => "docker",
        }
    }

    fn named(name: &str) -> Result<Self, ManifestError> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| ManifestError::UnknownType {
            got: name.to_owned(),
            suggestion: suggestion(name, Self::ALL.map(Self::name)),
        })
    }
}

impl fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a new generation takes the place of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Swap {
    /// It is started and proven beside the old one, which serves until then.
    #[default]
    Beside,
    /// The old one is stopped first: both need something that only one can have.
    Exclusive,
}

impl Swap {
    fn named(name: &str) -> Result<Self, ManifestError> {
        match name {
            "exclusive" => Ok(Self::Exclusive),
            _ => Err(ManifestError::UnknownSwap { got: name.to_owned() }),
        }
    }
}

/// A checked manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// As written, or the folder's name.
    pub id: PluginId,
    /// Free text.
    pub version: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// As written, or told by the entry point's extension.
    pub runtime: RuntimeKind,
    /// A relative path of plain components.
    pub entry_point: String,
    /// Python only.
    pub class_name: Option<String>,
    /// Requirements of Python plugins, as written.
    pub python_dependencies: Vec<String>,
    /// As written, or beside.
    pub swap: Swap,
    /// What it asks for.
    pub permissions: Permissions,
    /// The folders among them.
    pub folders: Vec<Folder>,
    /// The only events that it will emit, as patterns, if it says so.
    pub emits: Option<Vec<String>>,
    /// What it asks for, whether or not a policy lets it have that.
    pub limits: Limits,
    limits_asked: Map<String, Value>,
    /// The plugin's settings, a JSON object, digits and order as written.
    pub config: Json,
    /// The whole file, unknown keys included.
    pub raw: Map<String, Value>,
    /// What is odd but allowed.
    pub warnings: Vec<ManifestWarning>,
}

/// What the folder's name means for the plugin's id.
#[derive(Clone, Copy)]
enum Expected<'a> {
    /// Nothing: the manifest must have an id.
    Nothing,
    /// The id when the manifest has none; another one is an error.
    Exactly(&'a PluginId),
    /// The id in any case; another one is a warning.
    Canonically(&'a PluginId),
}

impl Manifest {
    /// Checks a manifest that is about to be installed.
    ///
    /// With `folder_id`, the plugin is to be known by that id: it serves when the manifest has none.
    ///
    /// # Errors
    /// [`ManifestError`], also when the manifest's id is another than `folder_id`, or when there is neither.
    pub fn parse(bytes: &[u8], folder_id: Option<&PluginId>) -> Result<Self, ManifestError> {
        Self::parse_as(bytes, folder_id.map_or(Expected::Nothing, Expected::Exactly))
    }

    /// Checks the manifest of an installed plugin: its folder's name is its id, and a manifest that says something
    /// else is warned about (wire contract 10.2).
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn parse_installed(bytes: &[u8], folder: &PluginId) -> Result<Self, ManifestError> {
        Self::parse_as(bytes, Expected::Canonically(folder))
    }

    /// What it may use where each limit may be as high as in `ceilings`.
    ///
    /// # Errors
    /// [`LimitError::Raised`] for the first that is to be higher.
    pub fn limits_within(&self, ceilings: &Limits) -> Result<Limits, LimitError> {
        ceilings.given(&Limits::for_runtime(self.runtime), &self.limits_asked)
    }

    fn parse_as(bytes: &[u8], expected: Expected<'_>) -> Result<Self, ManifestError> {
        let raw = object(bytes)?;
        let mut warnings = unknown_keys(&raw)?;
        let (id, id_warning) = id(&raw, expected)?;
        warnings.extend(id_warning);
        let declared = text(&raw, "type")?.map(RuntimeKind::named).transpose()?;
        let (runtime, entry_point) = entry::resolve(declared, text(&raw, "entry_point")?)?;
        let class_name = text(&raw, "class_name")?.filter(|name| !name.is_empty());
        match (runtime, class_name) {
            (RuntimeKind::Python, None) => return Err(ManifestError::MissingClassName),
            (RuntimeKind::Python | RuntimeKind::Docker, _) | (_, None) => {}
            (_, Some(_)) => warnings.push(ManifestWarning::UnusedKey { key: "class_name", runtime }),
        }
        let python_dependencies = python_dependencies(&raw, &mut warnings)?;
        let defaults = Limits::for_runtime(runtime);
        let limits_asked = member(&raw, "limits")?.cloned().unwrap_or_default();
        let limits = Limits::MOST.given(&defaults, &limits_asked)?;
        if let Err(error) = Limits::ceilings(runtime).given(&defaults, &limits_asked) {
            warnings.push(ManifestWarning::LimitRaised(error));
        }
        let swap = text(&raw, "swap")?.map(Swap::named).transpose()?.unwrap_or_default();
        if swap == Swap::Exclusive && limits.instances != Instances::UpTo(1) {
            return Err(ManifestError::ExclusiveInstances);
        }
        let Asked { permissions, folders, emits } =
            member(&raw, "permissions")?.map(permissions::parse).transpose()?.unwrap_or_default();
        let empty = Map::new();
        let config = member(&raw, "config")?.unwrap_or(&empty);
        if let Some(schema) = member(&raw, "config_schema")? {
            schema::check(schema, config)?;
        }
        Ok(Self {
            id,
            version: text(&raw, "version")?.map(str::to_owned),
            description: text(&raw, "description")?.map(str::to_owned),
            runtime,
            entry_point,
            class_name: class_name.map(str::to_owned),
            python_dependencies,
            swap,
            permissions,
            folders,
            emits,
            limits,
            limits_asked,
            config: config_text(bytes).unwrap_or_else(|| Json::of(&Value::Object(config.clone()))),
            raw,
            warnings,
        })
    }
}

/// Parses the file into the object that it must hold.
fn object(bytes: &[u8]) -> Result<Map<String, Value>, ManifestError> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(ManifestError::TooLarge { bytes: bytes.len(), max: MANIFEST_BYTES_MAX });
    }
    match strict::parse(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(ManifestError::NotAnObject { got: json_type(&other) }),
        Err(error) => Err(ManifestError::Syntax(error.to_string())),
    }
}

fn unknown_keys(raw: &Map<String, Value>) -> Result<Vec<ManifestWarning>, ManifestError> {
    let mut warnings = Vec::new();
    for key in raw.keys().filter(|key| !MANIFEST_KEYS.contains(&key.as_str())) {
        if let Some(suggestion) = near_miss(key, MANIFEST_KEYS) {
            return Err(ManifestError::MisspeltKey { key: key.clone(), suggestion });
        }
        warnings.push(ManifestWarning::UnknownKey(key.clone()));
    }
    Ok(warnings)
}

fn id(raw: &Map<String, Value>, expected: Expected<'_>) -> Result<(PluginId, Option<ManifestWarning>), ManifestError> {
    let written = text(raw, "id")?;
    match (written, expected) {
        (None, Expected::Nothing) => Err(ManifestError::MissingId),
        (None, Expected::Exactly(folder) | Expected::Canonically(folder)) => {
            Ok((folder.clone(), Some(ManifestWarning::MissingId)))
        }
        (Some(written), expected) => {
            let written = PluginId::new(written)?;
            match expected {
                Expected::Exactly(id) if *id != written => {
                    Err(ManifestError::IdMismatch { expected: id.clone(), got: written })
                }
                Expected::Canonically(folder) if *folder != written => {
                    let warning = ManifestWarning::IdMismatch { folder: folder.clone(), manifest: written };
                    Ok((folder.clone(), Some(warning)))
                }
                _ => Ok((written, None)),
            }
        }
    }
}

fn python_dependencies(
    raw: &Map<String, Value>,
    warnings: &mut Vec<ManifestWarning>,
) -> Result<Vec<String>, ManifestError> {
    let Some(dependencies) = member(raw, "dependencies")? else {
        return Ok(Vec::new());
    };
    let mut requirements = Vec::new();
    for (language, value) in dependencies {
        let key = format!("dependencies.{language}");
        if language == "python" {
            requirements = texts(&key, value)?;
        } else {
            warnings.push(ManifestWarning::UnknownKey(key));
        }
    }
    Ok(requirements)
}

/// The text of `config` as written: parsed into a tree, long numbers would lose digits.
fn config_text(bytes: &[u8]) -> Option<Json> {
    #[derive(serde::Deserialize)]
    struct Config {
        config: Option<Box<serde_json::value::RawValue>>,
    }
    serde_json::from_slice::<Config>(bytes).ok()?.config.map(Json::from)
}

/// An optional text; `null` means that it is not there.
fn text<'a>(raw: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, ManifestError> {
    match raw.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong_type(key, "a string", other)),
    }
}

/// An optional object; `null` means that it is not there.
fn member<'a>(raw: &'a Map<String, Value>, key: &str) -> Result<Option<&'a Map<String, Value>>, ManifestError> {
    match raw.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(other) => Err(wrong_type(key, "an object", other)),
    }
}

fn texts(key: &str, value: &Value) -> Result<Vec<String>, ManifestError> {
    let expected = "an array of strings";
    let items = value.as_array().ok_or_else(|| wrong_type(key, expected, value))?;
    let text = |item: &Value| item.as_str().map(str::to_owned).ok_or_else(|| wrong_type(key, expected, item));
    items.iter().map(text).collect()
}

fn wrong_type(key: &str, expected: &'static str, got: &Value) -> ManifestError {
    ManifestError::WrongType { key: key.to_owned(), expected, got: json_type(got) }
}

/// The name of a value's JSON type.
pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
