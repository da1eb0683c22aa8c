use std::collections::BTreeMap;
use std::sync::Arc;

use super::Web;
use crate::clock::Clock;
use crate::scenario::network::Tls;
use crate::scenario::ports::{Browsers, Evidences, Shell};

/// What a scenario is played on.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// The client for `request`, where there is a target.
    pub web: Option<&'a Web>,
    /// Base URL of the program, for `browser` and `ws`.
    pub target: Option<&'a str>,
    /// Where it takes gRPC calls, as `http://HOST:PORT`.
    pub grpc_target: Option<&'a str>,
    /// The inside of the service for `exec` and `tui`, where one is held.
    pub shell: Option<&'a dyn Shell>,
    /// What the user wants of TLS with the program.
    pub tls: Option<&'a Tls>,
    /// The services beside the program, by what steps call them.
    pub places: Option<&'a BTreeMap<String, Place>>,
    /// Where pages are opened for `browser`.
    pub browsers: Option<&'a dyn Browsers>,
    /// Where evidence is kept; without it there is none.
    pub evidence: Option<&'a dyn Evidences>,
    /// Whether the whole answers of steps that fail are part of it.
    pub keeps_answers: bool,
    /// The time.
    pub clock: &'a dyn Clock,
}

impl<'a> Stage<'a> {
    /// Nothing but a clock.
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

    /// The same for a step that talks to the service `name`.
    pub fn at(&self, name: Option<&String>) -> Result<Self, String> {
        let Some(name) = name else { return Ok(*self) };
        let place = self.places.and_then(|places| places.get(name));
        let place = place.ok_or_else(|| format!("there is no service `{name}` beside the program"))?;
        let shell = place.shell.as_deref().or(self.shell);
        let target = Some(place.target.as_str());
        Ok(Self { web: Some(&place.web), target, grpc_target: target, shell, ..*self })
    }
}

/// A service beside the program.
pub struct Place {
    /// Its base URL.
    pub target: String,
    /// The client for it.
    pub web: Web,
    /// Its inside; that of the program where there is none.
    pub shell: Option<Arc<dyn Shell>>,
}
