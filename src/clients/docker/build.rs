#![expect(clippy::disallowed_methods, reason = "measures how long a build takes")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bollard::errors::Error;
use bollard::query_parameters::{BuildImageOptionsBuilder, TagImageOptionsBuilder};
use futures_util::StreamExt;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{Engine, UNBUILT};
use crate::clients::confine::Overrun;
use crate::clients::service::{BuildOptions, BuildReport, Log, Owner};
use crate::verb::Failure;

/// What the builder said last.
enum End {
    Built(String),
    Product { reason: String, exit_code: Option<i64> },
    Ours(Failure),
}

impl Engine {
    /// Builds an image from a tar archive.
    pub async fn build(&self, tar: Vec<u8>, options: &BuildOptions) -> Result<BuildReport, Failure> {
        let begun = Instant::now();
        let args: HashMap<String, String> = options.args.clone().into_iter().collect();
        let query = BuildImageOptionsBuilder::new()
            .dockerfile(&options.dockerfile)
            .buildargs(&args)
            .labels(&self.labels(&options.tag))
            .rm(true)
            .forcerm(true)
            .build();
        let log = Log::default();
        let mut layer = None;
        let mut guard = Guard { engine: self, options, overrun: Arc::default(), task: None };
        let end = tokio::select! {
            end = timeout(options.timeout, self.follow(query, tar, &log, &mut layer, &mut guard)) => {
                end.unwrap_or_else(|_| End::Product {
                    reason: format!("not built within {:?}", options.timeout),
                    exit_code: None,
                })
            }
            () = options.cancel.cancelled() => return Err(Failure::cancelled()),
        };
        let overrun = guard.overrun.get().map(|overrun| End::Product {
            reason: format!("a command was ended: {overrun}"),
            exit_code: Some(137),
        });
        let end = overrun.unwrap_or(end);
        let mut report = BuildReport { runtime: "docker".to_owned(), ..BuildReport::default() };
        match end {
            End::Ours(failure) => return Err(failure.detail(serde_json::json!({ "log": log.tail(4000) }))),
            End::Built(image) => (report.ok, report.image) = (true, Some(image)),
            End::Product { reason, exit_code } => {
                self.note_unbuilt(layer).await;
                log.push(format!("{reason}\n").as_bytes());
                (report.reason, report.exit_code) = (Some(reason), exit_code);
            }
        }
        report.log = log.text();
        report.duration_ms = crate::clock::millis(begun.elapsed());
        Ok(report)
    }

