//! The clients of a scenario: what they trust, which redirects they follow, and which connections they use.

use std::sync::{Arc, OnceLock};

use reqwest::cookie::Jar;
use reqwest::{Client, Method, RequestBuilder, Response, Url, redirect};

use super::request::Redirects;
use super::target::Target;
use super::{describe, reuse};
use crate::clients::requests::{MOST_REDIRECTS, Reach, may_follow};
use crate::scenario::Tls;

/// A client that uses connections again, and one beside it that makes a new one for each request.
#[derive(Clone)]
pub struct Clients {
    kept: Client,
    used: reuse::Used,
    making: Arc<Making>,
    fresh: Arc<OnceLock<Option<Client>>>,
}

impl Clients {
    /// Clients that are made so; the second one only when it is needed.
    pub fn new(making: Making) -> Result<Self, String> {
        let used = reuse::Used::default();
        let kept = making.client(&used, true)?;
        Ok(Self { kept, used, making: Arc::new(making), fresh: Arc::default() })
    }

    /// A request to be built.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.kept.request(method, url)
    }

    /// Carries out a request.
    pub async fn execute(&self, request: reqwest::Request) -> reqwest::Result<Response> {
        let make = || self.making.client(&reuse::Used::default(), false).ok();
        let fresh = || self.fresh.get_or_init(make).clone();
        reuse::carried_out(&self.kept, &self.used, fresh, request).await
    }
}

/// What clients are made of.
pub struct Making {
    /// Where requests go.
    pub target: Target,
    /// Which redirects are followed.
    pub redirects: Redirects,
    /// The cookies of an actor.
    pub jar: Option<Arc<Jar>>,
    /// What the user wants of TLS.
    pub tls: Tls,
    /// Certificates that are trusted, in PEM.
    pub trust: String,
}

impl Making {
    /// A client that notes its connections in `used`, and uses them again if it `keeps` them.
    fn client(&self, used: &reuse::Used, keeps: bool) -> Result<Client, String> {
        let (home, redirects, noted) = (self.target.clone(), self.redirects, used.clone());
        let policy = redirect::Policy::custom(move |attempt| {
            let followed = attempt.previous().len().saturating_sub(1) + reuse::followed_before();
            let follows = match redirects {
                Redirects::Flag(follows) => follows,
                Redirects::Most(most) => followed < most,
            };
            if redirects == Redirects::Flag(true) && followed >= MOST_REDIRECTS {
                attempt.error(format!("more than {MOST_REDIRECTS} redirects"))
            } else if follows && may_follow(home.url(), attempt.url(), Reach::Origin) {
                if let Some(from) = attempt.previous().last() {
                    noted.follow(attempt.status(), from, attempt.url());
                }
                attempt.follow()
            } else {
                attempt.stop()
            }
        });
        let builder =
            Client::builder().no_proxy().redirect(policy).connector_layer(reuse::Noting(used.clone()));
        let builder = if keeps { builder } else { builder.pool_max_idle_per_host(0) };
        let builder = match &self.jar {
            Some(jar) => builder.cookie_provider(jar.clone()),
            None => builder,
        };
        let builder = if self.target.is_plain() {
            // To read the machine's certificates takes longer than most requests, and nothing leaves such a target.
            builder.tls_certs_only([])
        } else if let Some(mut config) = self.tls.trusting(&self.trust).config()? {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            builder.tls_backend_preconfigured(config)
        } else {
            builder
        };
        builder.build().map_err(|e| format!("no HTTP client: {}", describe(&e)))
    }
}
