//! What can be wrong with a policy file.

use mortise_model::LimitError;

/// A policy file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More text than a policy may have.
    #[error("the policy has {bytes} bytes, more than {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// [`crate::POLICY_BYTES_MAX`].
        max: usize,
    },
    /// No TOML, an unknown key, or a value of the wrong kind.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// One line.
        reason: String,
    },
    /// Nothing at all: rather a file that is being written than a policy.
    #[error("it is empty")]
    Empty,
    /// A pattern that none of the host's functions matches.
    #[error("`{pattern}` in `{key}` is none of the host's functions")]
    UnknownFunction {
        /// Where, with dots.
        key: &'static str,
        /// As written.
        pattern: String,
        /// Those that there are.
        known: String,
    },
    /// Folders to install from, where nothing may be installed from folders.
    #[error("`install.source_roots` means nothing while `install.sources` lacks `folder`")]
    RootsWithoutFolders,
    /// A runtime that this version does not have.
    #[error("`runtimes.{name}` cannot be on: this version runs no such plugins")]
    NoRuntime {
        /// Its key.
        name: &'static str,
    },
    /// Signatures of nobody.
    #[error("`install.require_signature` lets nothing be installed while `install.signers` names nobody")]
    NoSigners,
    /// Folders to install from, which have no signature.
    #[error("`install.source_roots` means nothing with `install.require_signature`: a folder has no signature")]
    RootsUnsigned,
    /// A signer whose signatures are not verified.
    #[error("rule {rule} for plugins `{id}` never matches: `install.signers` does not name `{signer}`")]
    UnknownSigner {
        /// Which of `[[plugin]]`, from 1.
        rule: usize,
        /// Its pattern.
        id: String,
        /// The key.
        signer: String,
    },
    /// A limit that no plugin can have.
    #[error("rule {rule} for plugins `{id}`")]
    Limit {
        /// Which of `[[plugin]]`, from 1.
        rule: usize,
        /// Its pattern.
        id: String,
        /// Which, and why.
        #[source]
        source: Box<LimitError>,
    },
    /// A limit that is what it is.
    #[error("rule {rule} for plugins `{id}`: `limits.{name}` is the same for all of them")]
    FixedLimit {
        /// Which of `[[plugin]]`, from 1.
        rule: usize,
        /// Its pattern.
        id: String,
        /// Of the limit.
        name: &'static str,
    },
    /// A plugin that may not be installed is given something.
    #[error(
        "rule {rule} for plugins `{id}` admits none of them, and so its `grant`, `max`, `emit` and `limits` mean nothing"
    )]
    NotInstalled {
        /// Which of `[[plugin]]`, from 1.
        rule: usize,
        /// Its pattern.
        id: String,
    },
    /// Other files under the same id would have no rule, and no bound.
    #[error(
        "rule {rule} for plugins `{id}` is about some of them, and no later rule says what counts for others of that id"
    )]
    OthersUnruled {
        /// Which of `[[plugin]]`, from 1.
        rule: usize,
        /// Its pattern.
        id: String,
    },
    /// A rule that takes away what the same files get when they are sent another way.
    #[error(
        "rule {rule} for plugins `{id}` gives less than rule {later} (`{key}`), which counts where the same files are sent another \
         way"
    )]
    Evadable {
        /// Which of `[[plugin]]`, from 1.
        rule: usize,
        /// Its pattern.
        id: String,
        /// What it gives less of.
        key: &'static str,
        /// The rule that counts then, from 1.
        later: usize,
    },
    /// Conditions that no plugin meets together.
    #[error(
        "rule {rule} for plugins `{id}` never matches: what comes from `{from}` is no archive, and has no `{condition}`"
    )]
    NeverMatches {
        /// Which of `[[plugin]]`, from 1.
        rule: usize,
        /// Its pattern.
        id: String,
        /// Which condition.
        condition: &'static str,
        /// As written.
        from: String,
    },
    /// A pattern with a character that no name has.
    #[error("`{pattern}` in `{key}` can match no name")]
    Pattern {
        /// Where, with dots.
        key: &'static str,
        /// As written.
        pattern: String,
    },
    /// What is granted lies beyond what may be.
    #[error("rule {rule} for plugins `{id}` grants `{permission}`, which its `max` does not cover")]
    BeyondMax {
        /// Which of `[[plugin]]`, from 1.
        rule: usize,
        /// Its pattern.
        id: String,
        /// As written.
        permission: String,
    },
    /// A rule that a rule before it leaves nothing to.
    #[error(
        "rule {rule} for plugins `{id}` never counts: rule {earlier} matches all of them, and the first match counts"
    )]
    NeverCounts {
        /// Which of `[[plugin]]`, from 1.
        rule: usize,
        /// Its pattern.
        id: String,
        /// The one before, from 1.
        earlier: usize,
    },
}

impl PolicyError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "policy_too_large",
            Self::Syntax { .. } => "policy_syntax",
            Self::Empty => "policy_empty",
            Self::UnknownFunction { .. } => "policy_function",
            Self::RootsWithoutFolders | Self::RootsUnsigned | Self::NotInstalled { .. } => "policy_without_effect",
            Self::NoRuntime { .. } => "policy_unsupported",
            Self::NoSigners | Self::UnknownSigner { .. } => "policy_signer",
            Self::OthersUnruled { .. } => "policy_unruled",
            Self::Evadable { .. } => "policy_evadable",
            Self::Pattern { .. } => "policy_pattern",
            Self::NeverMatches { .. } => "policy_condition",
            Self::BeyondMax { .. } => "policy_max",
            Self::NeverCounts { .. } => "policy_order",
            Self::Limit { .. } | Self::FixedLimit { .. } => "policy_limit",
        }
    }

    /// The cure, as one line.
    #[must_use]
    pub fn hint(&self) -> String {
        let text = match self {
            Self::UnknownFunction { known, .. } => {
                return format!("there are {known}; those that grant have to be named, without `*`");
            }
            Self::Limit { source, .. } => match &**source {
                LimitError::Raised { ceiling, .. } => return format!("write at most {ceiling}"),
                other => return other.hint(),
            },
            Self::OthersUnruled { id, .. } => {
                return format!("write a rule for `{id}` behind it, with `max = []` or `install = false`");
            }
            Self::Evadable { later, .. } => {
                return format!(
                    "give at least as much as there by `digest`, `source` and `signer`; take away by `id` or `tree_digest`, or in rule \
                     {later}"
                );
            }
            Self::TooLarge { .. } => "write patterns with `*` in place of many rules",
            Self::Empty => "write `profile = \"strict\"` where nothing more is meant",
            Self::Syntax { .. } => "docs/permissions.md lists every key of a policy",
            Self::RootsWithoutFolders => "leave the roots out, or add `folder` to the sources",
            Self::NoRuntime { .. } => "leave it out, or write `false`",
            Self::NoSigners => "name the public keys that you trust in `install.signers`",
            Self::UnknownSigner { .. } => "add the key to `install.signers`",
            Self::RootsUnsigned | Self::NotInstalled { .. } => "leave them out",
            Self::FixedLimit { .. } => "leave it out",
            Self::NeverMatches { .. } => "leave one of the two out; `tree_digest` pins the files of a folder",
            Self::Pattern { .. } => "write names, with `*` for any run of characters",
            Self::BeyondMax { .. } => "take it out of `grant`, or add it to `max`",
            Self::NeverCounts { .. } => "write the narrower rule first",
        };
        text.to_owned()
    }
}
