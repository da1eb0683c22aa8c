//! Frames, files, actors, and what pages may reach.

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};

use super::{assert_all_hold, browse, chromium, text};
use crate::scenario::program::serve;
use crate::scenario::{read, steps};

const OUTER: &str = r#"<!doctype html><title>Outer</title><h1>Around</h1><p style="height: 1500px">far</p>
<iframe id=pay name=pay src="/pay" style="border: 7px solid; padding: 11px; width: 500px; height: 300px"></iframe>"#;

const PAY: &str = r#"<!doctype html><title>Pay</title><p style="height: 400px">Terms</p>
<label>Card <input id=card></label><button onclick="said.textContent = `paid with ${card.value} ${event.isTrusted}`">Pay</button>
<p id=said></p><iframe src="/bank" style="width: 300px; height: 100px"></iframe>"#;

const BANK: &str = "<!doctype html><title>Bank</title><button onclick='setTimeout(() => { this.textContent = `sure` }, 200)'>Ask</button>";

fn shop() -> Router {
    let page = |html: &'static str| get(move || async move { Html(html) });
    Router::new().route("/", page(OUTER)).route("/pay", page(PAY)).route("/bank", page(BANK))
}

#[tokio::test]
async fn frames_are_looked_into_where_that_is_said() {
    let Some(chromium) = chromium("frames_are_looked_into").await else { return };
    let url = serve(shop()).await;
    let scenario = steps(
        r##"
- browser: { action: navigate, url: / }
- browser: { action: assert, selector: "#card", count: 0 }
- browser: { action: fill, frame: "#pay", selector: 'role=textbox[name="Card"]', value: "4111" }
  assert: { value: "4111", title: Pay, url: { matches: "/pay$" } }
- browser: { action: click, frame: "#pay", selector: text=Pay }
  assert: { text: paid with 4111 true }
- browser: { action: click, frame: ["#pay", iframe], selector: button }
  assert: { tree: 'button "sure"', title: Bank }
- browser: { action: wait, frame: "#pay", selector: "#said", text: paid }
- browser: { action: assert, selector: h1, text: Around }
- browser: { action: click, frame: "#none", selector: button, timeout: 3s }
  expect: x
- browser: { action: click, frame: h1, selector: button }
  expect: x
"##,
    );
    let mut seen = browse(&chromium, &scenario, &url, None).await;
    let errors: Vec<_> = seen.steps.split_off(7).into_iter().map(|step| step.error.unwrap()).collect();
    assert_eq!(errors, ["waited 3s for a frame: nothing matches it", "<h1> is not a frame"]);
    assert_all_hold(&seen);
    assert_eq!(seen.steps[3].sent.as_ref().unwrap().text, "click text=Pay in the frame #pay");
}

async fn receive(body: Bytes) -> Html<String> {
    let exact = body.windows(4).any(|bytes| bytes == [0, 255, b'\r', b'\n']);
    Html(format!("<pre>{}</pre><p>exact: {exact}", String::from_utf8_lossy(&body)))
}

#[tokio::test]
async fn files_are_given_to_fields() {
    let Some(chromium) = chromium("files_are_given_to_fields").await else { return };
    let form = "<form action=/up method=post enctype=multipart/form-data><label for=f>Choose</label><input id=f name=f type=file hidden multiple onchange='n.textContent = this.files.length'><i id=n></i><input type=file id=one><button>Send</button></form>";
    let app = Router::new().route("/", get(move || async move { Html(form) })).route("/up", post(receive));
    let url = serve(app).await;
    let scenario = steps(
        r##"
- browser: { action: navigate, url: / }
- browser:
    action: upload
    selector: text=Choose
    files:
      - { filename: a.txt, value: "hi", type: text/plain }
      - { filename: dot.bin, bytes: { hex: "00 ff" } }
  assert: { text: "2" }
- browser: { action: click, selector: button }
  assert: { text: { contains: ['filename="a.txt"', text/plain, 'filename="dot.bin"', 'exact: true'] } }
- browser: { action: navigate, url: / }
- browser: { action: upload, selector: "#one", files: [{ filename: a }, { filename: b }] }
  expect: x
- browser: { action: upload, selector: button, files: [{ filename: a }] }
  expect: x
"##,
    );
    let mut seen = browse(&chromium, &scenario, &url, None).await;
    let errors: Vec<_> = seen.steps.split_off(4).into_iter().map(|step| step.error.unwrap()).collect();
    assert_eq!(errors, ["<input id=\"one\"> accepts only one file", "<button> is not a file field"]);
    assert_all_hold(&seen);
}

