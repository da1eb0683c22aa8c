//! Headers that carry credentials: they are sent, and recorded without their values.

/// Names of headers whose values are credentials, in lower case.
const NAMES: [&str; 10] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-access-token",
    "x-goog-api-key",
    "private-token",
    "x-vault-token",
    "x-amz-security-token",
];

/// Schemes of authentication, which are no secret.
const SCHEMES: [&str; 6] = ["basic", "bearer", "digest", "negotiate", "token", "apikey"];

/// What is recorded of the header `name`: the scheme of its value, if that has one.
pub fn recorded(name: &str, value: &str) -> String {
    if !NAMES.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return value.to_owned();
    }
    let scheme = value.split_once(' ').map(|(scheme, _)| scheme);
    match scheme.filter(|scheme| SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known))) {
        Some(scheme) => format!("{scheme} ***"),
        None => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::recorded;

    #[test]
    fn credentials_are_recorded_by_their_scheme() {
        assert_eq!(recorded("Authorization", "Bearer abc.def"), "Bearer ***");
        assert_eq!(recorded("authorization", "Basic bWU6c2VjcmV0"), "Basic ***");
        assert_eq!(recorded("X-Api-Key", "abc def"), "***");
        assert_eq!(recorded("authorization", "abcdef"), "***");
        assert_eq!(recorded("authorization", "k=v, x y"), "***");
        assert_eq!(recorded("accept", "text/html"), "text/html");
    }
}
