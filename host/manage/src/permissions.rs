//! `get_plugin_permissions`, `grant_plugin_permission` and `revoke_plugin_permission`.

use crate::authority::{By, GrantError, Tried, grant_command};
use crate::install::disk_refusal;
use crate::manager::Manager;
use crate::object::insert;
use crate::refusal::{Refusal, chain};
use crate::signature::Arguments;
use crate::versions::{installed_id, not_installed};
use jiff::Timestamp;
use mortise_delivery::list_folders;
use mortise_model::{Digest, Manifest, Permission, PermissionError, Permissions, PluginId, Provenance, TimeSpan};
use mortise_plugin::Asker;
use mortise_policy::rate;
use mortise_store::GrantRecord;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::{info, warn};

/// What a plugin asks for, whether or not it runs.
#[derive(Clone)]
pub(crate) struct Asking {
    pub(crate) id: PluginId,
    /// None where its folder was never loaded: its files are not known yet.
    tree: Option<Digest>,
    provenance: Arc<Provenance>,
    /// Of other files that are installed and wait to be loaded.
    waiting: Option<(Digest, Arc<Provenance>)>,
    pub(crate) manifest: Arc<Manifest>,
}

impl Asking {
    pub(crate) fn asker(&self) -> Asker<'_> {
        let tree = self.tree.as_ref().unwrap_or(&UNKNOWN_TREE);
        Asker { plugin: &self.id, tree, provenance: &self.provenance, wanted: &self.manifest.permissions }
    }
}

/// No files have it.
const UNKNOWN_TREE: Digest = Digest::from_bytes([0; 32]);

impl Manager {
    pub(crate) async fn permissions(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let asking = self.asking(arguments).await?;
        let (id, asker) = (&asking.id, asking.asker());
        let held = |wanted: &Permission| self.authority.holds(asker, wanted).map(word);
        let wanted: Vec<Value> = (asker.wanted.iter())
            .map(|wanted| json!({"permission": wanted.to_string(), "granted_by": held(wanted)}))
            .collect();
        let grants: Vec<Value> = self.authority.grants(id).iter().map(|grant| self.grant_value(asker, grant)).collect();
        let mut lacking: BTreeMap<Permission, Option<Tried>> =
            self.authority.lacking(asker).into_iter().map(|lacking| (lacking, None)).collect();
        let tried = self.authority.denied(id).into_iter().filter(|(tried, _)| held(tried).is_none());
        lacking.extend(tried.map(|(access, tried)| (access, Some(tried))));
        let pending: Vec<Value> = lacking
            .iter()
            .map(|(lacking, tried)| {
                let mut value = self.pending(asker, lacking);
                if let Some(tried) = tried {
                    insert(&mut value, "tried", tried.times);
                    insert(&mut value, "last_tried_at", tried.last_at.to_string());
                }
                value
            })
            .collect();
        Ok(json!({
            "status": "success",
            "plugin_id": id,
            "wanted": wanted,
            "grants": grants,
            "pending": pending,
            "security": security(asker.wanted),
        }))
    }