#[tokio::test]
async fn an_assertion_that_fails_does_not_take_the_time_of_its_step() {
    let Some(chromium) = chromium("an_assertion_that_fails").await else { return };
    let url = serve(shop()).await;
    let scenario = steps(
        "
- browser: { action: navigate, url: /bank, timeout: 1m, within: 300ms }
  assert: { title: never }
- browser: { action: navigate, url: /bank, timeout: 1m }
  assert: { title: Bank }
",
    );
    let seen = browse(&chromium, &scenario, &url, None).await;
    assert!(
        !seen.steps[0].assertions[0].ok && seen.steps[0].duration_ms < 20_000,
        "{}",
        crate::scenario::brief(&seen.steps[0])
    );
    assert!(seen.steps[1].assertions[0].ok);
}

#[tokio::test]
async fn actors_have_pages_and_cookies_of_their_own() {
    let Some(chromium) = chromium("actors_have_pages_and_cookies").await else { return };
    let who = |headers: HeaderMap| async move {
        let cookie =
            headers.get("cookie").and_then(|value| value.to_str().ok()).unwrap_or("nobody").to_owned();
        Html(format!("<p>{cookie}</p>"))
    };
    let login = |path: axum::extract::Path<String>| async move {
        ([(header::SET_COOKIE, format!("who={}; Path=/", path.0))], Html("in")).into_response()
    };
    let url = serve(Router::new().route("/", get(who)).route("/login/{who}", get(login))).await;
    let scenario = steps(
        "
- browser: { action: navigate, url: /login/ann, as: ann }
- browser: { action: navigate, url: /login/bob, as: bob }
- browser: { action: navigate, url: /, as: ann }
  assert: { text: who=ann }
- browser: { action: assert, selector: body, as: bob, text: in }
- browser: { action: navigate, url: / }
  assert: { text: nobody }
",
    );
    assert_all_hold(&browse(&chromium, &scenario, &url, None).await);
}

#[tokio::test]
async fn pages_reach_the_target_and_what_the_scenario_names() {
    let Some(chromium) = chromium("pages_reach_the_target").await else { return };
    let other =
        serve(Router::new().route("/x", get(|| async { ([("access-control-allow-origin", "*")], "there") })))
            .await;
    let page = format!(
        "<!doctype html><title>Reach</title><p id=said>…</p><script>fetch('{other}/x').then(r => r.text()).catch(() => 'kept').then(text => {{ said.textContent = text }})</script>"
    );
    let url = serve(Router::new().route("/", get(move || async move { Html(page.clone()) }))).await;
    let steps = "steps:\n- browser: { action: navigate, url: / }\n  assert: { text: SAID }\n";
    let play = async |head: &str, said: &str| {
        let scenario = read(&format!("id: reach\n{head}\n{}", steps.replace("SAID", said)));
        browse(&chromium, &scenario, &url, None).await
    };
    let seen = play("", "kept").await;
    assert_all_hold(&seen);
    assert!(text(&seen.steps[0]).contains("blocked: the host is not in `hosts`"), "{}", text(&seen.steps[0]));
    let named = other.trim_start_matches("http://");
    assert_all_hold(&play(&format!("hosts: [cdn.example.com, '{named}']"), "there").await);
    assert_all_hold(&play("hosts: any", "there").await);
}
