//! The callable functions: an immutable table, swapped as a whole.

use crate::call::Handler;
use crate::capabilities::encode_capabilities;
use arc_swap::{ArcSwap, Guard};
use mortise_model::{EventDef, FunctionDef, Json};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::watch;

/// Answered by the runtime itself, before any function (wire contract 3.2).
pub const REQUEST_REGISTRATION: &str = "requestRegistration";

/// Where calls of one name go.
#[derive(Clone)]
pub struct Route {
    /// The function as its handler names it.
    pub function: Arc<str>,
    /// Serves it.
    pub handler: Arc<dyn Handler>,
}

/// One function of the host itself.
pub struct HostRoute {
    /// As advertised.
    pub def: FunctionDef,
    /// Serves it.
    pub handler: Arc<dyn Handler>,
}

/// One function of a plugin under the name it is advertised by.
#[derive(Debug, Clone)]
pub struct AdvertisedFunction {
    /// Bare, or `<plugin id>.<function>` where the bare name belongs to another.
    pub name: Arc<str>,
    /// Everything else.
    pub def: FunctionDef,
}

/// What plugins bring to the table.
#[derive(Clone, Default)]
pub struct PluginRoutes {
    /// By every name that may be called.
    pub routes: HashMap<Arc<str>, Route>,
    /// What is advertised; in any order.
    pub functions: Vec<AdvertisedFunction>,
    /// What is advertised; in any order, names unique.
    pub events: Vec<EventDef>,
}

/// One version of the table.
pub struct RouteTable {
    routes: HashMap<Arc<str>, Route>,
    capabilities: Json,
}

impl RouteTable {
    /// Where calls of `name` go.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<&Route> {
        self.routes.get(name)
    }

    /// The capabilities object of presence and registration (wire contract 6.1).
    #[must_use]
    pub fn capabilities(&self) -> &Json {
        &self.capabilities
    }
}

struct Host {
    routes: HashMap<Arc<str>, Route>,
    functions: Vec<FunctionDef>,
    events: Vec<EventDef>,
    /// Which functions callers on the mesh may use. The others can be called, and refuse.
    offers: Offers,
}

/// Whether a function of the host is advertised.
type Offers = Box<dyn Fn(&str) -> bool + Send + Sync>;

struct Shared {
    host: OnceLock<Host>,
    /// What plugins brought last. The std mutex is held while a table is made, so that the newest is the last.
    plugins: Mutex<PluginRoutes>,
    table: ArcSwap<RouteTable>,
    version: watch::Sender<u64>,
}

/// The newest table and a way to follow it. Cheap to clone.
#[derive(Clone)]
pub struct Routes(Arc<Shared>);

impl Routes {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        let capabilities = encode_capabilities(&[], &[], &[]);
        let table = RouteTable { routes: HashMap::new(), capabilities };
        let (version, _) = watch::channel(0);
        let plugins = Mutex::default();
        Self(Arc::new(Shared { host: OnceLock::new(), plugins, table: ArcSwap::from_pointee(table), version }))
    }

    /// Puts the host's own functions in, in the order they are advertised, as far as `offers` says yes: what it says may
    /// change, see [`Routes::refresh`]. Counts only once, before any plugin.
    pub fn install_host(
        &self,
        functions: Vec<HostRoute>,
        events: Vec<EventDef>,
        offers: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) {
        let routes = functions
            .iter()
            .map(|route| {
                let name = route.def.name.shared();
                (Arc::clone(&name), Route { function: name, handler: Arc::clone(&route.handler) })
            })
            .collect();
        let functions = functions.into_iter().map(|route| route.def).collect();
        let offers = Box::new(offers);
        if self.0.host.set(Host { routes, functions, events, offers }).is_ok() {
            self.refresh();
        }
    }

    /// Whether a plugin may not have `name`: it belongs to the host.
    #[must_use]
    pub fn is_reserved(&self, name: &str) -> bool {
        name == REQUEST_REGISTRATION || self.0.host.get().is_some_and(|host| host.routes.contains_key(name))
    }

    /// Whether an event of this name belongs to the host.
    #[must_use]
    pub fn is_reserved_event(&self, name: &str) -> bool {
        self.0.host.get().is_some_and(|host| host.events.iter().any(|event| event.name.as_str() == name))
    }

    /// The bytes that advertising `plugins` would take at most, whatever the host comes to offer.
    #[must_use]
    pub fn advertisement_bytes(&self, plugins: &PluginRoutes) -> usize {
        self.encode(plugins, |_, _| true).as_str().len()
    }

    /// Swaps the table. Calls that took the old one end on it. The host's own functions cannot be shadowed.
    pub fn publish(&self, plugins: PluginRoutes) {
        let mut last = self.0.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        *last = plugins;
        self.swap(&last);
    }

    /// Advertises anew: what the host offers has changed.
    pub fn refresh(&self) {
        self.swap(&self.0.plugins.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn swap(&self, plugins: &PluginRoutes) {
        let capabilities = self.encode(plugins, |host, name| (host.offers)(name));
        let mut routes = plugins.routes.clone();
        if let Some(host) = self.0.host.get() {
            routes.extend(host.routes.iter().map(|(name, route)| (Arc::clone(name), route.clone())));
        }
        self.0.table.store(Arc::new(RouteTable { routes, capabilities }));
        self.0.version.send_modify(|version| *version += 1);
    }

    /// The newest table. Held for a moment only: take what is needed and let go.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<RouteTable>> {
        self.0.table.load()
    }

    /// Follows the table: changes after every swap.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    fn encode(&self, plugins: &PluginRoutes, offers: impl Fn(&Host, &str) -> bool) -> Json {
        let (functions, events) = match self.0.host.get() {
            Some(host) => {
                let offered = host.functions.iter().filter(|function| offers(host, function.name.as_str()));
                (offered.collect(), host.events.as_slice())
            }
            None => (Vec::new(), &[][..]),
        };
        let mut advertised: Vec<&AdvertisedFunction> = plugins.functions.iter().collect();
        advertised.sort_by(|a, b| a.name.cmp(&b.name));
        let mut all_events: Vec<&EventDef> = events.iter().chain(&plugins.events).collect();
        all_events.sort_by(|a, b| a.name.cmp(&b.name));
        encode_capabilities(&functions, &advertised, &all_events)
    }
}

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Routes({})", *self.0.version.borrow())
    }
}
