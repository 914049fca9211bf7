//! Who says what a plugin may do.

use async_trait::async_trait;
use mortise_model::{Digest, EventName, Permission, Permissions, PluginId, Provenance};
use tokio::sync::watch;

/// Decides what plugins may do, each time one is about to do it: what it said before may have changed.
#[async_trait]
pub trait Authority: Send + Sync + 'static {
    /// Whether the plugin might do `access` now, and how often. Nothing is used up and nothing remembered.
    ///
    /// # Errors
    /// [`Denied`] with the cure.
    fn judge(&self, asker: Asker<'_>, access: &Permission) -> Result<Leave, Denied>;

    /// Whether the plugin may do `access`, once, now. Dropped, what may be done once may be used up.
    ///
    /// # Errors
    /// [`Denied`] with the cure. It is remembered as what the plugin wants.
    async fn permit(&self, asker: Asker<'_>, access: &Permission) -> Result<(), Denied>;

    /// Remembers as what the plugin wants something that it was denied by [`judge`](Self::judge), when it did not serve yet.
    fn note_denied(&self, _asker: Asker<'_>, _access: &Permission) {}

    /// Whether the plugin might do anything that is part of `access`, which may be a pattern: it may not where this says so,
    /// and whether it may do a single thing only [`judge`](Self::judge) says.
    fn leaves_something(&self, asker: Asker<'_>, access: &Permission) -> bool {
        self.judge(asker, access).is_ok()
    }

    /// Whether the plugin may emit events of that name, as far as its manifest does not say. Asked when it emits one, also where
    /// that is held until it serves.
    fn lets_emit(&self, _asker: Asker<'_>, _event: &EventName) -> bool {
        true
    }

    /// Changes whenever somebody may do more or less than before, apart from what ends by itself. Closed where that never
    /// happens.
    fn changes(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}

/// The plugin that is about to do something.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Its id.
    pub plugin: &'a PluginId,
    /// Over path, mode and content of all of its files.
    pub tree: &'a Digest,
    /// Where they came from.
    pub provenance: &'a Provenance,
    /// What its manifest asks for.
    pub wanted: &'a Permissions,
}

/// How often it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// As often as it likes, for now.
    Lasting,
    /// A single time.
    Once,
}

/// It may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// What would let it, as one clause.
    pub cure: String,
}

/// For plugins that only describe themselves: they may nothing, whoever they say they are.
pub(crate) struct Nobody;

#[async_trait]
impl Authority for Nobody {
    fn judge(&self, _: Asker<'_>, _: &Permission) -> Result<Leave, Denied> {
        Err(Denied { cure: "it is only asked what it would bring".to_owned() })
    }

    async fn permit(&self, asker: Asker<'_>, access: &Permission) -> Result<(), Denied> {
        self.judge(asker, access).map(drop)
    }
}
