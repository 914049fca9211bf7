//! The artifact store's functions (wire contract 10.3): publish, list, and where an archive can be fetched.

use crate::blocking::blocking;
use crate::manager::Manager;
use crate::object::insert;
use crate::refusal::{Refusal, chain};
use crate::signature::Arguments;
use mortise_artifact::{ArtifactError, ArtifactStore, Record};
use mortise_delivery::decode_base64;
use mortise_model::PluginId;
use mortise_policy::SourceKind;
use serde_json::{Value, json};

impl Manager {
    pub(crate) async fn publish_artifact(&self, arguments: &mut Arguments) -> Result<Value, Refusal> {
        let id = arguments.optional_text("plugin_id")?.filter(|id| !id.is_empty()).map(str::to_owned);
        let version = arguments.optional_text("version")?.map(str::to_owned);
        let bundle = arguments.optional_text("bundle_b64")?.filter(|bundle| !bundle.is_empty()).map(str::to_owned);
        let Some(id) = id else {
            let (code, message) = match bundle {
                None => ("missing_source", "plugin_id or bundle_b64 required"),
                Some(_) => ("missing_plugin_id", "plugin_id required with bundle_b64"),
            };
            return Err(Refusal::new(code, message).hint("name the plugin with `plugin_id`"));
        };
        let id = PluginId::new(&id).map_err(|error| {
            Refusal::new("invalid_plugin_id", "invalid plugin id")
                .detail(error.to_string())
                .hint("use letters, digits, `-` and `_`, beginning with a letter or digit")
        })?;
        if bundle.is_some() {
            // Whoever could publish it could have this host fetch it from itself.
            self.admit_source(SourceKind::Bundle)?;
        }
        let (store, staging) = (self.artifacts.clone(), self.depot.staging().clone());
        let (folder, bytes_max) = (self.depot.working_copy(&id), self.config.bundle_bytes_max);
        // Never closed.
        let place = self.staging_places.acquire().await;
        let published = on_artifacts(&store, move |store| match bundle {
            Some(bundle) => {
                let bytes = match decode_base64(&bundle, bytes_max) {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        return Ok(Err(Refusal::new(error.code(), error.to_string()).hint(error.hint())));
                    }
                };
                store.publish_bytes(&id, &bytes, version.as_deref(), &staging).map(Ok)
            }
            None => store.publish_folder(&folder, Some(&id), version.as_deref(), &staging).map(Ok),
        })
        .await;
        drop(place);
        let record = published??;
        let mut artifact = self.artifact(&record);
        insert(&mut artifact, "artifact_dir", self.artifacts.dir().display().to_string());
        Ok(json!({"status": "success", "artifact": artifact}))
    }

    pub(crate) async fn list_artifacts(&self) -> Result<Value, Refusal> {
        let mut listing = on_artifacts(&self.artifacts, ArtifactStore::listing).await?;
        let mut reply = json!({
            "status": "success",
            "artifact_dir": self.artifacts.dir().display().to_string(),
            "serve_enabled": self.config.artifacts_served,
        });
        if let Some(reply) = reply.as_object_mut() {
            reply.append(&mut listing);
        }
        Ok(reply)
    }

    pub(crate) async fn artifact_url(&self, arguments: &Arguments) -> Result<Value, Refusal> {
        let given = arguments.text("plugin_id")?.to_owned();
        let version = arguments.optional_text("version")?.map(str::to_owned);
        let not_found = || {
            Refusal::new("artifact_not_found", format!("artifact not found for {given}"))
                .hint("`list_plugin_artifacts` names those that were published")
        };
        let id = PluginId::new(&given).map_err(|error| not_found().detail(error.to_string()))?;
        let record = on_artifacts(&self.artifacts, move |store| store.get(&id, version.as_deref())).await?;
        Ok(json!({"status": "success", "artifact": self.artifact(&record)}))
    }

    fn artifact(&self, record: &Record) -> Value {
        Value::Object(self.artifacts.to_json(record))
    }
}

/// Runs what blocks on a thread that may.
pub(crate) async fn on_artifacts<T: Send + 'static>(
    store: &ArtifactStore,
    work: impl FnOnce(&ArtifactStore) -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, Refusal> {
    let store = store.clone();
    let refused = |error: ArtifactError| Refusal::new(error.code(), chain(&error)).hint(error.hint());
    blocking(move || work(&store).map_err(refused)).await
}
