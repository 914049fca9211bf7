//! What was downloaded before: the server's validator, and which archive it stands for.

use super::{Depot, DepotError};
use jiff::Timestamp;
use mortise_delivery::Known;
use mortise_model::Digest;
use mortise_store::DownloadRecord;

impl Depot {
    /// What an earlier download of a URL brought, where its archive is still here. Nobody has looked at its content.
    pub(crate) fn known_download(&self, url: &Digest) -> Result<Option<Known>, DepotError> {
        let Some(record) = self.store.download(&url.hex())? else { return Ok(None) };
        let DownloadRecord { etag, place, archive: digest, .. } = record;
        Ok(self.archives.contains(&digest)?.then_some(Known { etag, place, digest }))
    }

    /// Remembers what a download brought, or that there is nothing to compare the next one with.
    pub(crate) fn remember_download(&self, url: &Digest, known: Option<Known>) -> Result<(), DepotError> {
        let url = url.hex();
        self.store.write(|tx| match known {
            Some(Known { etag, place, digest }) => {
                tx.put_download(&url, &DownloadRecord { etag, place, archive: digest, seen_at: Timestamp::now() })
            }
            None => tx.remove_download(&url),
        })?;
        Ok(())
    }
}
