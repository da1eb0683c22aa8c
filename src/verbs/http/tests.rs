#![expect(clippy::disallowed_methods, reason = "serves the requests it makes")]

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::routing::{any, get};

use super::*;
use crate::clock::ManualClock;
use crate::secrets::EnvSecrets;
use crate::verb::{DynVerb, SecretText, Secrets};

struct OneSecret;

impl Secrets for OneSecret {
    fn get(&self, name: &str) -> Option<SecretText> {
        (name == "TOKEN").then(|| "s3cret".into())
    }
    fn redact(&self, text: &str) -> String {
        text.replace("s3cret", "***")
    }
}

fn context() -> (Context, ManualClock) {
    let clock = ManualClock::at(0);
    let mut cx = Context::for_test(std::env::temp_dir(), Arc::new(clock.clone()));
    cx.secrets = Arc::new(OneSecret);
    (cx, clock)
}

async fn run(with: Value) -> Result<Value, Failure> {
    Ok(DynVerb::run(&Http::default(), with, context().0).await?.value)
}

#[tokio::test]
async fn a_secret_that_is_cut_is_not_shown() {
    let base = serve().await;
    let key = "Tk-9f8e7d6c5b4aQQzz";
    let mut cx = context().0;
    cx.secrets = Arc::new(EnvSecrets::from_values([("KEY".to_owned(), key.to_owned())]));
    for most in 1..=key.len() {
        let with = json!({"url": format!("{base}/repeat/{key}"), "max_bytes": 40 + most});
        let out = DynVerb::run(&Http::default(), with, cx.clone()).await.unwrap().value;
        let body = out["body"].as_str().unwrap();
        let wanted = if most < 3 {
            format!("{}{}", "x".repeat(40), &key[..most])
        } else {
            format!("{}***", "x".repeat(40))
        };
        assert_eq!((body, &out["truncated"]), (wanted.as_str(), &json!(true)), "{most}");
    }
}

async fn serve() -> String {
    let app = Router::new()
        .route(
            "/echo",
            any(
                |method: axum::http::Method,
                 uri: axum::http::Uri,
                 headers: HeaderMap,
                 body: String| async move {
                    let auth = headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
                    axum::Json(
                        json!({"method": method.as_str(), "query": uri.query(), "auth": auth, "body": body}),
                    )
                },
            ),
        )
        .route("/status/{status}", get(|Path(status): Path<u16>| async move { StatusCode::from_u16(status).unwrap() }))
        .route(
            "/to",
            get(|Query(to): Query<BTreeMap<String, String>>| async move {
                (StatusCode::FOUND, [("location", to["place"].clone())])
            }),
        )
        .route("/round", get(|| async { (StatusCode::FOUND, [("location", "/round")]) }))
        .route("/repeat/{text}", get(|Path(text): Path<String>| async move { "x".repeat(40) + &text + "yyyy" }))
        .route("/long", get(|| async { "x".repeat(100_000) }))
        .route("/down", get(|| async { (StatusCode::BAD_GATEWAY, "down") }))
        .route("/none", get(|| async { (StatusCode::NOT_FOUND, "none") }))
        .route("/slow", get(|| async { (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], "wait") }))
        .route("/never", get(std::future::pending::<String>));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test]
async fn what_was_sent_comes_back() {
    let base = serve().await;
    let out = run(json!({
        "url": format!("{base}/echo?a=1"), "query": {"b": true, "c": "x y", "d": null},
        "headers": {"Authorization": {"secret": "TOKEN", "prefix": "Bearer "}}, "json": {"k": 1}
    }))
    .await
    .unwrap();
    assert_eq!((&out["ok"], &out["status"]), (&json!(true), &json!(200)));
    assert_eq!(out["headers"]["content-type"], json!("application/json"));
    assert_eq!(
        out["json"],
        json!({"method": "POST", "query": "a=1&b=true&c=x+y", "auth": "Bearer s3cret", "body": "{\"k\":1}"})
    );
    let out = run(json!({"url": format!("{base}/echo"), "method": "put", "body": "text"})).await.unwrap();
    assert_eq!((&out["json"]["method"], &out["json"]["body"]), (&json!("PUT"), &json!("text")));
    let out = run(json!({"url": format!("{base}/long"), "max_bytes": 10})).await.unwrap();
    assert_eq!(
        (&out["body"], &out["truncated"], out.get("json")),
        (&json!("x".repeat(10)), &json!(true), None)
    );
    let out =
        run(json!({"url": format!("{base}/echo"), "basic": {"user": "me", "password": {"secret": "TOKEN"}}}))
            .await;
    // printf me:s3cret | base64
    assert_eq!(out.unwrap()["json"]["auth"], json!("Basic bWU6czNjcmV0"));
    let out =
        run(json!({"url": format!("{base}/echo"), "query": {"key": {"secret": "TOKEN"}}})).await.unwrap();
    assert_eq!(out["json"]["query"], json!("key=s3cret"));
}