    pub(crate) async fn grant(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let permission = permission(arguments)?;
        let once = arguments.optional_flag("once")?.unwrap_or(false);
        let this_version = arguments.optional_flag("this_version")?.unwrap_or(false);
        let now = Timestamp::now();
        let expires_at = arguments.optional_text("expires_in")?.map(|text| expiry(now, text)).transpose()?;
        if matches!(permission, Permission::Files(_)) && once {
            return Err(Refusal::new("invalid_argument", format!("`{permission}` cannot be granted once"))
                .hint("an instance has its folders for as long as it lives: grant it for a time with `expires_in`"));
        }
        if matches!(permission, Permission::MeshSubscribe { .. }) && once {
            return Err(Refusal::new("invalid_argument", format!("`{permission}` cannot be granted once"))
                .hint("a subscription hears one event after another: grant it for a time with `expires_in`"));
        }
        let asking = self.asking(arguments).await.map_err(|refusal| match refusal.code {
            "not_installed" => refusal.hint("install it first, with `load` false if it does not start without"),
            _ => refusal,
        })?;
        let id = &asking.id;
        let asks_for = |asking: &Asking| asking.asker().wanted.iter().any(|wanted| permission.covers(wanted));
        let waiting =
            asking.waiting.clone().map(|(tree, provenance)| Asking { tree: Some(tree), provenance, ..asking.clone() });
        // What a version that waits asks for is known once it serves.
        if matches!(permission, Permission::Files(_)) && !asks_for(&asking) && waiting.is_none() {
            let message = format!("plugin '{id}' does not ask for `{permission}`, and would never see it");
            return Err(Refusal::new("not_asked_for", message)
                .with("plugin_id", id.as_str())
                .hint("its manifest says in `permissions.files` which folder it sees, and where"));
        }
        let bears = |asking: &Asking| self.authority.may_bear(asking.asker(), &permission);
        if !bears(&asking) && !waiting.as_ref().is_some_and(bears) {
            let message = format!("the policy does not let plugin '{id}' be granted `{permission}`");
            return Err(Refusal::new("beyond_policy", message)
                .with("plugin_id", id.as_str())
                .hint("the operator raises `max` of the plugin's rule in the policy file"));
        }
        let newest = asking.waiting.as_ref().map(|(tree, _)| *tree).or(asking.tree);
        let tree = if this_version { Some(newest.ok_or_else(|| no_version(id))?) } else { None };
        let grant = GrantRecord { permission: permission.clone(), tree, granted_at: now, expires_at, once };
        let value = self.grant_value(asking.asker(), &grant);
        self.authority.grant(id, grant).await.map_err(|error| match error {
            GrantError::Depot(error) => disk_refusal(&error),
            GrantError::NotInstalled => not_installed(id.as_str()),
            GrantError::TooMany => Refusal::new("too_many_grants", error.to_string())
                .hint("revoke some, or grant a pattern with `*` in place of many"),
        })?;
        info!(plugin = %id, %permission, once, "a permission was granted");
        Ok(json!({"status": "success", "plugin_id": id, "grant": value}))
    }

    pub(crate) async fn revoke(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let permission = permission(arguments)?;
        let id = installed_id(arguments)?;
        let revoked = self.authority.revoke(&id, &permission).await.map_err(|error| {
            warn!(plugin = %id, error = chain(&error), "failed to write down that a permission was revoked");
            let message =
                format!("`{permission}` is revoked until the host restarts, and that could not be written down");
            Refusal::new(error.code(), message)
                .detail(chain(&error))
                .hint("revoke it again once the disk can be written")
        })?;
        if revoked.is_empty() {
            let wider = self.authority.grants(&id).into_iter().find(|grant| grant.permission.covers(&permission));
            let hint = match wider {
                Some(wider) => format!("it is part of `{}`: revoke that", wider.permission),
                None => {
                    "`get_plugin_permissions` lists its grants; what the policy gives is taken back in the policy file"
                        .to_owned()
                }
            };
            return Err(Refusal::new("not_granted", format!("nobody granted plugin '{id}' `{permission}`"))
                .with("plugin_id", id.as_str())
                .hint(hint));
        }
        let revoked: Vec<String> = revoked.iter().map(ToString::to_string).collect();
        info!(plugin = %id, %permission, "a permission was revoked");
        let mut answer = json!({"status": "success", "plugin_id": id, "revoked": revoked});
        if matches!(permission, Permission::Files(_) | Permission::Env(_)) {
            let hint = "instances that have it end before their next turn; a plugin that does not start without it is lost, as any that fails";
            insert(&mut answer, "hint", hint);
        }
        Ok(answer)
    }

    /// Takes out grants when their time is over, for as long as it is polled. Never returns.
    pub async fn expire_grants(&self) {
        self.authority.expire_grants().await;
    }

    /// What an install or a load tells of what a plugin asks for and does not have.
    pub(crate) fn denied(&self, asker: Asker<'_>) -> Vec<Value> {
        self.authority.lacking(asker).iter().map(|lacking| self.pending(asker, lacking)).collect()
    }

    fn pending(&self, asker: Asker<'_>, permission: &Permission) -> Value {
        let mut value = json!({"permission": permission.to_string()});
        if self.authority.may_bear(asker, permission) {
            insert(&mut value, "command", grant_command(asker.plugin, permission));
        } else {
            insert(&mut value, "beyond_policy", true);
        }
        value
    }

