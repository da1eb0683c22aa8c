//! Files and volumes of a container in addition to its image.

use std::path::Path;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{
    RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder, UploadToContainerOptionsBuilder,
};

use super::{Engine, ours, status_of};
use crate::runtime::service::{OwnerTag, PlacedAs, ServiceSpec};
use crate::verb::Failure;

impl Engine {
    /// Copies files into a container that is not running yet, and makes its volumes writable for the user
    /// of its image, because services that share one may have different users. The inner error is the fault
    /// of the image.
    pub(super) async fn furnish(
        &self,
        container: &str,
        spec: &ServiceSpec,
    ) -> Result<Result<(), String>, Failure> {
        if spec.files.is_empty() && spec.mounts.is_empty() {
            return Ok(Ok(()));
        }
        let broken = |e: std::io::Error| Failure::transient(format!("cannot pack files: {e}"));
        let mut archive = tar::Builder::new(Vec::new());
        for mount in &spec.mounts {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_mode(0o777);
            header.set_entry_type(tar::EntryType::Directory);
            archive.append_data(&mut header, inside(&mount.at), std::io::empty()).map_err(broken)?;
        }
        for file in &spec.files {
            let mut header = tar::Header::new_gnu();
            let appended = match &file.what {
                // The user of the image may differ from the owner of the file.
                PlacedAs::File { bytes, executable, .. } => {
                    header.set_size(bytes.len() as u64);
                    header.set_mode(if *executable { 0o755 } else { 0o644 });
                    archive.append_data(&mut header, inside(&file.path), &**bytes)
                }
                PlacedAs::Dir(_) => {
                    header.set_size(0);
                    header.set_mode(0o755);
                    header.set_entry_type(tar::EntryType::Directory);
                    archive.append_data(&mut header, inside(&file.path), std::io::empty())
                }
                PlacedAs::Link(target) => {
                    header.set_size(0);
                    header.set_mode(0o777);
                    header.set_entry_type(tar::EntryType::Symlink);
                    archive.append_link(&mut header, inside(&file.path), target)
                }
            };
            appended.map_err(broken)?;
        }
        let bytes = archive.into_inner().map_err(broken)?;
        let into = UploadToContainerOptionsBuilder::new().path("/").build();
        let sent =
            self.api.upload_to_container(container, Some(into), bollard::body_full(bytes.into())).await;
        match sent {
            Ok(()) => Ok(Ok(())),
            Err(e) if matches!(status_of(&e), Some(400 | 403 | 404)) => {
                Ok(Err(format!("files cannot be copied into its image: {e}")))
            }
            Err(e) => Err(ours("copy files into a container", &e)),
        }
    }

    pub(super) async fn drop_container(&self, container: &str) {
        let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let _ = self.api.remove_container(container, Some(force)).await;
    }

    /// Creates a volume.
    pub async fn make_volume(&self, name: &str, tag: &OwnerTag) -> Result<(), Failure> {
        let options = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(self.labels(tag)),
            ..VolumeCreateRequest::default()
        };
        self.api.create_volume(options).await.map(drop).map_err(|e| ours("create a volume", &e))
    }

    /// Removes a volume with its content.
    pub async fn drop_volume(&self, name: &str) {
        let force = RemoveVolumeOptionsBuilder::new().force(true).build();
        let _ = self.api.remove_volume(name, Some(force)).await;
    }
}

/// A container path in the form that archives use.
fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}
