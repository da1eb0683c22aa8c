//! Cases that `datasette` does not have, on small pages.

use atoll::scenario::StepDecision;
use axum::Router;
use axum::http::HeaderMap;
use axum::response::Html;
use axum::routing::get;

use super::{assert_all_hold, browse, chromium, text};
use crate::scenario::program::serve;
use crate::scenario::{read, steps};

/// Elements that appear late, move, or are covered for a while.
const LATE: &str = r#"<!doctype html><title>Late</title>
<p id=said>nothing</p>
<button id=soon disabled onclick="said.textContent = 'clicked ' + event.isTrusted">Go</button>
<div id=cover style="position: fixed; inset: 0; background: #0008">wait</div>
<button id=mover style="position: relative" onclick="setTimeout(() => said.textContent = 'moved', 300)">Move</button>
<script>
  setTimeout(() => { soon.disabled = false }, 150);
  setTimeout(() => { cover.remove() }, 300);
  setTimeout(() => { const late = document.createElement('a'); late.id = 'late'; late.href = '#there'; late.textContent = 'Appears  late'; document.body.append(late) }, 200);
  const begun = performance.now();
  (function move() { const t = performance.now() - begun; mover.style.left = Math.min(t / 2, 200) + 'px'; if (t < 400) requestAnimationFrame(move) })();
</script>"#;

#[tokio::test]
async fn what_comes_late_is_waited_for() {
    let Some(chromium) = chromium("what_comes_late_is_waited_for").await else { return };
    let url = serve(Router::new().route("/", get(|| async { Html(LATE) }))).await;
    let scenario = steps(
        r##"
- browser: { action: navigate, url: / }
  assert: { title: { equals: Late } }
- browser: { action: click, selector: "#soon" }
  assert: { text: clicked true }
- browser: { action: click, selector: text=appears late }
  assert: { url: { matches: "/#there$" } }
- browser: { action: click, selector: 'role=button[name="Move"]' }
  assert: { text: { contains: moved, not_contains: clicked } }
- browser: { action: assert, selector: "#cover", count: 0 }
- browser: { action: assert, selector: "#said", text: never, timeout: 400ms }
- browser: { action: click, selector: "#cover", timeout: 300ms }
  assert: { title: Late }
"##,
    );
    let mut seen = browse(&chromium, &scenario, &url, None).await;
    let gone = seen.steps.pop().unwrap();
    assert_eq!(gone.error.as_deref(), Some("waited 300ms for `#cover`: nothing matches it"));
    assert!(text(&gone).contains("- button \"Go\""), "the page is shown nevertheless: {}", text(&gone));
    let never = seen.steps.pop().unwrap();
    assert_eq!((never.decided, never.error), (StepDecision::Failed, None));
    assert!(never.duration_ms >= 400, "it waits for its whole time: {}", never.duration_ms);
    assert_eq!(never.assertions[0].actual, "moved");
    assert_all_hold(&seen);
}

const FORM: &str = r#"<!doctype html><title>Form</title>
<style>#menu ul { display: none } #menu:hover ul { display: block }</style>
<form action="/done"><label>Name <input name=name value=old required></label>
<label for=day>Day</label> <input id=day name=day type=date>
<label><input type=checkbox name=news> Newsletter</label>
<select name=size aria-label=Size><option value=s>Small</option><option value=l>Large</option></select>
<textarea name=note placeholder=Note></textarea>
<button>Send</button></form>
<div id=menu><span>Menu</span><ul><li><a href="/away">Away</a></li></ul></div>
<div id=rich contenteditable>old text</div>
<div id=host></div>
<script>host.attachShadow({ mode: 'open' }).innerHTML = '<button onclick="this.textContent = `in the shade`">Shade</button>';</script>"#;