    /// Gives the last layer of a failed build a name: it has no labels yet, and nothing else refers to it.
    async fn note_unbuilt(&self, layer: Option<String>) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let Some(layer) = layer else { return };
        let tag = format!("{}_{}", Owner::me().as_str(), NEXT.fetch_add(1, Ordering::Relaxed));
        let name = TagImageOptionsBuilder::new().repo(UNBUILT).tag(&tag).build();
        // Without a name the layer only stays longer than it has to.
        let _ = self.api.tag_image(&layer, Some(name)).await;
    }

    async fn follow(
        &self,
        query: bollard::query_parameters::BuildImageOptions,
        tar: Vec<u8>,
        log: &Log,
        layer: &mut Option<String>,
        guard: &mut Guard<'_>,
    ) -> End {
        let mut stream = Box::pin(self.api.build_image(query, None, Some(bollard::body_full(tar.into()))));
        let mut image = None;
        let mut base = Base::default();
        while let Some(said) = stream.next().await {
            let said = match said {
                Ok(said) => said,
                Err(Error::DockerStreamError { error }) => return self.judge(&error, None, &base).await,
                Err(e @ Error::DockerResponseServerError { .. }) if is_about_dockerfile(&e) => {
                    return self.judge(&e.to_string(), None, &base).await;
                }
                Err(e) => return End::Ours(super::ours("build an image", &e)),
            };
            if let Some(text) = said.stream.or(said.status.map(|status| status + "\n")) {
                base.hear(&text);
                if let Some((_, container)) = text.split_once("Running in ") {
                    guard.watch(container.trim());
                }
                *layer = text.strip_prefix(" ---> ").and_then(layer_id).or(layer.take());
                log.push(text.as_bytes());
            }
            if let Some(error) = said.error_detail {
                return self.judge(&error.message.unwrap_or_default(), error.code, &base).await;
            }
            image = said.aux.and_then(|aux| aux.id).or(image);
        }
        match image {
            Some(image) => End::Built(image),
            None => self.judge("the builder made no image", None, &base).await,
        }
    }

    /// Tells whose fault an error is: the builder does not say.
    async fn judge(&self, message: &str, code: Option<i64>, base: &Base) -> End {
        let exit_code = code.or_else(|| {
            message.rsplit_once("returned a non-zero code: ").and_then(|(_, n)| n.trim().parse().ok())
        });
        let copied = Base::copied(message);
        let base = copied.as_ref().unwrap_or(base);
        let product = End::Product { reason: message.trim().to_owned(), exit_code };
        match suspect(message, exit_code, base) {
            Suspect::Product => product,
            // A command that finds no space may have used it up itself, within its own bounds.
            Suspect::Disk if exit_code.is_some() && !self.disk_is_full().await => product,
            Suspect::Disk => End::Ours(
                Failure::transient(format!("no space left to build an image: {message}"))
                    .hint("free some disk space, e.g. with `docker system prune`"),
            ),
            Suspect::Layer => End::Ours(Failure::transient(format!(
                "a layer was removed while the image was built: {message}"
            ))),
            Suspect::Registry
                if base.host().is_some() && message.contains("no such host") && is_online().await =>
            {
                product
            }
            Suspect::Registry => {
                let name = &base.name;
                End::Ours(
                    Failure::transient(format!("cannot get the base image `{name}`: {message}")).hint(format!(
                        "the registry does not answer; `docker pull {name}`, or make an image of that name here"
                    )),
                )
            }
        }
    }

    /// Whether the disk that the daemon keeps images on is full, as far as it is seen from here.
    async fn disk_is_full(&self) -> bool {
        let dir = self.api.info().await.ok().and_then(|info| info.docker_root_dir);
        let state = dir.and_then(|dir| rustix::fs::statvfs(dir).ok());
        state.is_some_and(|state| {
            let left = state.f_bavail.saturating_mul(state.f_frsize);
            left < LITTLE || (state.f_files > 0 && state.f_favail < FEW)
        })
    }
}

/// Sees to the limits of the commands of a build.
struct Guard<'a> {
    engine: &'a Engine,
    options: &'a BuildOptions,
    overrun: Arc<OnceLock<Overrun>>,
    task: Option<AbortOnDropHandle<()>>,
}

impl Guard<'_> {
    /// A command has begun in `container`, and the one before has ended.
    fn watch(&mut self, container: &str) {
        let (engine, container, into) = (self.engine.clone(), container.to_owned(), self.overrun.clone());
        let (memory, disk) = (self.options.memory, self.options.disk);
        let task = async move {
            let overrun = engine.guard_build(&container, memory, disk).await;
            // Noted first: the end of the command is the end of the build.
            let _ = into.set(overrun);
            engine.kill_now(&container).await;
        };
        self.task = Some(AbortOnDropHandle::new(tokio::spawn(task)));
    }
}

/// Fewer bytes and files than these are no space.
const LITTLE: u64 = 64 << 20;
const FEW: u64 = 1_000;

/// Whether a name outside can be found from here: then a name that cannot be found is a wrong one.
async fn is_online() -> bool {
    let lookup = tokio::net::lookup_host("registry-1.docker.io:443");
    timeout(Duration::from_secs(3), lookup).await.is_ok_and(|found| found.is_ok())
}

/// The base image, while the builder is about to get one.
#[derive(Debug, Default)]
struct Base {
    name: String,
    /// Whether the last step that was begun is a `FROM`.
    is_wanted: bool,
}

impl Base {
    fn hear(&mut self, said: &str) {
        let Some((_, instruction)) = said.strip_prefix("Step ").and_then(|step| step.split_once(" : "))
        else {
            return;
        };
        let name = instruction.strip_prefix("FROM ").map(|name| name.trim().to_owned());
        self.is_wanted = name.is_some();
        self.name = name.unwrap_or_default();
    }

    /// The image that a message about `COPY --from=IMAGE` is about; a mere word is more likely a stage that is not there.
    fn copied(message: &str) -> Option<Self> {
        let named = message.strip_prefix("invalid from flag value ")?;
        let (name, _) = named.split_once(": ")?;
        name.contains(['/', ':']).then(|| Self { name: name.to_owned(), is_wanted: true })
    }

    /// The registry that it names, if it is not the usual one.
    fn host(&self) -> Option<&str> {
        let (host, _) = self.name.split_once('/')?;
        (host.contains(['.', ':']) && host != "docker.io").then_some(host)
    }
}

