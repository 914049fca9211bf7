//! Plugins that were taken out of service: nothing of them serves, and their callers are told why.

use super::publish::Built;
use super::task::{RegistryTask, Stand};
use super::{Registry, Removed};
use mortise_model::{Failure, FunctionName, PluginId};
use mortise_rpc::{Admission, Call, Handler, Route};
use std::sync::Arc;
use tracing::warn;

/// A plugin that somebody or something took out of service.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// Its folder's name.
    pub id: PluginId,
    /// Why, as one line.
    pub reason: String,
    /// The functions whose callers are told.
    pub functions: Vec<FunctionName>,
}

impl Registry {
    /// Waits until a plugin has lost more instances than it may, or does so again: [`RunningPlugin::too_many_losses`]
    /// tells which one. For one caller at a time. Cancel safe.
    ///
    /// [`RunningPlugin::too_many_losses`]: crate::RunningPlugin::too_many_losses
    pub async fn too_many_losses(&self) {
        self.shared.accounts.too_many_losses.notified().await;
    }
}

impl RegistryTask {
    /// Takes a plugin out of service, as an unload does, and has its callers told why until it is loaded again. Returns
    /// what an unload would.
    pub(super) fn quarantine(&mut self, plugin: Quarantined) -> Option<Removed> {
        let Quarantined { id, reason, functions } = plugin;
        warn!(plugin = %id, reason = reason.as_str(), "plugin is in quarantine");
        self.take_out(&id, Some(Stand::Quarantined { reason, functions }))
    }

    /// Leads calls that nobody else takes, and that a plugin in quarantine would have taken, to the reason.
    pub(super) fn answer_for_quarantined(&self, built: &mut Built) {
        for (id, stand) in &self.plugins {
            let Stand::Quarantined { reason, functions } = stand else { continue };
            let message =
                format!("plugin `{id}` is in quarantine: {reason}; `load_plugin` or `reload_plugin` takes it out");
            let handler: Arc<dyn Handler> = Arc::new(Refusing(Failure::new("quarantined", message)));
            for function in functions {
                for name in [function.shared(), Arc::from(format!("{id}.{function}"))] {
                    let route = Route { function: function.shared(), handler: Arc::clone(&handler) };
                    built.routes.routes.entry(name).or_insert(route);
                }
            }
        }
    }
}

/// Answers every call with the same failure.
struct Refusing(Failure);

impl Handler for Refusing {
    fn handle(&self, _: &Arc<str>, call: Call) -> Admission {
        call.responder.respond(Err(self.0.clone().into()));
        Admission::Taken
    }
}