    fn grant_value(&self, asker: Asker<'_>, grant: &GrantRecord) -> Value {
        json!({
            "permission": grant.permission.to_string(),
            "granted_at": grant.granted_at.to_string(),
            "expires_at": grant.expires_at.map(|instant| instant.to_string()),
            "once": grant.once,
            "tree_digest": grant.tree.map(|tree| tree.to_string()),
            // It may have been given for other files, and the policy may have become stricter since.
            "other_files": grant.tree.is_some_and(|tree| tree != *asker.tree),
            "beyond_policy": !self.authority.may_bear(asker, &grant.permission),
        })
    }

    /// The plugin that is asked about: as it runs, as it is installed, or as it lies in its folder.
    async fn asking(&self, arguments: &Arguments) -> Result<Asking, Refusal> {
        self.asking_of(installed_id(arguments)?).await
    }

    pub(crate) async fn asking_of(&self, id: PluginId) -> Result<Asking, Refusal> {
        let running = self.running(&id);
        let (wanted, folder) = (id.clone(), self.config.capabilities_dir.clone());
        let is_running = running.is_some();
        let found = self.on_disk(move |depot| {
            if let Some(installed) = depot.installed(&wanted)? {
                let manifest = Manifest::parse_installed(installed.generation.manifest.as_str().as_bytes(), &wanted);
                let provenance = Arc::new(installed.generation.provenance());
                let known = (installed.generation.tree, provenance);
                return Ok(manifest.ok().map(|manifest| (Some(known), Arc::new(manifest))));
            }
            if is_running {
                return Ok(None);
            }
            // What it would be known by is told by its first load.
            let folders = list_folders(&folder).unwrap_or_default();
            let folder = folders.into_iter().find(|folder| folder.name == wanted.as_str());
            Ok(folder.and_then(|folder| folder.manifest.ok()).map(|manifest| (None, Arc::from(manifest))))
        });
        let found = found.await.map_err(|error| disk_refusal(&error))?;
        match (running, found) {
            (Some(running), found) => {
                let package = running.package();
                let serves =
                    |known: &(Digest, Arc<Provenance>)| known.0 == package.tree && known.1 == package.provenance;
                let waiting = found.and_then(|(known, _)| known).filter(|known| !serves(known));
                let (provenance, manifest) = (Arc::clone(&package.provenance), Arc::clone(&package.manifest));
                Ok(Asking { id, tree: Some(package.tree), provenance, waiting, manifest })
            }
            (None, Some((known, manifest))) => {
                let (tree, provenance) = known.map(|(tree, from)| (Some(tree), from)).unwrap_or_default();
                Ok(Asking { id, tree, provenance, waiting: None, manifest })
            }
            (None, None) => Err(not_installed(id.as_str())),
        }
    }
}

fn no_version(id: &PluginId) -> Refusal {
    Refusal::new("not_installed", format!("nothing of plugin '{id}' is on record yet that a grant could be pinned to"))
        .with("plugin_id", id.as_str())
        .hint("load it first, or leave `this_version` out")
}

/// How much harm a plugin could do with what it asks for.
pub(crate) fn security(wanted: &Permissions) -> Value {
    let rating = rate(wanted);
    json!({"risk": rating.risk.name(), "reasons": rating.reasons})
}

fn word(by: By) -> &'static str {
    match by {
        By::Policy => "policy",
        By::Grant | By::GrantOnce => "grant",
    }
}

fn permission(arguments: &Arguments) -> Result<Permission, Refusal> {
    arguments.text("permission")?.trim().parse().map_err(|error: PermissionError| {
        Refusal::new("invalid_permission", error.to_string()).hint(PermissionError::HINT)
    })
}

fn expiry(now: Timestamp, text: &str) -> Result<Timestamp, Refusal> {
    let refused = |why: String| {
        Refusal::new("invalid_argument", "argument `expires_in` must be a time span")
            .detail(why)
            .hint("write it with its unit, such as `30m` or `24h`")
    };
    let TimeSpan(span) =
        text.trim().parse().map_err(|error: mortise_model::QuantityError| refused(error.to_string()))?;
    if span.is_zero() {
        return Err(refused("it would end at once".to_owned()));
    }
    now.checked_add(span).map_err(|error| refused(error.to_string()))
}