/// What an error may have to do with. Only the builder's own words count: a product can write anything into its log and
/// its Dockerfile.
#[derive(Debug, PartialEq, Eq)]
enum Suspect {
    Product,
    Disk,
    Layer,
    Registry,
}

fn suspect(message: &str, exit_code: Option<i64>, base: &Base) -> Suspect {
    const NETWORK: [&str; 9] = [
        "dial tcp",
        "no such host",
        "i/o timeout",
        "TLS handshake",
        "Client.Timeout",
        "deadline exceeded",
        "connection refused",
        "connection reset",
        "toomanyrequests",
    ];
    const LAYER: [&str; 2] = ["No such image: sha256:", "layer does not exist"];
    const QUOTING: [&str; 4] = ["COPY failed", "ADD failed", "dockerfile parse error", "failed to parse"];
    let message = message.trim();
    let lower = message.to_ascii_lowercase();
    if lower.ends_with("no space left on device")
        || lower.ends_with("disk quota exceeded")
        || exit_code.is_some()
    {
        return Suspect::Disk;
    }
    if QUOTING.iter().any(|words| message.starts_with(words)) {
        return Suspect::Product;
    }
    if LAYER.iter().any(|words| message.starts_with(words)) {
        return Suspect::Layer;
    }
    if base.is_wanted && NETWORK.iter().any(|word| message.contains(word)) {
        return Suspect::Registry;
    }
    Suspect::Product
}

/// Whether the daemon refused the Dockerfile as a whole, not the request.
fn is_about_dockerfile(error: &Error) -> bool {
    match error {
        Error::DockerResponseServerError { status_code: 400..500, .. } => true,
        Error::DockerResponseServerError { message, .. } => {
            message.to_ascii_lowercase().contains("dockerfile")
        }
        _ => false,
    }
}

/// The image in a line of the classic builder; other lines name containers, or the cache.
fn layer_id(said: &str) -> Option<String> {
    let id = said.trim();
    (id.len() >= 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_products_mistakes_are_told_from_ours() {
        let mut base = Base::default();
        base.hear("Step 1/3 : FROM r.example:5000/a:1\n");
        base.hear(" ---> Running in 4735b268f94f\n");
        assert_eq!((base.host(), base.is_wanted), (Some("r.example:5000"), true));
        let at_from = |message: &str| suspect(message, None, &base);
        assert_eq!(at_from("manifest for python:9 not found: manifest unknown"), Suspect::Product);
        assert_eq!(at_from("Get \"https://r/v2/\": dial tcp: lookup r: no such host"), Suspect::Registry);
        assert_eq!(at_from("dockerfile parse error line 2: unknown instruction: dial tcp"), Suspect::Product);
        assert_eq!(at_from("No such image: sha256:0123"), Suspect::Layer);
        assert_eq!(at_from("write /x: no space left on device"), Suspect::Disk);

        let mut base = Base::default();
        base.hear("Step 1/3 : FROM python:3\n");
        assert_eq!(base.host(), None);
        base.hear("Step 2/3 : COPY a b\n");
        let later = |message: &str, code| suspect(message, code, &base);
        assert_eq!(
            later("COPY failed: stat dial tcp no such host: file does not exist", None),
            Suspect::Product
        );
        assert_eq!(
            later("COPY failed: stat no space left on device: file does not exist", None),
            Suspect::Product
        );
        assert_eq!(later("Get \"https://r/x\": dial tcp: lookup r: no such host", None), Suspect::Product);
        let copied = |name: &str| {
            let message =
                format!("invalid from flag value {name}: Get \"https://r/v2/\": dial tcp: no such host");
            Base::copied(&message).map(|base| (suspect(&message, None, &base), base.name))
        };
        assert_eq!(copied("nosuch"), None);
        assert_eq!(copied("node:20"), Some((Suspect::Registry, "node:20".to_owned())));
        // Whether there is space is looked up before a command is believed.
        assert_eq!(later("The command 'x' returned a non-zero code: 6", Some(6)), Suspect::Disk);
    }

    #[test]
    fn layers_are_told_from_containers_and_the_cache() {
        assert_eq!(layer_id("b15d65963e4f\n").as_deref(), Some("b15d65963e4f"));
        assert_eq!(layer_id("Running in 4735b268f94f\n"), None);
        assert_eq!(layer_id("Using cache\n"), None);
    }
}
