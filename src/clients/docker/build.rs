#![expect(clippy::disallowed_methods, reason = "measures how long a build takes")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bollard::errors::Error;
use bollard::query_parameters::{BuildImageOptionsBuilder, TagImageOptionsBuilder};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{Engine, UNBUILT};
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
        let end = timeout(options.timeout, self.follow(query, tar, &log, &mut layer)).await;
        let end = end.unwrap_or_else(|_| End::Product {
            reason: format!("not built within {:?}", options.timeout),
            exit_code: None,
        });
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
    ) -> End {
        let mut stream = Box::pin(self.api.build_image(query, None, Some(bollard::body_full(tar.into()))));
        let mut image = None;
        let mut from = String::new();
        while let Some(said) = stream.next().await {
            let said = match said {
                Ok(said) => said,
                Err(Error::DockerStreamError { error }) => return judge(&error, None, &from, log),
                Err(e @ Error::DockerResponseServerError { status_code: 400..500, .. }) => {
                    return judge(&e.to_string(), None, &from, log);
                }
                Err(e) => return End::Ours(super::ours("build an image", &e)),
            };
            if let Some(text) = said.stream.or(said.status.map(|status| status + "\n")) {
                if let Some((_, name)) = text.split_once(" : FROM ") {
                    name.trim().clone_into(&mut from);
                }
                *layer = text.strip_prefix(" ---> ").and_then(layer_id).or(layer.take());
                log.push(text.as_bytes());
            }
            if let Some(error) = said.error_detail {
                return judge(&error.message.unwrap_or_default(), error.code, &from, log);
            }
            image = said.aux.and_then(|aux| aux.id).or(image);
        }
        match image {
            Some(image) => End::Built(image),
            None => judge("the builder made no image", None, &from, log),
        }
    }
}

/// The image in a line of the classic builder; other lines name containers, or the cache.
fn layer_id(said: &str) -> Option<String> {
    let id = said.trim();
    (id.len() >= 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// Tells whose fault an error is: the builder does not say.
fn judge(message: &str, code: Option<i64>, from: &str, log: &Log) -> End {
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
    let exit_code = code.or_else(|| {
        message.rsplit_once("returned a non-zero code: ").and_then(|(_, n)| n.trim().parse().ok())
    });
    let full = "no space left on device";
    if message.contains(full) || log.tail(4000).to_ascii_lowercase().contains(full) {
        return End::Ours(
            Failure::transient(format!("no space left to build an image: {message}"))
                .hint("free some disk space"),
        );
    }
    let swept = ["No such image: sha256:", "layer does not exist"];
    if exit_code.is_none() && swept.iter().any(|word| message.contains(word)) {
        return End::Ours(Failure::transient(format!(
            "a layer was removed while the image was built: {message}"
        )));
    }
    if exit_code.is_none() && NETWORK.iter().any(|word| message.contains(word)) {
        return End::Ours(Failure::transient(format!("cannot get the base image `{from}`: {message}")).hint(
            format!("the registry does not answer; `docker pull {from}`, or make an image of that name here"),
        ));
    }
    End::Product { reason: message.trim().to_owned(), exit_code }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(message: &str) -> &'static str {
        match judge(message, None, "a:1", &Log::default()) {
            End::Built(_) => "built",
            End::Product { .. } => "product",
            End::Ours(_) => "ours",
        }
    }

    #[test]
    fn the_products_mistakes_are_told_from_ours() {
        assert_eq!(fault("The command '/bin/sh -c curl x' returned a non-zero code: 6"), "product");
        assert_eq!(fault("dockerfile parse error line 2: unknown instruction: FOO"), "product");
        assert_eq!(fault("COPY failed: file not found in build context"), "product");
        assert_eq!(fault("manifest for python:9 not found: manifest unknown"), "product");
        assert_eq!(fault("Get \"https://r/v2/\": dial tcp: lookup r: no such host"), "ours");
        assert_eq!(fault("write /x: no space left on device"), "ours");
        assert_eq!(fault("No such image: sha256:0123"), "ours");
    }

    #[test]
    fn layers_are_told_from_containers_and_the_cache() {
        assert_eq!(layer_id("b15d65963e4f\n").as_deref(), Some("b15d65963e4f"));
        assert_eq!(layer_id("Running in 4735b268f94f\n"), None);
        assert_eq!(layer_id("Using cache\n"), None);
    }
}