#[tokio::test]
async fn every_action_on_a_form() {
    let Some(chromium) = chromium("every_action_on_a_form").await else { return };
    let app =
        Router::new().route("/", get(|| async { Html(FORM) })).route(
            "/done",
            get(|axum::extract::RawQuery(query): axum::extract::RawQuery| async move {
                query.unwrap_or_default()
            }),
        );
    let url = serve(app).await;
    let scenario = steps(
        r##"
- browser: { action: navigate, url: / }
  expect: a form
- browser: { action: fill, selector: 'role=textbox[name="Name"]', value: "Ann Ä" }
  assert: { value: { equals: "Ann Ä" } }
- browser: { action: press, selector: "input[name=name]", key: [End, "!", Control+A, Home, ">"] }
  assert: { value: { equals: ">Ann Ä!" } }
- browser: { action: fill, selector: "#day", value: "2026-02-03" }
  assert: { value: { equals: "2026-02-03" } }
- browser: { action: check, selector: 'role=checkbox[name="Newsletter"]' }
  assert: { tree: 'checkbox "Newsletter" [checked]' }
- browser: { action: check, selector: "text=Newsletter" }
  assert: { tree: 'checkbox "Newsletter" [checked]' }
- browser: { action: check, selector: "select" }
  expect: a list is no box
- browser: { action: select, selector: 'role=combobox[name="Size"]', value: Large }
  assert: { value: { equals: l }, tree: 'combobox "Size" [focused]: Large' }
- browser: { action: fill, selector: textarea, value: "one\ntwo" }
  assert: { value: { equals: "one\ntwo" } }
- browser: { action: fill, selector: textarea, value: "" }
  assert: { value: { equals: "" } }
- browser: { action: fill, selector: "#rich", value: new text }
  assert: { text: new text }
- browser: { action: hover, selector: "#menu" }
  assert: { tree: 'link "Away" -> /away' }
- browser: { action: click, selector: 'role=button[name="Shade"]' }
  assert: { tree: 'button "in the shade"' }
- browser: { action: wait, selector: "#menu a", hidden: true }
  expect: the menu is closed again
- browser: { action: click, selector: text="Send" }
  assert: { url: "/done?", text: { equals: "name=%3EAnn+%C3%84%21&day=2026-02-03&news=on&size=l&note=" } }
"##,
    );
    let mut seen = browse(&chromium, &scenario, &url, None).await;
    let list = seen.steps.remove(6);
    assert_eq!(list.error.as_deref(), Some("a click does not change it"));
    assert_all_hold(&seen);
    assert!(text(&seen.steps[0]).contains(
        "- text: Name\n- textbox \"Name\": old\n- text: Day\n- textbox \"Day\"\n- checkbox \"Newsletter\"\n- text: Newsletter\n\
         - combobox \"Size\": Small\n- textbox \"Note\"\n- button \"Send\"\n- text: Menu\n- text: old text\n- button \"Shade\""
    ), "{}", text(&seen.steps[0]));
}

const NOISY: &str = r#"<!doctype html><title>Noisy</title>
<button onclick="alert('Saved!'); document.title = confirm('Sure?') + prompt('Name?', 'Ann')">Ask</button>
<button onclick="fetch('/nothing').then(() => { console.error('bad', 7, new Error('inner')); nope() })">Break</button>
<a href="/file" download>Get</a> <button onclick="window.open('/other')">Other</button>
<img src="/gone.png" alt=""><script>console.log('not an error')</script>"#;

#[tokio::test]
async fn what_a_page_says_is_observed() {
    let Some(chromium) = chromium("what_a_page_says_is_observed").await else { return };
    let app = Router::new()
        .route("/", get(|| async { Html(NOISY) }))
        .route("/file", get(|| async { ([("content-disposition", "attachment; filename=a.csv")], "a,b") }))
        .route(
            "/other",
            get(|| async { Html("<title>Other</title><button onclick='window.close()'>Close</button>") }),
        )
        .route("/empty", get(|| async { axum::http::StatusCode::INTERNAL_SERVER_ERROR }));
    let url = serve(app).await;
    let scenario = steps(
        r#"
- browser: { action: navigate, url: / }
  assert: { console: { equals: "404: GET /gone.png" }, dialogs: { equals: "" } }
- browser: { action: click, selector: text=Ask }
  assert:
    dialogs: { equals: "alert: Saved!\nconfirm: Sure?\nprompt: Name?" }
    title: { equals: trueAnn }
    console: { length: 0 }
- browser: { action: click, selector: text=Break }
  assert:
    console: { equals: "404: GET /nothing\nerror: bad 7 Error: inner\nexception: ReferenceError: nope is not defined" }
- browser: { action: click, selector: text=Get }
  expect: a refused download
- browser: { action: click, selector: text=Other }
  assert: { title: { equals: Other }, url: /other }
- browser: { action: click, selector: text=Close }
  assert: { title: { equals: trueAnn } }
- browser: { action: navigate, url: /empty }
  assert: { console: "500: GET /empty", url: { matches: "/empty$" } }
"#,
    );
    let seen = browse(&chromium, &scenario, &url, None).await;
    assert_all_hold(&seen);
    // Chromium reports it when the page is idle, or a little later.
    let refused = [text(&seen.steps[3]), text(&seen.steps[4])];
    assert!(refused.iter().any(|text| text.contains("Refused downloads:\na.csv\n")), "{refused:?}");
    assert!(text(&seen.steps[1]).contains("Dialogs:\nalert: Saved!\n"), "{}", text(&seen.steps[1]));
}

#[tokio::test]
async fn scenarios_share_nothing_but_the_process() {
    let Some(chromium) = chromium("scenarios_share_nothing_but_the_process").await else { return };
    let counted = |headers: HeaderMap| async move {
        let before = headers.get("cookie").and_then(|value| value.to_str().ok()).unwrap_or("n=0").to_owned();
        let n = before.trim_start_matches("n=").parse::<u32>().unwrap() + 1;
        ([("set-cookie", format!("n={n}"))], Html(format!("<p id=n>{n}")))
    };
    let url = serve(Router::new().route("/", get(counted))).await;
    let visits = read(
        "
id: visits
steps:
  - browser: { action: navigate, url: / }
    assert: { text: { equals: '1' } }
  - browser: { action: navigate, url: / }
    assert: { text: { equals: '2' } }
",
    );
    let all = (0..4).map(|_| browse(&chromium, &visits, &url, None));
    futures_util::future::join_all(all).await.iter().for_each(assert_all_hold);
}
