//! Hosts that the pages of a context can reach, and host names that a process can resolve.

use std::collections::BTreeSet;

use serde_json::json;

use crate::value::Value;

/// Names of this machine, which are never resolved by DNS.
const OWN: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// A proxy that does not exist, so that no machine receives requests for forbidden hosts.
const NOWHERE: &str = "http://closed.invalid:1";

/// Parameters of a context that sends requests for all other hosts to a proxy that does not exist. This
/// applies to everything in a page except datagrams and name lookups of WebRTC.
pub(super) fn only(hosts: &[String]) -> Value {
    let allowed = std::iter::once("<-loopback>").chain(hosts.iter().map(String::as_str));
    json!({ "proxyServer": NOWHERE, "proxyBypassList": allowed.collect::<Vec<_>>().join(";") })
}

/// Rules for a process that resolves only the names of these hosts.
pub(super) fn resolver_rules(hosts: &[String]) -> String {
    let names = hosts.iter().map(|host| name_of(host)).filter(|name| is_plain(name));
    let names: BTreeSet<&str> = names.chain(OWN).collect();
    let known = names.into_iter().map(|name| format!(", EXCLUDE {name}"));
    std::iter::once("MAP * ~NOTFOUND".to_owned()).chain(known).collect()
}

/// A host without its scheme and port.
fn name_of(host: &str) -> &str {
    let host = host.split_once("://").map_or(host, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a name contains no syntax of rules.
fn is_plain(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '*' | ':' | '[' | ']');
    !name.is_empty() && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_the_names_of_its_hosts_and_those_of_this_machine() {
        let rules =
            |hosts: &[&str]| resolver_rules(&hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>());
        let own = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE [::1], EXCLUDE localhost";
        assert_eq!(rules(&[]), own);
        assert_eq!(rules(&["http://127.0.0.1:8080", "ws://127.0.0.1:8080", "http://[::1]:8080"]), own);
        assert_eq!(
            rules(&["https://shop.example:443", "*.example.org", "cdn.example:80", "a, MAP * 1.2.3.4", ""]),
            "MAP * ~NOTFOUND, EXCLUDE *.example.org, EXCLUDE 127.0.0.1, EXCLUDE [::1], EXCLUDE cdn.example, \
             EXCLUDE localhost, EXCLUDE shop.example"
        );
    }
}
