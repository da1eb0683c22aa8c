//! Decides whether the product or this machine is at fault if the daemon refuses something, because the
//! daemon does not say so.

use bollard::errors::Error;
use bollard::models::HostConfig;

use super::super::{ours, status_of};
use super::{DockerBuildStop, ImageBuild, is_online, product};
use crate::verb::Failure;

/// Fewer bytes and files than these count as a full disk.
const LITTLE: u64 = 64 << 20;
const FEW: u64 = 1_000;

/// A requested image.
#[derive(Debug)]
pub(super) struct RequestedImage {
    pub(super) name: String,
    /// Whether it is certainly an image, not a stage.
    pub(super) is_image: bool,
}

impl RequestedImage {
    /// The registry in its name, if it is not the default one.
    fn host(&self) -> Option<&str> {
        let (host, _) = self.name.split_once('/')?;
        (host.contains(['.', ':']) && host != "docker.io").then_some(host)
    }
}

impl ImageBuild<'_> {
    /// Decides who is at fault if an image is not available.
    pub(super) async fn judge(&self, message: &str, wanted: &RequestedImage) -> DockerBuildStop {
        let reason = || product(format!("cannot get the image `{}`: {}", wanted.name, message.trim()));
        match suspect(message, wanted) {
            Suspect::Product => reason(),
            Suspect::Disk => Self::full(message),
            Suspect::Registry
                if wanted.host().is_some() && message.contains("no such host") && is_online().await =>
            {
                reason()
            }
            Suspect::Registry => {
                let name = &wanted.name;
                DockerBuildStop::Ours(
                    Failure::transient(format!("cannot get the base image `{name}`: {message}")).hint(format!(
                        "the registry does not answer: run `docker pull {name}`, or create an image with this name"
                    )),
                )
            }
        }
    }

    /// Decides who is at fault if the daemon refuses an operation on a container: if it works with our own
    /// container, the product is.
    pub(super) async fn blame(&self, doing: &str, error: &Error, host: HostConfig) -> DockerBuildStop {
        let text = error.to_string();
        let Some(status) = status_of(error) else { return DockerBuildStop::Ours(ours(doing, error)) };
        if text.contains("No such image")
            || text.contains("No such container")
            || text.contains("layer does not exist")
        {
            let why = format!("a layer was removed while the image was built: {text}");
            return DockerBuildStop::Ours(Failure::transient(why));
        }
        if text.to_ascii_lowercase().contains("no space left on device") && self.disk_is_full().await {
            return Self::full(&text);
        }
        let message = match error {
            Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
            _ => text.clone(),
        };
        let control = format!("{}-control", self.id);
        let starts = self.engine.can_start(&control, &self.options.tag, host, &self.settings.program);
        if status == 400 || Box::pin(starts).await {
            return product(format!("cannot {doing}: {message}"));
        }
        DockerBuildStop::Ours(ours(doing, error))
    }

    pub(super) fn full(message: &str) -> DockerBuildStop {
        DockerBuildStop::Ours(
            Failure::transient(format!("no disk space left for building an image: {message}"))
                .hint("free some disk space, for example with `docker system prune`"),
        )
    }

    /// Whether the disk with the images of the daemon is full, if that can be determined.
    pub(super) async fn disk_is_full(&self) -> bool {
        let dir = self.engine.api.info().await.ok().and_then(|info| info.docker_root_dir);
        let state = dir.and_then(|dir| rustix::fs::statvfs(dir).ok());
        state.is_some_and(|state| {
            let left = state.f_bavail.saturating_mul(state.f_frsize);
            left < LITTLE || (state.f_files > 0 && state.f_favail < FEW)
        })
    }
}

/// Possible cause of an error of the daemon.
#[derive(Debug, PartialEq, Eq)]
enum Suspect {
    Product,
    Disk,
    Registry,
}

fn suspect(message: &str, wanted: &RequestedImage) -> Suspect {
    const NETWORK: [&str; 10] = [
        "dial tcp",
        "no such host",
        "i/o timeout",
        "TLS handshake",
        "Client.Timeout",
        "deadline exceeded",
        "connection refused",
        "connection reset",
        "request canceled",
        "toomanyrequests",
    ];
    let lower = message.trim().to_ascii_lowercase();
    if lower.ends_with("no space left on device") || lower.ends_with("disk quota exceeded") {
        return Suspect::Disk;
    }
    if wanted.is_image && NETWORK.iter().any(|word| message.contains(word)) {
        return Suspect::Registry;
    }
    Suspect::Product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_products_mistakes_are_told_from_ours() {
        let wanted = |name: &str, is_image| RequestedImage { name: name.to_owned(), is_image };
        let base = wanted("r.example:5000/a:1", true);
        assert_eq!((base.host(), wanted("python:3", true).host()), (Some("r.example:5000"), None));
        assert_eq!(suspect("manifest for python:9 not found: manifest unknown", &base), Suspect::Product);
        let unreached = "Get \"https://r/v2/\": dial tcp: lookup r: no such host";
        assert_eq!(suspect(unreached, &base), Suspect::Registry);
        assert_eq!(suspect(unreached, &wanted("nosuch", false)), Suspect::Product);
        assert_eq!(suspect("write /x: no space left on device", &base), Suspect::Disk);
    }
}
