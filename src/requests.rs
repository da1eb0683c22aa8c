//! Policy for redirects: a server never decides which other host Atoll connects to.
//! This module does not know verbs or scenarios. Start with [`may_follow`].

use std::net::IpAddr;

use reqwest::Url;
use reqwest::redirect::Policy;

/// Most consecutive redirects.
pub const MOST_REDIRECTS: usize = 10;

/// Allowed targets of redirects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectPolicy {
    /// Only the origin (scheme, host and port) of the request: for everything on this machine or in its
    /// network, including held services, and for requests with a secret.
    Origin,
    /// Any public host, but never this machine or its network, and never from TLS to plain text.
    Public,
}

impl RedirectPolicy {
    /// The policy for requests to `url`.
    pub fn of(url: &Url, carries_secret: bool) -> Self {
        if carries_secret || is_inside(url) { Self::Origin } else { Self::Public }
    }
}

/// Whether a redirect from `first` to `next` may be followed.
pub fn may_follow(first: &Url, next: &Url, reach: RedirectPolicy) -> bool {
    if !matches!(next.scheme(), "http" | "https") {
        return false;
    }
    let same = first.origin() == next.origin();
    match reach {
        RedirectPolicy::Origin => same,
        RedirectPolicy::Public => {
            same || !(is_inside(next) || (first.scheme() == "https" && next.scheme() == "http"))
        }
    }
}

/// The redirect policy of an HTTP client. A redirect that is not followed is the answer.
pub fn redirects(reach: RedirectPolicy) -> Policy {
    Policy::custom(move |attempt| {
        let first = attempt.previous().first().cloned();
        if attempt.previous().len() > MOST_REDIRECTS {
            attempt.error(format!("more than {MOST_REDIRECTS} redirects"))
        } else if first.is_some_and(|first| may_follow(&first, attempt.url(), reach)) {
            attempt.follow()
        } else {
            attempt.stop()
        }
    })
}

/// Whether the host of `url` is this machine: such targets are never reached through a proxy.
pub fn is_local(url: &Url) -> bool {
    match address(url) {
        Some(address) => address.is_loopback() || address.is_unspecified(),
        None => url.host_str().is_none_or(is_local_name),
    }
}

/// Whether the host of `url` is this machine or in its network, according to the URL.
fn is_inside(url: &Url) -> bool {
    match address(url) {
        Some(IpAddr::V4(v4)) => {
            v4.is_loopback()
                || v4.is_unspecified()
                || v4.is_private()
                || v4.is_link_local()
                || v4.octets()[0] == 0
        }
        Some(IpAddr::V6(v6)) => {
            v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local()
        }
        None => url.host_str().is_none_or(is_local_name),
    }
}

fn is_local_name(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost") || host.ends_with(".internal") || !host.contains('.')
}

fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?.trim_matches(['[', ']']);
    let address = host.parse::<IpAddr>().ok()?;
    Some(match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_target_on_this_machine_keeps_requests_to_itself() {
        for target in
            ["http://127.0.0.1:8080/a", "http://localhost:8080", "http://[::1]:8080", "http://db:8080"]
        {
            let target = url(target);
            assert_eq!(RedirectPolicy::of(&target, false), RedirectPolicy::Origin, "{target}");
            for next in [
                "http://127.0.0.1:21520/",
                "https://127.0.0.1:8080/",
                "http://example.com/",
                "file:///etc/shadow",
            ] {
                assert!(!may_follow(&target, &url(next), RedirectPolicy::Origin), "{target} → {next}");
            }
            assert!(may_follow(&target, &target.join("/b?c").unwrap(), RedirectPolicy::Origin));
        }
    }

    #[test]
    fn a_public_target_leads_to_public_ones_only() {
        let target = url("https://example.com/a");
        assert_eq!(RedirectPolicy::of(&target, false), RedirectPolicy::Public);
        assert_eq!(
            RedirectPolicy::of(&target, true),
            RedirectPolicy::Origin,
            "a secret is sent only to its target"
        );
        for next in [
            "http://127.0.0.1/",
            "http://[::ffff:127.0.0.1]/",
            "http://0.0.0.0/",
            "http://169.254.169.254/latest/meta-data",
            "http://10.0.0.1/",
            "http://192.168.0.1/",
            "http://[fd00::1]/",
            "http://localhost./",
            "http://a.localhost/",
            "http://metadata.google.internal/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://example.com/",
            "ftp://example.org/",
        ] {
            assert!(!may_follow(&target, &url(next), RedirectPolicy::Public), "{next}");
        }
        assert!(may_follow(&target, &url("https://objects.example.org/x"), RedirectPolicy::Public));
    }
}
