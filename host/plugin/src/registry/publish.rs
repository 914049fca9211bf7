//! What others see of the plugins, derived from the owner task's state: routes, snapshot and events.

use super::task::RegistryTask;
use super::{FunctionStatus, NameOwner, PluginStatus, RunningPlugin};
use crate::generation::Generation;
use crate::ownership::{Ownership, Succession};
use crate::waiting::WaitingRoom;
use mortise_model::{Description, EventDef, EventName, FunctionName, Json, PluginId};
use mortise_rpc::{AdvertisedFunction, Handler, PluginRoutes, Route};
use std::collections::HashSet;
use std::sync::Arc;

/// What a plugin brings to the table, and who takes its calls.
pub(super) struct Offer<'a> {
    pub(super) id: &'a PluginId,
    pub(super) description: &'a Description,
    taker: Taker<'a>,
}

enum Taker<'a> {
    Generation(&'a Arc<Generation>),
    Room(&'a Arc<WaitingRoom>),
}

impl<'a> From<&'a Arc<Generation>> for Offer<'a> {
    fn from(generation: &'a Arc<Generation>) -> Self {
        let (id, description) = (&generation.package.id, generation.description());
        Self { id, description, taker: Taker::Generation(generation) }
    }
}

impl<'a> From<&'a Arc<WaitingRoom>> for Offer<'a> {
    fn from(room: &'a Arc<WaitingRoom>) -> Self {
        Self { id: room.plugin(), description: room.description(), taker: Taker::Room(room) }
    }
}

impl Offer<'_> {
    pub(super) fn function_names(&self) -> Vec<FunctionName> {
        self.description.functions.iter().map(|def| def.name.clone()).collect()
    }

    /// Where calls of `function` go that say `method`.
    fn route(&self, function: &FunctionName, method: &Arc<str>) -> Route {
        match self.taker {
            Taker::Generation(generation) => {
                let handler: Arc<dyn Handler> = Arc::<Generation>::clone(generation);
                Route { function: function.shared(), handler }
            }
            Taker::Room(room) => {
                let handler: Arc<dyn Handler> = Arc::<WaitingRoom>::clone(room);
                Route { function: Arc::clone(method), handler }
            }
        }
    }
}

pub(super) struct Built {
    pub(super) routes: PluginRoutes,
    pub(super) left_out: Vec<(PluginId, String)>,
}

impl RegistryTask {
    /// Derives routes and snapshot from the state. Returns what was left out, by plugin.
    pub(super) fn publish(&self) -> Vec<(PluginId, String)> {
        let offers: Vec<Offer<'_>> = self.offers().collect();
        let mut built = self.build(&offers, &self.ownership);
        self.answer_for_quarantined(&mut built);
        let Built { routes, left_out } = built;
        self.routes.publish(routes);
        self.names.store(Arc::new(self.ownership.claims().clone()));
        self.publish_snapshot();
        left_out
    }

    pub(super) fn publish_snapshot(&self) {
        let offering = self.order.iter().filter_map(|id| Some((id, self.plugins.get(id)?)));
        let failed = self.plugins.iter().filter(|(_, stand)| stand.offer().is_none());
        let snapshot = offering
            .chain(failed)
            .map(|(id, stand)| PluginStatus {
                id: id.clone(),
                state: stand.state(),
                running: stand.serving().map(|serving| RunningPlugin {
                    generation: Arc::clone(&serving.generation),
                    functions: self.functions_of(&Offer::from(&serving.generation), &self.ownership),
                }),
            })
            .collect();
        self.snapshot.store(Arc::new(snapshot));
    }

    pub(super) fn build(&self, offers: &[Offer<'_>], ownership: &Ownership) -> Built {
        let mut built = Built { routes: PluginRoutes::default(), left_out: Vec::new() };
        let mut events: HashSet<EventName> = HashSet::new();
        for offer in offers {
            let Offer { id, description, .. } = *offer;
            for (def, status) in description.functions.iter().zip(self.functions_of(offer, ownership)) {
                let (bare, namespaced) = (def.name.shared(), Arc::from(format!("{id}.{}", def.name)));
                if status.taken_by.is_none() {
                    built.routes.routes.insert(Arc::clone(&bare), offer.route(&def.name, &bare));
                }
                let route = offer.route(&def.name, &namespaced);
                built.routes.routes.insert(namespaced, route);
                built.routes.functions.push(AdvertisedFunction { name: status.advertised_as, def: def.clone() });
            }
            for event in &description.events {
                if self.routes.is_reserved_event(event.name.as_str()) || !events.insert(event.name.clone()) {
                    let text = format!("event `{}` is advertised by another already", event.name);
                    built.left_out.push((PluginId::clone(id), text));
                } else {
                    built.routes.events.push(EventDef::clone(event));
                }
            }
        }
        built
    }

    pub(super) fn functions_of(&self, offer: &Offer<'_>, ownership: &Ownership) -> Vec<FunctionStatus> {
        let id = offer.id;
        let status = |name: &FunctionName| {
            let taken_by = if self.routes.is_reserved(name.as_str()) {
                Some(NameOwner::Host)
            } else {
                ownership.owner(name).filter(|owner| *owner != id).cloned().map(NameOwner::Plugin)
            };
            let advertised_as = match taken_by {
                None => name.shared(),
                Some(_) => format!("{id}.{name}").into(),
            };
            FunctionStatus { name: name.clone(), advertised_as, taken_by }
        };
        offer.description.functions.iter().map(|def| status(&def.name)).collect()
    }

    pub(super) fn announce_loaded(&self, generation: &Generation, passed: &[Succession]) {
        let functions: Vec<&str> = generation.description().functions.iter().map(|def| def.name.as_str()).collect();
        let payload = serde_json::json!({"plugin_id": generation.package.id, "functions": functions});
        self.emit("plugin_loaded", payload, passed);
    }

    /// With the reason where nobody asked for it.
    pub(super) fn announce_unloaded(&self, id: &PluginId, passed: &[Succession], reason: Option<&str>) {
        let payload = match reason {
            Some(reason) => serde_json::json!({"plugin_id": id, "reason": reason}),
            None => serde_json::json!({"plugin_id": id}),
        };
        self.emit("plugin_unloaded", payload, passed);
    }

    fn emit(&self, event: &str, mut payload: serde_json::Value, passed: &[Succession]) {
        if let (false, Some(payload)) = (passed.is_empty(), payload.as_object_mut()) {
            let passed = passed
                .iter()
                .map(|passed| serde_json::json!({"function": passed.function, "owner": passed.owner}))
                .collect();
            payload.insert("names_passed".to_owned(), passed);
        }
        // Both names are legal.
        if let Ok(event) = EventName::new(event) {
            self.backend.emit(None, event.into(), Json::of(&payload));
        }
    }
}
