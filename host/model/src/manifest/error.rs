//! What can be wrong with a manifest, each with its cure.

use super::RuntimeKind;
use super::schema::ConfigError;
use crate::limits::LimitError;
use crate::{IdError, PluginId};

/// Something in a manifest that its author should know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestWarning {
    /// Kept and shown, but nothing reads it.
    #[error("unknown key `{0}`")]
    UnknownKey(String),
    /// Known, but without effect for this type of plugin.
    #[error("`{key}` has no effect for plugins of type `{runtime}`")]
    UnusedKey {
        /// The key.
        key: &'static str,
        /// The plugin's type.
        runtime: RuntimeKind,
    },
    /// The folder's name serves (wire contract 10.12).
    #[error("manifest missing id; using directory name")]
    MissingId,
    /// The folder's name is the id; the manifest says something else (wire contract 10.2).
    #[error("manifest id `{manifest}` differs from the folder's name `{folder}`, which is the plugin's id")]
    IdMismatch {
        /// The plugin's id.
        folder: PluginId,
        /// As the manifest writes it.
        manifest: PluginId,
    },
    /// It asks for more than plugins may have unless a policy says so.
    #[error("{0}, unless the host's policy raises it")]
    LimitRaised(LimitError),
}

/// A manifest that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More text than a manifest may have.
    #[error("manifest.json has {bytes} bytes, more than {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// [`super::MANIFEST_BYTES_MAX`].
        max: usize,
    },
    /// Not JSON, or an object that names a key twice.
    #[error("invalid manifest.json: {0}")]
    Syntax(String),
    /// JSON, but no object.
    #[error("manifest.json must be a JSON object")]
    NotAnObject {
        /// A JSON type.
        got: &'static str,
    },
    /// A value of the wrong JSON type.
    #[error("`{key}` must be {expected}, got {got}")]
    WrongType {
        /// Where, with dots.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// A JSON type.
        got: &'static str,
    },
    /// An unknown top-level key that can only be a slip of a known one.
    #[error("unknown key `{key}`")]
    MisspeltKey {
        /// As written.
        key: String,
        /// What was meant.
        suggestion: &'static str,
    },
    /// An unknown key inside `permissions`, where a slip would go unnoticed until it matters.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// Where, with dots.
        key: String,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// A way to take another generation's place that there is not.
    #[error("unknown `swap` `{got}`")]
    UnknownSwap {
        /// As written.
        got: String,
    },
    /// One that owns what only one can have, and is to be several.
    #[error("`swap` \"exclusive\" is for what only one can have, and `limits.instances` asks for more")]
    ExclusiveInstances,
    /// Neither the manifest nor its folder names the plugin (wire contract 10.5).
    #[error("invalid plugin id: manifest.json has no `id`")]
    MissingId,
    /// An id that breaks the rule of wire contract 1.5.
    #[error(transparent)]
    InvalidId(#[from] IdError),
    /// The manifest's id is not the one the plugin is installed under (wire contract 10.2).
    #[error("plugin id mismatch: expected `{expected}`, got `{got}` from manifest.json")]
    IdMismatch {
        /// The id asked for.
        expected: PluginId,
        /// As the manifest writes it.
        got: PluginId,
    },
    /// A `type` that no runtime has.
    #[error("unknown plugin type `{got}`")]
    UnknownType {
        /// As written.
        got: String,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// No `type`, and an entry point whose extension tells none.
    #[error("`{entry_point}` does not tell the plugin's type")]
    TypeUndetermined {
        /// As written.
        entry_point: String,
    },
    /// No `type`, and an entry point that is a native library.
    #[error("`{entry_point}` is a native library, but manifest.json does not say so")]
    NativeUndeclared {
        /// As written.
        entry_point: String,
    },
    /// A `type` that the entry point contradicts.
    #[error("a plugin of type `{runtime}` cannot have the entry point `{entry_point}`")]
    TypeContradicted {
        /// As written.
        runtime: RuntimeKind,
        /// As written.
        entry_point: String,
    },
    /// No entry point, where only Python plugins have a default.
    #[error("manifest missing entry_point")]
    MissingEntryPoint {
        /// The plugin's type.
        runtime: RuntimeKind,
    },
    /// An entry point that is no plain path inside the plugin's folder.
    #[error("invalid `entry_point` `{path}`: {reason}")]
    EntryPointPath {
        /// As written.
        path: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A Python plugin that does not name its class.
    #[error("manifest missing class_name")]
    MissingClassName,
    /// A pattern, name or path that can match nothing.
    #[error("invalid pattern `{pattern}` in `{key}`: {reason}")]
    Pattern {
        /// Where, with dots.
        key: &'static str,
        /// As written.
        pattern: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// See [`LimitError`].
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl ManifestError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "manifest_too_large",
            Self::Syntax(_) | Self::NotAnObject { .. } => "manifest_not_json",
            Self::WrongType { .. } => "manifest_wrong_type",
            Self::MisspeltKey { .. } | Self::UnknownKey { .. } => "manifest_unknown_key",
            Self::UnknownSwap { .. } | Self::ExclusiveInstances => "manifest_swap",
            Self::MissingId | Self::InvalidId(_) => "invalid_plugin_id",
            Self::IdMismatch { .. } => "plugin_id_mismatch",
            Self::UnknownType { .. }
            | Self::TypeUndetermined { .. }
            | Self::NativeUndeclared { .. }
            | Self::TypeContradicted { .. } => "manifest_type",
            Self::MissingEntryPoint { .. } | Self::EntryPointPath { .. } => "manifest_entry_point",
            Self::MissingClassName => "manifest_class_name",
            Self::Pattern { .. } => "manifest_pattern",
            Self::Limit(error) => error.code(),
            Self::Config(error) => error.code(),
        }
    }

    /// The cure.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::TooLarge { .. } => "move large texts out of manifest.json".to_owned(),
            Self::Syntax(_) => "check the file with a JSON parser".to_owned(),
            Self::NotAnObject { got } => format!("the file holds JSON of type {got}: write {{\"id\": …}}"),
            Self::WrongType { key, expected, .. } => format!("change `{key}` to {expected}"),
            Self::MisspeltKey { suggestion, .. } | Self::UnknownKey { suggestion: Some(suggestion), .. } => {
                format!("did you mean `{suggestion}`?")
            }
            Self::UnknownKey { suggestion: None, key } => format!("remove `{key}`"),
            Self::ExclusiveInstances => "leave `limits.instances` out, or `swap`".to_owned(),
            Self::UnknownSwap { .. } => {
                "set \"swap\" to \"exclusive\", or leave it out to have new versions proven beside the old one"
                    .to_owned()
            }
            Self::MissingId => "add \"id\" to manifest.json, or pass `plugin_id`".to_owned(),
            Self::InvalidId(_) => "use letters, digits, `-` and `_`, beginning with a letter or digit".to_owned(),
            Self::IdMismatch { expected, got } => {
                format!("install it as `{got}`, or change \"id\" in manifest.json to \"{expected}\"")
            }
            Self::UnknownType { suggestion: Some(suggestion), .. } => format!("did you mean `{suggestion}`?"),
            Self::UnknownType { suggestion: None, .. } | Self::TypeUndetermined { .. } => {
                let names: Vec<&str> = RuntimeKind::ALL.iter().map(|kind| kind.name()).collect();
                format!("set \"type\" to one of {}", names.join(", "))
            }
            Self::NativeUndeclared { .. } => {
                "add \"type\": \"native\" if the plugin is meant to run outside the sandbox".to_owned()
            }
            Self::TypeContradicted { .. } => {
                "leave \"type\" out to go by the entry point's extension, or correct \"entry_point\"".to_owned()
            }
            Self::MissingEntryPoint { runtime } => {
                format!("add \"entry_point\": the file that a plugin of type `{runtime}` is run from")
            }
            Self::EntryPointPath { .. } => {
                "name a file inside the plugin's folder, like \"plugin.wasm\" or \"src/main.py\"".to_owned()
            }
            Self::MissingClassName => {
                "add \"class_name\"; a plugin that is not Python says so by its \"entry_point\" or \"type\"".to_owned()
            }
            Self::Pattern { key: "permissions.http", .. } => {
                "write it like `https://api.example.com`, `GET https://*.example.com:8443/v1` or `http://192.168.1.20`"
                    .to_owned()
            }
            Self::Pattern { key: "permissions.env" | "permissions.secrets", .. } => {
                "write a name, without `*`".to_owned()
            }
            Self::Pattern { key, .. } if key.starts_with("permissions.files") => {
                r#"write it like {"path": "/srv/data", "as": "/data", "mode": "ro"}"#.to_owned()
            }
            Self::Pattern { .. } => "write names, with `*` for any run of characters".to_owned(),
            Self::Limit(error) => error.hint(),
            Self::Config(error) => error.hint(),
        }
    }
}
