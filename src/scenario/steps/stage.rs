use std::collections::BTreeMap;
use std::sync::Arc;

use super::HttpClient;
use crate::clock::Clock;
use crate::scenario::network::Tls;
use crate::scenario::ports::{Browsers, Evidences, Shell};

/// Program under test, and everything else that steps use.
#[derive(Clone, Copy)]
pub struct TestEnvironment<'a> {
    /// Client for `request`, if there is a target.
    pub web: Option<&'a HttpClient>,
    /// Base URL of the program, for `browser` and `ws`.
    pub target: Option<&'a str>,
    /// Address for gRPC calls, as `http://HOST:PORT`.
    pub grpc_target: Option<&'a str>,
    /// Access to the inside of the service for `exec` and `tui`, if one is held.
    pub shell: Option<&'a dyn Shell>,
    /// TLS settings of the user for the program.
    pub tls: Option<&'a Tls>,
    /// Additional services, by the name that steps use.
    pub places: Option<&'a BTreeMap<String, ServiceEndpoint>>,
    /// Source of pages for `browser`.
    pub browsers: Option<&'a dyn Browsers>,
    /// Store of evidence; if `None`, evidence is not stored.
    pub evidence: Option<&'a dyn Evidences>,
    /// True if complete answers of failed steps are stored as evidence.
    pub keeps_answers: bool,
    /// Clock for all waits.
    pub clock: &'a dyn Clock,
}

impl<'a> TestEnvironment<'a> {
    /// An environment with nothing but a clock.
    pub fn new(clock: &'a dyn Clock) -> Self {
        Self {
            web: None,
            target: None,
            grpc_target: None,
            shell: None,
            tls: None,
            places: None,
            browsers: None,
            evidence: None,
            keeps_answers: false,
            clock,
        }
    }

    /// The environment for a step that talks to the service `name`.
    pub fn at(&self, name: Option<&String>) -> Result<Self, String> {
        let Some(name) = name else { return Ok(*self) };
        let place = self.places.and_then(|places| places.get(name));
        let place = place.ok_or_else(|| format!("unknown service `{name}`"))?;
        let shell = place.shell.as_deref().or(self.shell);
        let target = Some(place.target.as_str());
        Ok(Self { web: Some(&place.web), target, grpc_target: target, shell, ..*self })
    }
}

/// An additional service.
pub struct ServiceEndpoint {
    /// Base URL.
    pub target: String,
    /// Client for the base URL.
    pub web: HttpClient,
    /// Access to the inside of the service; if `None`, that of the program.
    pub shell: Option<Arc<dyn Shell>>,
}
