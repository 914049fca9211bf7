//! What the store holds, as plain data. How it looks on disk is `codec.rs` and the `serde` attributes here: a change to
//! either is a new format (see `database.rs`).

use crate::codec::{digest, digest_option, instant, instant_option, json, json_option, permission, source};
use jiff::Timestamp;
use mortise_model::{Digest, FunctionName, Json, Permission, PluginId, Provenance, Source};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who claims each bare function name, in order of arrival: the first owns it, the others wait. A name that nobody
/// claims has no entry.
pub type NameClaims = BTreeMap<FunctionName, Vec<PluginId>>;

/// A plugin that is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginRecord {
    /// What the next start should do with it.
    pub desired: Desired,
    /// The generation that serves, or would if it were loaded. None until the first one has proven itself.
    pub current: Option<u64>,
    /// Where a rollback may go, newest first.
    pub previous: Vec<u64>,
    /// The generation that the working copy was last made equal to. Differs from `current` when the host ended between
    /// the record and the exchange of the folder; a folder that is neither of the two was edited by somebody.
    pub working_copy: Option<u64>,
}

impl PluginRecord {
    /// A plugin without any generation yet.
    #[must_use]
    pub fn new(desired: Desired) -> Self {
        Self { desired, current: None, previous: Vec::new(), working_copy: None }
    }
}

/// What the operator or an agent wants of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// To run.
    Loaded,
    /// To stay installed and not run.
    Unloaded,
    /// Not to run before somebody says so.
    Quarantined {
        /// Why, for the operator.
        reason: String,
    },
}

/// One incarnation of a plugin. Written once, when its files are in place; only `description` changes afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationRecord {
    /// As the manifest has it.
    pub version: Option<String>,
    /// Over path, mode and content of every file.
    #[serde(with = "digest")]
    pub tree: Digest,
    /// Of the archive it came in; a folder has none.
    #[serde(default, with = "digest_option", skip_serializing_if = "Option::is_none")]
    pub archive: Option<Digest>,
    /// Where it came from.
    #[serde(with = "source")]
    pub source: Source,
    /// The public key by which its archive's signature was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// When it was put in place.
    #[serde(with = "instant")]
    pub installed_at: Timestamp,
    /// The manifest, as the bundle has it.
    #[serde(with = "json")]
    pub manifest: Json,
    /// What it described of itself when it last started, so that it can be advertised before its code is compiled.
    #[serde(default, with = "json_option", skip_serializing_if = "Option::is_none")]
    pub description: Option<Json>,
}

impl GenerationRecord {
    /// All that is known of where it came from.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        Provenance::new(self.source.clone(), self.archive, self.signer.clone())
    }
}

/// What somebody lets a plugin do, beside what the policy lets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRecord {
    /// What.
    #[serde(with = "permission")]
    pub permission: Permission,
    /// Over the files that it holds for, where it does not hold for whatever comes under the plugin's id.
    #[serde(default, with = "digest_option", skip_serializing_if = "Option::is_none")]
    pub tree: Option<Digest>,
    /// When it was granted.
    #[serde(with = "instant")]
    pub granted_at: Timestamp,
    /// When it ends by itself, if it does.
    #[serde(default, with = "instant_option", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether it ends when it is used.
    pub once: bool,
}

/// A download, so that the next one of the same URL need not bring what is here already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadRecord {
    /// The server's validator, as it came.
    pub etag: String,
    /// Where it came from in the end, as a digest.
    #[serde(with = "digest")]
    pub place: Digest,
    /// Of the archive.
    #[serde(with = "digest")]
    pub archive: Digest,
    /// When the server last said that this is what it has.
    #[serde(with = "instant")]
    pub seen_at: Timestamp,
}

/// Which lifecycle operation. The caller chose the id, so another caller may use the same one: the later operation
/// replaces the earlier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationKey {
    /// The request's id as its JSON text, so that `1` and `"1"` stay two.
    pub request: String,
    /// The host function.
    pub method: String,
}

/// A lifecycle operation, under way or ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// How far it is.
    pub status: OperationStatus,
    /// Which plugin, as soon as that is known.
    pub plugin: Option<PluginId>,
    /// When it began. Together with its key it tells one operation from another.
    #[serde(with = "instant")]
    pub started_at: Timestamp,
    /// When it ended; none while it runs, and none if nobody saw it end.
    #[serde(default, with = "instant_option", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The answer, which may be a failure's.
    #[serde(default, with = "json_option", skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Json>,
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationStatus {
    /// Under way in this process.
    Running,
    /// Answered.
    Done,
    /// It was under way when the host ended. What it had committed stands, and nothing else.
    Interrupted,
}
