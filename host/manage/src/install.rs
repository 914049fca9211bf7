//! Puts what has arrived in place, whichever way it came: see `arrival.rs`, and `change.rs` for how it comes to serve.

use crate::arrival::{Archive, Arrived, Candidate, Delivered, read_delivery};
use crate::change::{ChangeError, Next, Verb, busy, change_refusal, not_admitted};
use crate::depot::{Depot, DepotError, asker_of_staged};
use crate::manager::Manager;
use crate::object::insert;
use crate::refusal::{Refusal, chain};
use crate::signature::Arguments;
use crate::status::summary;
use mortise_delivery::{CommitError, DeliveryError, IfExists, StagedPlugin, Uploads, redacted_url};
use mortise_model::{Digest, PluginId, PluginState};
use mortise_plugin::{Operation, Package, RunningPlugin};
use mortise_policy::Policy;
use mortise_rpc::Origin;
use serde_json::{Value, json};
use tracing::{info, warn};

/// How a plugin is put in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placing {
    pub(crate) load: bool,
    pub(crate) if_exists: IfExists,
    /// The plan that the caller agreed to.
    pub(crate) plan: Option<Digest>,
}

impl Placing {
    fn of(arguments: &Arguments, if_exists: IfExists) -> Result<Self, Refusal> {
        let load = arguments.optional_flag("load")?.unwrap_or(true);
        let plan = arguments.optional_text("plan_digest")?.map(|text| Digest::parse(text.trim())).transpose();
        let plan = plan.map_err(|error| {
            Refusal::new("invalid_argument", "argument `plan_digest` must be a plan's SHA-256")
                .detail(error.to_string())
                .hint("give it as `plan_plugin_install` answered it, or leave it out")
        })?;
        Ok(Self { load, if_exists, plan })
    }
}

impl Manager {
    pub(crate) async fn install_from_bundle(&self, arguments: &mut Arguments) -> Result<Value, Refusal> {
        let placing = Placing::of(arguments, IfExists::Replace)?;
        let arrived = self.arrive_in_bundle(arguments).await?;
        self.install_arrived(arrived, placing).await
    }

    pub(crate) async fn install_from_url(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let installed = async {
            let placing = Placing::of(arguments, IfExists::Replace)?;
            let arrived = self.arrive_from_url(arguments).await?;
            self.install_arrived(arrived, placing).await
        };
        // The key is the contract's (wire contract 10.3); secrets in it are nobody's.
        installed.await.map_err(|refusal| match arguments.text("url") {
            Ok(url) => refusal.with("url", redacted_url(url)),
            Err(_) => refusal,
        })
    }

    pub(crate) async fn install_from_manifest(&self, arguments: &mut Arguments) -> Result<Value, Refusal> {
        let (delivered, mut given) = read_delivery(arguments.take_object("manifest")?)?;
        for key in ["load", "plan_digest"] {
            given.extend(arguments.take(key).map(|value| (key.to_owned(), value)));
        }
        let mut given = Arguments::of(given);
        match delivered {
            Delivered::Bundle => self.install_from_bundle(&mut given).await,
            Delivered::Url => self.install_from_url(&given).await,
            Delivered::Object => {
                let placing = Placing::of(&given, IfExists::Replace)?;
                let arrived = self.arrive_as_object(&mut given).await?;
                self.install_arrived(arrived, placing).await
            }
        }
    }

    pub(crate) async fn install_from_folder(&self, origin: Origin, arguments: &Arguments) -> Result<Value, Refusal> {
        let placing = Placing::of(arguments, IfExists::Refuse)?;
        let arrived = self.arrive_from_folder(origin, arguments).await?;
        self.install_arrived(arrived, placing).await
    }

    /// Installs what was uploaded in chunks. The upload stays: until the plugin is in place it can be committed again.
    pub(crate) async fn install_from_upload(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let placing = Placing::of(arguments, IfExists::Replace)?;
        let arrived = self.arrive_by_upload(arguments, Uploads::commit).await?;
        self.install_arrived(arrived, placing).await
    }

