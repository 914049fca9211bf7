//! What others see of the plugins, derived from the owner task's state: routes, snapshot and events.

use super::task::RegistryTask;
use super::{FunctionStatus, NameOwner, PluginStatus, RunningPlugin};
use crate::generation::Generation;
use crate::ownership::{Ownership, Succession};
use mortise_model::{EventDef, EventName, FunctionName, Json, PluginId};
use mortise_rpc::{AdvertisedFunction, Handler, PluginRoutes, Route};
use std::collections::HashSet;
use std::sync::Arc;

pub(super) struct Built {
    pub(super) routes: PluginRoutes,
    pub(super) left_out: Vec<(PluginId, String)>,
}

impl RegistryTask {
    /// Derives routes and snapshot from the state. Returns what was left out, by plugin.
    pub(super) fn publish(&self) -> Vec<(PluginId, String)> {
        let serving: Vec<&Arc<Generation>> = self.serving().collect();
        let Built { routes, left_out } = self.build(&serving, &self.ownership);
        self.routes.publish(routes);
        self.names.store(Arc::new(self.ownership.claims().clone()));
        self.publish_snapshot();
        left_out
    }

    pub(super) fn publish_snapshot(&self) {
        let running = self.order.iter().filter_map(|id| Some((id, self.plugins.get(id)?)));
        let failed = self.plugins.iter().filter(|(_, entry)| entry.serving.is_none());
        let snapshot = running
            .chain(failed)
            .map(|(id, entry)| PluginStatus {
                id: id.clone(),
                state: entry.state.clone(),
                running: entry.serving.as_ref().map(|serving| RunningPlugin {
                    generation: Arc::clone(&serving.generation),
                    functions: self.functions_of(&serving.generation, &self.ownership),
                }),
            })
            .collect();
        self.snapshot.store(Arc::new(snapshot));
    }

    pub(super) fn build(&self, serving: &[&Arc<Generation>], ownership: &Ownership) -> Built {
        let mut built = Built { routes: PluginRoutes::default(), left_out: Vec::new() };
        let mut events: HashSet<EventName> = HashSet::new();
        for generation in serving {
            let id = &generation.package.id;
            let handler: Arc<dyn Handler> = Arc::<Generation>::clone(generation);
            let described = generation.description();
            for (def, status) in described.functions.iter().zip(self.functions_of(generation, ownership)) {
                let route = Route { function: def.name.shared(), handler: Arc::clone(&handler) };
                let namespaced: Arc<str> = format!("{id}.{}", def.name).into();
                if status.taken_by.is_none() {
                    built.routes.routes.insert(def.name.shared(), route.clone());
                }
                built.routes.routes.insert(namespaced, route);
                built.routes.functions.push(AdvertisedFunction { name: status.advertised_as, def: def.clone() });
            }
            for event in &described.events {
                if self.routes.is_reserved_event(event.name.as_str()) || !events.insert(event.name.clone()) {
                    let text = format!("event `{}` is advertised by another already", event.name);
                    built.left_out.push((id.clone(), text));
                } else {
                    built.routes.events.push(EventDef::clone(event));
                }
            }
        }
        built
    }

    pub(super) fn functions_of(&self, generation: &Generation, ownership: &Ownership) -> Vec<FunctionStatus> {
        let id = &generation.package.id;
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
        generation.description().functions.iter().map(|def| status(&def.name)).collect()
    }

    pub(super) fn announce_loaded(&self, generation: &Generation, passed: &[Succession]) {
        let functions: Vec<&str> = generation.description().functions.iter().map(|def| def.name.as_str()).collect();
        let payload = serde_json::json!({"plugin_id": generation.package.id, "functions": functions});
        self.emit("plugin_loaded", payload, passed);
    }

    pub(super) fn announce_unloaded(&self, id: &PluginId, passed: &[Succession]) {
        self.emit("plugin_unloaded", serde_json::json!({"plugin_id": id}), passed);
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
            self.backend.emit(event.into(), Json::of(&payload));
        }
    }
}