#[tokio::test]
async fn a_secret_that_is_not_allowed_is_not_sent() {
    let base = serve().await;
    let (mut cx, _) = context();
    cx.grants = Arc::default();
    let with = json!({"url": format!("{base}/echo"), "headers": {"Authorization": {"secret": "TOKEN"}}});
    let failure = DynVerb::run(&Http::default(), with, cx).await.unwrap_err();
    assert_eq!(failure.class, Class::Auth);
    assert!(failure.message.contains("header `Authorization` requests the secret `TOKEN`"), "{failure}");
    assert!(failure.hint.unwrap().contains("--allow-secret TOKEN"));
    let value = "sk-looks-like-a-key";
    let failure = run(json!({"url": base, "headers": {"a": {"secret": value}}})).await.unwrap_err();
    assert!(
        failure.message.contains("no valid name of a secret") && !failure.to_string().contains(value),
        "{failure}"
    );
}

#[tokio::test]
async fn a_status_from_400_on_is_a_failure() {
    for (status, class) in [
        (400, Class::Permanent),
        (401, Class::Permanent),
        (404, Class::Permanent),
        (408, Class::Transient),
        (422, Class::Permanent),
        (425, Class::Transient),
        (429, Class::Transient),
        (500, Class::Transient),
        (503, Class::Transient),
    ] {
        let url = format!("{}/status/{status}", serve().await);
        let failure = run(json!({ "url": url })).await.unwrap_err();
        assert_eq!((failure.class, &failure.detail["status"]), (class, &json!(status)));
        let seen = run(json!({ "url": url, "observe": true })).await.unwrap();
        assert_eq!((&seen["ok"], &seen["status"]), (&json!(false), &json!(status)));
    }
}

#[tokio::test]
async fn a_redirect_never_leads_away_from_a_target_on_this_machine() {
    let (asked, other) = (serve().await, serve().await);
    let to = |place: &str| {
        format!("{asked}/to?place={}", form_urlencoded::byte_serialize(place.as_bytes()).collect::<String>())
    };
    for place in
        [format!("{other}/long"), format!("{other}/to?place=/long"), "file:///etc/hostname".to_owned()]
    {
        let seen = run(json!({ "url": to(&place) })).await.unwrap();
        assert_eq!((&seen["status"], &seen["headers"]["location"]), (&json!(302), &json!(place)), "{place}");
        assert_eq!(seen["body"], json!(""));
    }
    let seen = run(json!({ "url": to("/long") })).await.unwrap();
    assert_eq!((&seen["status"], seen["body"].as_str().unwrap().len()), (&json!(200), 100_000));
    let failure = run(json!({ "url": format!("{asked}/round") })).await.unwrap_err();
    assert!(failure.message.contains("more than 10 redirects"), "{failure}");
}

#[tokio::test]
async fn trouble_is_a_failure_unless_it_is_observed() {
    let base = serve().await;
    let down = run(json!({"url": format!("{base}/down")})).await.unwrap_err();
    assert_eq!((down.class, &down.detail["body"]), (Class::Transient, &json!("down")));
    let slow = run(json!({"url": format!("{base}/slow")})).await.unwrap_err();
    assert_eq!((slow.class, slow.retry_after_ms), (Class::Transient, Some(7_000)));
    let seen = run(json!({"url": format!("{base}/down"), "observe": true})).await.unwrap();
    assert_eq!((&seen["ok"], &seen["status"]), (&json!(false), &json!(502)));
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = run(json!({"url": format!("http://{closed}/")})).await.unwrap_err();
    assert_eq!(refused.class, Class::Transient);
    assert!(refused.message.to_lowercase().contains("refused"), "{refused}");
    let seen = run(json!({"url": format!("http://{closed}/"), "observe": true})).await.unwrap();
    assert_eq!((&seen["status"], seen["error"].is_string()), (&json!(0), true));
}

#[tokio::test]
async fn an_answer_that_does_not_come_ends_by_timeout_or_cancellation() {
    let url = format!("{}/never", serve().await);
    let (cx, clock) = context();
    let http = Http::default();
    let call = DynVerb::run(&http, json!({"url": url, "timeout": "2s"}), cx.clone());
    let waiting = async {
        while !clock.advance_to_next() {
            tokio::task::yield_now().await;
        }
    };
    let (failure, ()) = tokio::join!(call, waiting);
    let failure = failure.unwrap_err();
    assert_eq!(failure.class, Class::Timeout);
    assert!(failure.message.contains("no answer within 2s"), "{failure}");
    cx.cancel.cancel();
    let failure = DynVerb::run(&http, json!({ "url": url }), cx).await.unwrap_err();
    assert_eq!(failure.class, Class::Cancelled);
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused() {
    for (with, word) in [
        (json!({"url": "nowhere"}), "is not a valid address"),
        (json!({"url": "file:///etc/passwd"}), "neither http nor https"),
        (json!({"url": "http://x", "json": 1, "body": "x"}), "are both set"),
        (json!({"url": "http://x", "method": "a b"}), "not a valid HTTP method"),
        (json!({"url": "http://x", "timeout": "soon"}), "not a duration"),
        (json!({"url": "http://x", "headers": {"a b": "c"}}), "not a valid header name"),
        (
            json!({"url": "http://x", "headers": {"a": {"secret": "NONE"}}}),
            "the secret `NONE` for the header `a` is not set",
        ),
        (json!({"url": "http://me:s3cret@x/"}), "contains a user name or password"),
    ] {
        let failure = run(with).await.unwrap_err();
        assert!(failure.message.contains(word), "{failure}");
    }
    let example: Value = toml::from_str(Http::EXAMPLE).unwrap();
    serde_json::from_value::<HttpInput>(example["steps"]["health"]["http"].clone()).unwrap();
}