    /// Puts a candidate in place, and loads it if that was asked for.
    async fn install_arrived(&self, arrived: Arrived<'_>, placing: Placing) -> Result<Value, Refusal> {
        let Arrived { candidate, place } = arrived;
        let Candidate { plugin, archive, dependencies } = candidate;
        // Whoever waits for the plugin's turn keeps nobody else from unpacking.
        drop(place);
        let id = plugin.id.clone();
        let digest = archive.as_ref().map(|archive| archive.pin.digest);
        let signer = plugin.provenance.signer.clone();
        let result = self.install_in_turn(plugin, placing).await;
        self.let_go(&id, archive).await;
        let mut reply = result?;
        if let Some(digest) = digest {
            insert(&mut reply, "digest", digest.to_string());
        }
        if let Some(signer) = signer {
            insert(&mut reply, "signer", signer);
        }
        if !dependencies.is_empty() {
            let pinned = dependencies.iter().map(|package| format!("{}=={}", package.name, package.version));
            insert(&mut reply, "dependencies", pinned.collect::<Vec<_>>());
        }
        info!(plugin = %id, load = placing.load, "plugin installed");
        Ok(reply)
    }

    /// Unpins an archive. One that no version came in after all goes again.
    pub(crate) async fn let_go(&self, id: &PluginId, archive: Option<Archive>) {
        let Some(Archive { pin, .. }) = archive else { return };
        let digest = pin.digest;
        drop(pin);
        if let Err(error) = self.on_disk(move |depot| depot.forget_archives(vec![digest])).await {
            warn!(plugin = %id, error = chain(&error), "failed to remove an archive that is not needed");
        }
    }

    async fn install_in_turn(&self, plugin: StagedPlugin, placing: Placing) -> Result<Value, Refusal> {
        match self.registry.begin(&plugin.id).await {
            Ok(operation) => self.install_with(&operation, plugin, placing).await,
            Err(error) => {
                self.discard(plugin).await;
                Err(busy(&error))
            }
        }
    }

    /// The same by whoever has the plugin's turn.
    pub(crate) async fn install_with(
        &self,
        operation: &Operation,
        plugin: StagedPlugin,
        placing: Placing,
    ) -> Result<Value, Refusal> {
        let id = plugin.id.clone();
        let installed_to = self.depot.working_copy(&id).display().to_string();
        let may = async {
            let admitted = self.authority.admit(asker_of_staged(&plugin), &plugin.manifest);
            admitted.map_err(|error| not_admitted(&id, &error))?;
            self.may_take(&id, placing.if_exists).await?;
            match &placing.plan {
                Some(agreed) => self.check_plan(&plugin, agreed).await,
                None => Ok(()),
            }
        };
        if let Err(refusal) = may.await {
            self.discard(plugin).await;
            return Err(refusal);
        }
        if !placing.load {
            let mut reply = json!({
                "status": "success",
                "plugin_id": id,
                "installed_to": installed_to,
                "loaded": false,
            });
            if let Some(warning) = self.place(plugin).await? {
                insert(&mut reply, "warnings", vec![warning]);
            }
            return Ok(reply);
        }
        let policy = self.authority.policy();
        let same = |package: &Package| {
            package.tree == plugin.tree
                && policy.judges_alike(&id, &plugin.tree, &package.provenance, &plugin.provenance)
        };
        if let Some(running) = self.running(&id).filter(|running| same(running.package()))
            && let Some(reply) = self.already_serving(operation, &running, &installed_to).await?
        {
            self.discard(plugin).await;
            return Ok(reply);
        }
        let changed = async {
            let policy = self.authority.policy();
            let next = self.on_disk(move |depot| next_to_install(depot, plugin, &policy)).await?;
            self.change(operation, next).await
        };
        let changed = changed.await.map_err(|error: ChangeError| {
            change_refusal(&id, &error, Verb::Load)
                .hint_if_none("nothing was installed; correct the plugin and install it again")
        })?;
        Ok(json!({
            "status": "success",
            "plugin_id": id,
            "installed_to": installed_to,
            "load_result": self.load_result(&id, &changed),
            "generation": changed.activated.generation,
            "incarnation": changed.activated.incarnation,
        }))
    }

    /// Removes what was staged. That blocks; what cannot be removed is swept at the next start.
    pub(crate) async fn discard(&self, plugin: StagedPlugin) {
        let id = plugin.id.clone();
        let discarded = self.on_disk(move |_| {
            drop(plugin);
            Ok(())
        });
        if let Err(error) = discarded.await {
            warn!(plugin = %id, error = chain(&error), "failed to remove what was staged");
        }
    }

