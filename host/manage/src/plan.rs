//! `plan_plugin_install`: what an install would change, told before anything is changed, and the digest by which an
//! install holds to it.

mod difference;

use crate::arrival::{Arrived, Candidate, Delivered, read_delivery};
use crate::authority::subject;
use crate::blocking::blocking;
use crate::change::{ChangeError, Verb, change_refusal};
use crate::depot::{DepotError, asker_of_staged, package_of_staged};
use crate::install::disk_refusal;
use crate::manager::Manager;
use crate::object::insert;
use crate::permissions::security;
use crate::refusal::Refusal;
use crate::signature::Arguments;
use crate::status::conflicts;
use crate::versions::source_value;
use mortise_delivery::{IfExists, StagedPlugin, Uploads, native_file};
use mortise_model::{Description, Digest, Limits, PluginId, Provenance, RuntimeKind};
use mortise_plugin::{Outlook, PrepareError};
use mortise_rpc::Origin;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What an install would change. Two plans are the same when their digests are.
struct Plan {
    changes: Value,
    digest: Digest,
    warnings: Vec<String>,
}

/// What is installed now, as far as it is known.
struct Before {
    generation: u64,
    version: Option<String>,
    tree: Digest,
    provenance: Arc<Provenance>,
    running: bool,
    manifest: Map<String, Value>,
    /// None where it never ran.
    description: Option<Description>,
}

impl Manager {
    pub(crate) async fn plan_install(&self, origin: Origin, arguments: Arguments) -> Result<Value, Refusal> {
        let (Arrived { candidate, place }, if_exists) = self.arrive_to_plan(origin, arguments).await?;
        let Candidate { plugin, archive, dependencies: _ } = candidate;
        let provenance = Arc::clone(&plugin.provenance);
        let id = plugin.id.clone();
        let (size, bytes) = (plugin.size, archive.as_ref().map(|archive| archive.bytes));
        let digest = archive.as_ref().map(|archive| archive.pin.digest.to_string());
        let plan = match self.may_take(&id, if_exists).await {
            Ok(()) => self.plan(&plugin).await,
            Err(refusal) => Err(refusal),
        };
        self.discard(plugin).await;
        self.let_go(&id, archive).await;
        // Held until here: what is unpacked to be looked at takes as much of the disk as what is installed.
        drop(place);
        let Plan { mut changes, digest: plan_digest, warnings } = plan?;
        let mut reply = json!({"status": "success"});
        if let (Some(reply), Some(changes)) = (reply.as_object_mut(), changes.as_object_mut()) {
            reply.append(changes);
        }
        insert(&mut reply, "source", source_value(&provenance.source));
        insert(&mut reply, "signer", provenance.signer.clone());
        insert(&mut reply, "digest", digest);
        insert(&mut reply, "sizes", json!({"archive_bytes": bytes, "unpacked_bytes": size.bytes, "files": size.files}));
        insert(&mut reply, "warnings", warnings);
        insert(&mut reply, "plan_digest", plan_digest.to_string());
        Ok(reply)
    }

    /// Holds an install to the plan that was agreed to.
    pub(crate) async fn check_plan(&self, plugin: &StagedPlugin, agreed: &Digest) -> Result<(), Refusal> {
        let plan = self.plan(plugin).await?;
        if plan.digest == *agreed {
            return Ok(());
        }
        Err(Refusal::new("plan_changed", format!("the install of plugin '{}' would differ from its plan", plugin.id))
            .with("plugin_id", plugin.id.as_str())
            .with("plan", plan.changes)
            .with("plan_digest", plan.digest.to_string())
            .hint("look at `plan`, which is what it would change now, and install with its `plan_digest`"))
    }

    async fn arrive_to_plan(
        &self,
        origin: Origin,
        mut arguments: Arguments,
    ) -> Result<(Arrived<'_>, IfExists), Refusal> {
        let ways = ["bundle_b64", "url", "source_path", "upload_id", "manifest"];
        let given: Vec<&str> = ways.into_iter().filter(|way| arguments.has(way)).collect();
        let [way] = given.as_slice() else {
            let message = match given.as_slice() {
                [] => "nothing to plan: where is the plugin?".to_owned(),
                given => format!("{} say each where the plugin is", given.join(" and ")),
            };
            return Err(Refusal::new("invalid_argument", message)
                .hint("give one of `bundle_b64`, `url`, `source_path`, `upload_id` and `manifest`"));
        };
        let foreign: &[&str] = match *way {
            // It says that itself.
            "manifest" => &["plugin_id", "digest", "format", "signature"],
            "upload_id" => &["digest"],
            "source_path" => &["digest", "format", "signature"],
            _ => &[],
        };
        if let Some(stray) = foreign.iter().find(|stray| arguments.has(stray)) {
            return Err(Refusal::new("invalid_argument", format!("`{stray}` means nothing beside `{way}`"))
                .hint(format!("leave `{stray}` out")));
        }
        let arrived = match *way {
            "bundle_b64" => self.arrive_in_bundle(&mut arguments).await,
            "url" => self.arrive_from_url(&arguments).await,
            "source_path" => {
                let arrived = self.arrive_from_folder(origin, &arguments).await;
                return arrived.map(|arrived| (arrived, IfExists::Refuse));
            }
            "upload_id" => self.arrive_by_upload(&arguments, Uploads::verify).await,
            _ => {
                let (delivered, given) = read_delivery(arguments.take_object("manifest")?)?;
                let mut given = Arguments::of(given);
                match delivered {
                    Delivered::Bundle => self.arrive_in_bundle(&mut given).await,
                    Delivered::Url => self.arrive_from_url(&given).await,
                    Delivered::Object => self.arrive_as_object(&mut given).await,
                }
            }
        };
        arrived.map(|arrived| (arrived, IfExists::Replace))
    }

