//! Which plugins a rule is about: every condition that it names has to hold.

use crate::{SourceKind, Subject, is_sandboxed};
use mortise_model::{Digest, Limits, Permission, Permissions, Provenance, RuntimeKind, Source, glob, globs_meet};
use serde_json::{Map, Value};
use std::path::{Component, Path, PathBuf};
use std::{fmt, iter};
use url::Url;

/// What counts for some plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PluginRule {
    pub(crate) about: About,
    pub(crate) install: bool,
    pub(crate) grant: Permissions,
    /// None: no bound.
    pub(crate) max: Option<Permissions>,
    /// Patterns of the events that they may emit. None: no bound.
    pub(crate) emit: Option<Vec<String>>,
    /// How high limits may be, as manifests write them; those that are not named as in [`Limits::ceilings`].
    pub(crate) limits: Map<String, Value>,
}

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) id: String,
    /// Of the plugin's files.
    pub(crate) tree_digest: Option<Digest>,
    /// Of the archive they came in.
    pub(crate) digest: Option<Digest>,
    pub(crate) source: Option<SourcePattern>,
    /// The key that signed the archive.
    pub(crate) signer: Option<String>,
}

/// Where files may have come from for a rule to be about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourcePattern {
    /// Wherever, this way; none for what lies in the capabilities folder and nobody installed.
    Any(Option<SourceKind>),
    /// Fetched from this URL, or one below it.
    Url(Url),
    /// Kept by the mesh in this bucket.
    Object(String),
    /// This folder of the machine, or one in it.
    Folder(PathBuf),
}

impl PluginRule {
    pub(crate) fn bears(&self, access: &Permission) -> bool {
        self.install && self.max.as_ref().is_none_or(|max| max.cover(access))
    }

    pub(crate) fn emits(&self, event: &str) -> bool {
        self.emit.as_ref().is_none_or(|emit| emit.iter().any(|pattern| glob(pattern, event)))
    }

    pub(crate) fn ceilings(&self, kind: RuntimeKind) -> Limits {
        // Every rule was tried when it was read.
        Limits::ceilings_named(kind, &self.limits).unwrap_or_else(|_| Limits::ceilings(kind))
    }

    /// What `later` gives to plugins that both are about, and this does not; as its key.
    pub(crate) fn withholds(&self, later: &Self) -> Option<&'static str> {
        if !later.install {
            return None;
        }
        if !self.install {
            return Some("install");
        }
        let is_within =
            |max: &Permissions| later.max.as_ref().is_some_and(|other| other.iter().all(|one| max.cover(one)));
        if self.max.as_ref().is_some_and(|max| !is_within(max)) {
            return Some("max");
        }
        if later.grant.iter().any(|granted| !self.grant.cover(granted)) {
            return Some("grant");
        }
        // A pattern that another covers is matched by it as a text.
        let emits_within = |other: &Vec<String>| other.iter().all(|one| self.emits(one));
        if !later.emit.as_ref().map_or_else(|| self.emits("*"), emits_within) {
            return Some("emit");
        }
        let mut kinds = RuntimeKind::ALL.into_iter().filter(|kind| is_sandboxed(*kind));
        kinds.any(|kind| !later.ceilings(kind).are_within(&self.ceilings(kind))).then_some("limits")
    }
}

impl About {
    pub(crate) fn is(&self, plugin: Subject<'_>) -> bool {
        let provenance = plugin.provenance;
        glob(&self.id, plugin.id.as_str())
            && self.tree_digest.is_none_or(|digest| digest == *plugin.tree)
            && self.digest.is_none_or(|digest| provenance.archive == Some(digest))
            && self.source.as_ref().is_none_or(|source| source.matches(provenance))
            && self.signer.as_ref().is_none_or(|signer| provenance.signer.as_ref() == Some(signer))
    }

    pub(crate) fn to_json(&self) -> Value {
        let conditions = [
            ("tree_digest", self.tree_digest.map(|digest| digest.to_string())),
            ("digest", self.digest.map(|digest| digest.to_string())),
            ("source", self.source.as_ref().map(ToString::to_string)),
            ("signer", self.signer.clone()),
        ];
        let conditions = conditions.into_iter().filter_map(|(key, value)| Some((key, value?)));
        iter::once(("id", self.id.clone())).chain(conditions).collect()
    }

    /// Whether every plugin that `other` is about is one that this is about.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        glob(&self.id, &other.id) && self.conditions_cover(other)
    }

    /// Whether some plugins that `other` is about may meet every condition of this without anything more, by their ids.
    pub(crate) fn takes_over_from(&self, other: &Self) -> bool {
        let mine = Self { source: self.source.clone().filter(|source| !source.is_anybodys()), ..self.clone() };
        globs_meet(&self.id, &other.id) && mine.conditions_cover(other)
    }

    fn conditions_cover(&self, other: &Self) -> bool {
        fn bound<T>(mine: Option<&T>, other: Option<&T>, covers: impl Fn(&T, &T) -> bool) -> bool {
            mine.is_none_or(|mine| other.is_some_and(|other| covers(mine, other)))
        }
        bound(self.tree_digest.as_ref(), other.tree_digest.as_ref(), Digest::eq)
            && bound(self.digest.as_ref(), other.digest.as_ref(), Digest::eq)
            && bound(self.source.as_ref(), other.source.as_ref(), SourcePattern::covers)
            && bound(self.signer.as_ref(), other.signer.as_ref(), String::eq)
    }

    /// Whether it is about some of what comes under an id, and not all.
    pub(crate) fn has_conditions(&self) -> bool {
        self.tree_digest.is_some() || self.digest.is_some() || self.source.is_some() || self.signer.is_some()
    }

    /// Whether the same files may come so that it is not about them. That of a working copy nobody sends.
    pub(crate) fn is_evadable(&self) -> bool {
        let is_sent = |source: &SourcePattern| *source != SourcePattern::Any(None);
        self.digest.is_some() || self.signer.is_some() || self.source.as_ref().is_some_and(is_sent)
    }

    /// A condition that only an archive meets beside a source that brings none.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        let is_folder = match self.source.as_ref()? {
            SourcePattern::Any(kind) => matches!(kind, None | Some(SourceKind::Folder)),
            SourcePattern::Folder(_) => true,
            SourcePattern::Url(_) | SourcePattern::Object(_) => false,
        };
        match self {
            Self { digest: Some(_), .. } if is_folder => Some("digest"),
            Self { signer: Some(_), .. } if is_folder => Some("signer"),
            _ => None,
        }
    }
}

