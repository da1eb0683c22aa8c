use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::Code;
use crate::scenario::network::TargetUrl;
use crate::scenario::reader::NodeReader;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};

/// Hosts that pages may reach in addition to the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hosts {
    /// All hosts.
    Any,
    /// These: `HOST`, `*.HOST` or `HOST:PORT`.
    Only(Vec<String>),
}

impl Default for Hosts {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl Hosts {
    /// These hosts and the target with its schemes, because TLS and QUIC would reach another program at its
    /// port. `None` if all hosts can be reached.
    pub fn beside(&self, target: Option<&str>) -> Option<Vec<String>> {
        let Self::Only(hosts) = self else { return None };
        let home = target.and_then(|target| TargetUrl::parse(target).ok());
        let home = home.iter().flat_map(|home| {
            let schemes = if home.is_plain() { ["http", "ws"] } else { ["https", "wss"] };
            let names = names(&home.authority());
            schemes
                .map(|scheme| names.iter().map(move |name| format!("{scheme}://{name}")).collect::<Vec<_>>())
        });
        Some(home.flatten().chain(hosts.iter().cloned()).collect())
    }
}

/// All names of `HOST:PORT`, because this machine has several.
fn names(home: &str) -> Vec<String> {
    const OURS: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];
    let port = home.rsplit_once(':').filter(|(host, _)| OURS.contains(host)).map(|(_, port)| port);
    port.map_or_else(|| vec![home.to_owned()], |port| OURS.map(|host| format!("{host}:{port}")).to_vec())
}

/// Reads `hosts`: `any`, or a list.
pub fn read(reader: &mut NodeReader<'_>, node: &YamlNode) -> Option<Hosts> {
    if !matches!(node.kind, NodeKind::List(_)) {
        return reader.word(node, "`hosts`", &["any"]).map(|_| Hosts::Any);
    }
    let mut hosts = Vec::new();
    for item in reader.list(node, "`hosts`") {
        let Some(host) = reader.text(item, "a host") else { continue };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '*' | ':' | '[' | ']');
        if host.is_empty() || !host.chars().all(fits) {
            reader.complain(Code::ScenarioValue, item, format!("`{host}` is not a host")).help =
                Some("write a host such as `cdn.example.com`, `*.example.com` or `127.0.0.1:9000`".into());
        }
        hosts.push(host);
    }
    Some(Hosts::Only(hosts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_always_among_them() {
        let named = Hosts::Only(vec!["cdn.example.com".into()]);
        assert_eq!(
            named.beside(Some("https://shop.example/x")).unwrap(),
            ["https://shop.example:443", "wss://shop.example:443", "cdn.example.com"]
        );
        let here = Hosts::default().beside(Some("http://127.0.0.1:8080")).unwrap();
        assert_eq!(here[..3], ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"]);
        assert_eq!(here[3..], ["ws://127.0.0.1:8080", "ws://localhost:8080", "ws://[::1]:8080"]);
        assert_eq!(Hosts::Any.beside(Some("http://h")), None);
    }
}