    /// What installing `plugin` now would change.
    async fn plan(&self, plugin: &StagedPlugin) -> Result<Plan, Refusal> {
        let id = &plugin.id;
        let refused = |error: PrepareError| change_refusal(id, &ChangeError::Prepare(error), Verb::Plan);
        // One that asks for more than it may have describes itself with what others have.
        let limits = self.authority.limits(asker_of_staged(plugin), &plugin.manifest);
        let limits = limits.unwrap_or_else(|_| Limits::for_runtime(plugin.manifest.runtime));
        let outlook = self.registry.describe(package_of_staged(plugin, limits)).await.map_err(refused)?;
        let before = self.before(id).await?;
        let policy = self.authority.policy();
        let is_same = before.as_ref().is_some_and(|before| {
            before.tree == plugin.tree && policy.judges_alike(id, &plugin.tree, &before.provenance, &plugin.provenance)
        });
        let mut changes = changes(plugin, &outlook, before.as_ref(), is_same);
        insert(&mut changes, "rule", policy.rule(subject(asker_of_staged(plugin))));
        // Which rule is about it is a part of what was agreed to, so a plan for a plugin of one origin is none for the same
        // files of another that the policy knows. What the rule and grants give is none: to grant something changes no plan.
        let digest = Digest::of(changes.to_string().as_bytes());
        let asker = asker_of_staged(plugin);
        let refused = self.authority.admit_to_serve(asker, &plugin.manifest).err().map(|error| error.to_string());
        insert(&mut changes, "refused", refused);
        if let Some(permissions) = changes.get_mut("permissions") {
            insert(permissions, "denied", self.denied(asker));
        }
        insert(&mut changes, "security", security(asker.wanted));
        let mut warnings: Vec<String> = plugin.manifest.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(outlook.description.warnings);
        if plugin.manifest.runtime == RuntimeKind::Python {
            let root = plugin.root().to_owned();
            let native = blocking(move || Ok::<_, DepotError>(native_file(&root))).await;
            if let Some(file) = native.map_err(|error| disk_refusal(&error))? {
                let file = file.display();
                warnings
                    .push(format!("`{file}` is native code, which does not run in the sandbox: what imports it fails"));
            }
        }
        if before.is_some_and(|before| before.description.is_none()) {
            warnings.push("what the installed version brings is not known, because it never ran here".to_owned());
        }
        Ok(Plan { changes, digest, warnings })
    }

    async fn before(&self, id: &PluginId) -> Result<Option<Before>, Refusal> {
        if let Some(running) = self.running(id) {
            let package = running.package();
            return Ok(Some(Before {
                generation: running.generation(),
                version: package.manifest.version.clone(),
                tree: package.tree,
                provenance: Arc::clone(&package.provenance),
                running: true,
                manifest: package.manifest.raw.clone(),
                description: Some(running.description().clone()),
            }));
        }
        let wanted = id.clone();
        let installed = self.on_disk(move |depot| depot.installed(&wanted)).await;
        let installed = installed.map_err(|error| disk_refusal(&error))?;
        Ok(installed.map(|installed| {
            let manifest = match installed.generation.manifest.to_value() {
                Value::Object(manifest) => manifest,
                _ => Map::new(),
            };
            Before {
                generation: installed.number,
                provenance: Arc::new(installed.generation.provenance()),
                version: installed.generation.version,
                tree: installed.generation.tree,
                running: false,
                manifest,
                description: installed.generation.description.as_ref().and_then(Description::from_json),
            }
        }))
    }
}

/// `is_same`: what is installed is this very plugin.
fn changes(plugin: &StagedPlugin, outlook: &Outlook, before: Option<&Before>, is_same: bool) -> Value {
    let nothing = Description::default();
    let old = before.and_then(|before| before.description.as_ref()).unwrap_or(&nothing);
    let manifest = &plugin.manifest;
    let old_manifest = before.map(|before| &before.manifest);
    let action = match before {
        None => "install",
        Some(before) if is_same && before.running => "unchanged",
        Some(_) if is_same => "load",
        Some(_) => "upgrade",
    };
    let functions = difference::functions(&old.functions, &outlook.description.functions);
    json!({
        "plugin_id": plugin.id,
        "action": action,
        "type": manifest.runtime.name(),
        "version": {"from": before.and_then(|before| before.version.as_deref()), "to": manifest.version},
        "tree_digest": plugin.tree.to_string(),
        "replaces": before.map(|before| json!({
            "generation": before.generation,
            "tree_digest": before.tree.to_string(),
            "running": before.running,
        })),
        // Nobody knows what breaks where nobody knows what was there.
        "breaking": (before.is_none() || before.is_some_and(|before| before.description.is_some()))
            .then_some(functions.breaking),
        "functions": functions.value,
        "events": difference::events(&old.events, &outlook.description.events),
        "routines": difference::routines(&old.routines, &outlook.description.routines),
        "subscriptions": difference::subscriptions(&old.subscriptions, &outlook.description.subscriptions),
        "permissions": difference::settings("permissions", old_manifest, &manifest.raw),
        "limits": difference::settings("limits", old_manifest, &manifest.raw),
        "name_conflicts": conflicts(&outlook.functions),
        "names_passed": outlook
            .passed
            .iter()
            .map(|passed| json!({"function": passed.function, "owner": passed.owner}))
            .collect::<Vec<_>>(),
    })
}