impl SourcePattern {
    /// Whether whoever sends a plugin can have it come that way.
    fn is_anybodys(&self) -> bool {
        matches!(self, Self::Any(Some(SourceKind::Bundle | SourceKind::Upload | SourceKind::Url)))
    }

    /// # Errors
    /// What is wrong with it, as one clause.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (kind, place) = match text.split_once(':') {
            Some((kind, place)) => (kind, Some(place)),
            None => (text, None),
        };
        match (kind, place) {
            (WORKING_COPY, None) => Ok(Self::Any(None)),
            (kind, None) => match SourceKind::ALL.into_iter().find(|known| known.name() == kind) {
                Some(kind) => Ok(Self::Any(Some(kind))),
                None => Err(format!("`{text}` is no source; {KNOWN}")),
            },
            ("url", Some(place)) => match Url::parse(place) {
                Ok(url) if is_prefix(&url) => Ok(Self::Url(url)),
                _ => Err(format!("`{place}` is no URL that archives come from, like `https://example.com/plugins/`")),
            },
            ("object", Some(bucket)) if !bucket.is_empty() && !bucket.contains('/') => {
                Ok(Self::Object(bucket.to_owned()))
            }
            ("folder", Some(path)) if is_plain(Path::new(path)) => Ok(Self::Folder(PathBuf::from(path))),
            ("folder", Some(path)) => Err(format!("`{path}` is not an absolute path without `.` and `..`")),
            _ => Err(format!("`{text}` is no source; {KNOWN}")),
        }
    }

    fn matches(&self, provenance: &Provenance) -> bool {
        match (self, &provenance.source) {
            (Self::Any(kind), source) => *kind == kind_of(source),
            (Self::Url(prefix), Source::Url { .. }) => provenance.url().is_some_and(|url| is_below(prefix, url)),
            (Self::Object(wanted), Source::Object { bucket, .. }) => wanted == bucket,
            (Self::Folder(parent), Source::Folder { path }) => {
                is_plain(Path::new(path)) && Path::new(path).starts_with(parent)
            }
            _ => false,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any(mine), Self::Any(other)) => mine == other,
            (Self::Any(Some(SourceKind::Url)), Self::Url(_))
            | (Self::Any(Some(SourceKind::Object)), Self::Object(_))
            | (Self::Any(Some(SourceKind::Folder)), Self::Folder(_)) => true,
            (Self::Url(mine), Self::Url(other)) => is_below(mine, other),
            (Self::Object(mine), Self::Object(other)) => mine == other,
            (Self::Folder(mine), Self::Folder(other)) => other.starts_with(mine),
            _ => false,
        }
    }
}

/// The working copy, which is no way to arrive.
const WORKING_COPY: &str = "working_copy";

const KNOWN: &str = "there are bundle, upload, url, url:<prefix>, object, object:<bucket>, folder, folder:<path> and \
                     working_copy";

impl fmt::Display for SourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(kind) => f.write_str(kind.map_or(WORKING_COPY, SourceKind::name)),
            Self::Url(prefix) => write!(f, "url:{prefix}"),
            Self::Object(bucket) => write!(f, "object:{bucket}"),
            Self::Folder(path) => write!(f, "folder:{}", path.display()),
        }
    }
}

fn kind_of(source: &Source) -> Option<SourceKind> {
    match source {
        Source::Bundle => Some(SourceKind::Bundle),
        Source::Upload => Some(SourceKind::Upload),
        // The host's own published plugins are installed by their URLs.
        Source::Url { .. } => Some(SourceKind::Url),
        Source::Object { .. } => Some(SourceKind::Object),
        Source::Folder { .. } => Some(SourceKind::Folder),
        Source::WorkingCopy => None,
    }
}

/// What is recorded of a URL has no user, password and query, and below an ambiguous path lies nothing.
fn is_prefix(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "http")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && is_unambiguous(url.path())
}

/// Whether `url` is `prefix`, or lies below it at a `/`. What a server may read as another path lies below none but the
/// whole host.
fn is_below(prefix: &Url, url: &Url) -> bool {
    if prefix.origin() != url.origin() {
        return false;
    }
    let (parent, path) = (prefix.path(), url.path());
    match path.strip_prefix(parent) {
        _ if parent == "/" => true,
        Some("") => true,
        Some(rest) => (parent.ends_with('/') || rest.starts_with('/')) && is_unambiguous(path),
        None => false,
    }
}

/// Whether every server reads the same path: no `.`, `/` or `\` that is written otherwise.
fn is_unambiguous(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    !path.contains(['\\', ';']) && !["%2e", "%2f", "%5c", "%25", "//"].iter().any(|odd| path.contains(odd))
}

/// Absolute, and each part of it a name.
fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().skip(1).all(|part| matches!(part, Component::Normal(_)))
}