    /// Whether a plugin may be put in the place of what is there.
    pub(crate) async fn may_take(&self, id: &PluginId, if_exists: IfExists) -> Result<(), Refusal> {
        let (wanted, path) = (id.clone(), self.depot.working_copy(id));
        let taken = self
            .on_disk(move |depot| {
                // A link or a file in its place is nobody's working copy, and is not replaced.
                let odd = std::fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_dir());
                Ok((odd, path.exists() || depot.installed(&wanted)?.is_some()))
            })
            .await;
        let path = self.depot.working_copy(id);
        let error = match taken.map_err(|error| disk_refusal(&error))? {
            (true, _) => CommitError::NotAFolder { path },
            (false, true) if if_exists == IfExists::Refuse => CommitError::Exists { id: id.clone(), path },
            _ => return Ok(()),
        };
        Err(disk_refusal(&DeliveryError::from(error).into()))
    }

    /// The same files serve already: nothing is prepared again (wire contract 11, A8). The working copy may have been
    /// edited meanwhile, and is put right. None where the generation that serves is not on record.
    async fn already_serving(
        &self,
        operation: &Operation,
        running: &RunningPlugin,
        installed_to: &str,
    ) -> Result<Option<Value>, Refusal> {
        let id = operation.id();
        let (wanted, generation) = (id.clone(), running.generation());
        let description = running.description().to_json();
        let recorded = self
            .on_disk(move |depot| {
                let versions = depot.versions(&wanted)?;
                let record = versions.and_then(|(_, mut generations)| generations.remove(&generation));
                record
                    .map(|record| depot.choose(depot.open_generation(&wanted, generation, &record)?, description))
                    .transpose()
            })
            .await
            .map_err(|error| disk_refusal(&error))?;
        let Some(recorded) = recorded else { return Ok(None) };
        let mut reply = json!({
            "status": "success",
            "plugin_id": id,
            "installed_to": installed_to,
            "load_result": {"status": "success", "plugin": summary(running)},
            "generation": generation,
            "incarnation": running.incarnation(),
            "unchanged": true,
        });
        let denied = self.denied(running.asker());
        if let Some(load_result) = reply.get_mut("load_result").filter(|_| !denied.is_empty()) {
            insert(load_result, "denied", denied);
        }
        match self.settle(recorded).await {
            Ok(None) => {}
            Ok(Some(edits)) => insert(&mut reply, "edits_kept_at", edits.display().to_string()),
            Err(error) => insert(&mut reply, "warnings", vec![not_tidied(&error)]),
        }
        Ok(Some(reply))
    }

    /// Records a plugin without running it. Returns what could not be tidied up.
    async fn place(&self, plugin: StagedPlugin) -> Result<Option<String>, Refusal> {
        let policy = self.authority.policy();
        let recorded = self
            .on_disk(move |depot| {
                // What is on record already needs no further version.
                match next_to_install(depot, plugin, &policy)? {
                    Next::Kept(folder) => depot.show(&folder).map(|_| None),
                    Next::New(guard) => depot.record(guard, None, None).map(Some),
                }
            })
            .await
            .map_err(|error| disk_refusal(&error))?;
        let Some(recorded) = recorded else { return Ok(None) };
        Ok(self.settle(recorded).await.err().map(|error| not_tidied(&error)))
    }

    /// The serving generation of a plugin.
    pub(crate) fn running(&self, id: &PluginId) -> Option<RunningPlugin> {
        self.registry.snapshot().iter().find(|plugin| plugin.id == *id)?.running.clone()
    }

    /// Whether a plugin is advertised of which nothing serves for the moment.
    pub(crate) fn is_preparing(&self, id: &PluginId) -> bool {
        let snapshot = self.registry.snapshot();
        snapshot.iter().any(|plugin| plugin.id == *id && plugin.state == PluginState::Preparing)
    }
}

/// What an install makes serve: the files that are on record already, unless where they came from now makes another
/// plugin of them in the policy's eyes; or those that came.
fn next_to_install(depot: &Depot, plugin: StagedPlugin, policy: &Policy) -> Result<Next, DepotError> {
    if let Some(installed) = depot.installed(&plugin.id)?
        && installed.generation.tree == plugin.tree
        && policy.judges_alike(&plugin.id, &plugin.tree, &installed.generation.provenance(), &plugin.provenance)
    {
        return Ok(Next::Kept(depot.open_generation(&plugin.id, installed.number, &installed.generation)?));
    }
    Ok(Next::New(depot.add(plugin)?))
}

/// The plugin is whole; what follows is done again by the next start.
pub(crate) fn not_tidied(error: &DepotError) -> String {
    format!("the working copy could not be put right: {}", chain(error))
}

pub(crate) fn disk_refusal(error: &DepotError) -> Refusal {
    Refusal::new(error.code(), chain(error)).hint(error.hint())
}
