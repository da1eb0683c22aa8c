//! Images that stages begin with, or copy from.

use bollard::models::{ContainerConfig, ImageConfig};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

use super::super::{Engine, ours, status_of};
use super::fault::RequestedImage;
use super::{DockerBuildStop, ImageBuild, product};
use crate::verb::Failure;

/// The empty image for `FROM scratch`.
const SCRATCH: (&str, &str) = ("atoll-scratch", "1");

/// An image of the daemon.
pub(super) struct LocalImage {
    pub(super) id: String,
    pub(super) config: ContainerConfig,
    /// Size in bytes.
    pub(super) size: u64,
}

impl ImageBuild<'_> {
    /// The image of a `FROM`.
    pub(super) async fn base(
        &self,
        name: &str,
        platform: Option<&str>,
    ) -> Result<LocalImage, DockerBuildStop> {
        if name == "scratch" {
            self.engine.import_empty(SCRATCH.0, SCRATCH.1).await?;
            return self.find(&format!("{}:{}", SCRATCH.0, SCRATCH.1), true, None).await;
        }
        self.find(name, true, platform).await
    }

    /// The image of a `COPY --from`. A plain word is more likely the name of a missing stage.
    pub(super) async fn source(&self, name: &str) -> Result<LocalImage, DockerBuildStop> {
        self.find(name, name.contains(['/', ':']), None).await
    }

    async fn find(
        &self,
        name: &str,
        pulls: bool,
        platform: Option<&str>,
    ) -> Result<LocalImage, DockerBuildStop> {
        if name.is_empty() {
            return Err(product("the name of the base image is empty"));
        }
        let used = self.settings.images.of(name);
        if used != name {
            let note = format!("base image {name}: replaced by {used} ([docker.images])\n");
            self.log.push(note.as_bytes());
        }
        let wanted = RequestedImage { name: used.to_owned(), is_image: true };
        let found = match self.engine.api.inspect_image(used).await {
            Err(e) if status_of(&e) == Some(404) && pulls => {
                self.pull(used, platform, &wanted).await?;
                self.engine.api.inspect_image(used).await
            }
            found => found,
        };
        let found = match found {
            Ok(found) => found,
            Err(e) if status_of(&e) == Some(404) => {
                return Err(product(format!("unknown stage or image `{name}`")));
            }
            Err(e) => return Err(self.judge(&e.to_string(), &wanted).await),
        };
        let (Some(id), actual) = (found.id, found.architecture.unwrap_or_default()) else {
            return Err(
                Failure::transient(format!("the Docker daemon did not return the id of `{used}`")).into()
            );
        };
        let other =
            platform.filter(|platform| !platform.is_empty() && platform.split('/').nth(1) != Some(&actual));
        if let Some(other) = other.filter(|_| !actual.is_empty()) {
            return Err(product(format!("`{used}` is an image for {actual}, not for {other}")));
        }
        let size = found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
        Ok(LocalImage { id, config: found.config.map(config).unwrap_or_default(), size })
    }

    async fn pull(
        &self,
        name: &str,
        platform: Option<&str>,
        wanted: &RequestedImage,
    ) -> Result<(), DockerBuildStop> {
        self.log.push(format!("pulling {name}\n").as_bytes());
        let tagged = name.contains('@') || name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let options = CreateImageOptionsBuilder::new().from_image(name);
        let options = if tagged { options } else { options.tag("latest") };
        let options = options.platform(platform.unwrap_or_default()).build();
        let mut stream = Box::pin(self.engine.api.create_image(Some(options), None, None));
        while let Some(said) = stream.next().await {
            let message = match said {
                Ok(said) => said.error_detail.and_then(|error| error.message),
                Err(e) => Some(e.to_string()),
            };
            if let Some(message) = message {
                return Err(self.judge(&message, wanted).await);
            }
        }
        Ok(())
    }
}

impl Engine {
    /// Creates an empty image with this name, unless it exists.
    pub(in crate::runtime::docker) async fn import_empty(
        &self,
        name: &str,
        tag: &str,
    ) -> Result<(), Failure> {
        if self.api.inspect_image(&format!("{name}:{tag}")).await.is_ok() {
            return Ok(());
        }
        let options = CreateImageOptionsBuilder::new().from_src("-").repo(name).tag(tag).build();
        // An empty archive.
        let body = bollard::body_full(vec![0; 1024].into());
        let mut stream = Box::pin(self.api.create_image(Some(options), Some(body), None));
        while let Some(said) = stream.next().await {
            said.map_err(|e| ours("create an empty image", &e))?;
        }
        Ok(())
    }
}

fn config(of: ImageConfig) -> ContainerConfig {
    ContainerConfig {
        user: of.user,
        exposed_ports: of.exposed_ports,
        env: of.env,
        cmd: of.cmd,
        healthcheck: of.healthcheck,
        volumes: of.volumes,
        working_dir: of.working_dir,
        entrypoint: of.entrypoint,
        on_build: of.on_build,
        labels: of.labels,
        stop_signal: of.stop_signal,
        shell: of.shell,
        ..ContainerConfig::default()
    }
}
