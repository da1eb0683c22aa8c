//! A page: queries and actions. Nothing here has a time limit; callers set one.

use std::sync::Arc;

use futures_util::future::{BoxFuture, try_join_all};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::chord;
use super::heard::{KEPT_FROM, PageEvents};
use crate::clock::Sleep;
use crate::scenario::ports::{BrowserTab, Browsers, EventListener};
use crate::value::Value;

/// Name of the isolated world of our script.
pub const WORLD: &str = "atoll";

const SCRIPT: &str = include_str!("page.js");

/// Errors of calls whose document was replaced meanwhile.
const LOST: [&str; 5] = [
    "Cannot find context",
    "Execution context was destroyed",
    "Inspected target navigated or closed",
    "uniqueContextId not found",
    "Promise was collected",
];

/// An open page.
pub struct Page {
    tab: Box<dyn BrowserTab>,
    heard: Arc<watch::Sender<PageEvents>>,
    /// Whether it ignores certificate errors.
    trusts: bool,
}

/// Visible state of a page or of an element.
#[derive(Debug, Deserialize)]
pub struct PageState {
    /// Value of the change counter.
    pub mark: u64,
    /// Names of parts whose middle is missing.
    pub cut: Vec<String>,
    pub url: String,
    pub title: String,
    pub text: Option<String>,
    pub html: Option<String>,
    pub value: Option<String>,
    pub visible: Option<bool>,
    pub count: Option<u64>,
    pub tree: String,
}

fn listener() -> (Arc<watch::Sender<PageEvents>>, EventListener) {
    let heard = Arc::new(watch::Sender::new(PageEvents::default()));
    let hears = heard.clone();
    (heard, Arc::new(move |event, told| hears.send_modify(|heard| heard.hear(event, told))))
}

impl Page {
    /// Opens an empty page that reaches `hosts`, or all hosts if there is no list. With `trusts`, it
    /// ignores certificate errors.
    pub async fn open(
        browsers: &dyn Browsers,
        hosts: Option<Vec<String>>,
        trusts: bool,
    ) -> Result<Self, String> {
        let (heard, ear) = listener();
        Self { tab: browsers.open(hosts, ear).await?, heard, trusts }.prepared().await
    }

    /// A page that this one has opened.
    pub async fn other(&self, id: &str) -> Result<Self, String> {
        let (heard, ear) = listener();
        Self { tab: self.tab.attach(id, ear).await?, heard, trusts: self.trusts }.prepared().await
    }

    async fn prepared(self) -> Result<Self, String> {
        self.heard.send_modify(|heard| *heard = PageEvents::of(self.tab.id()));
        let script = json!({ "source": SCRIPT, "worldName": WORLD, "runImmediately": true });
        let kept = json!({ "maxTotalBufferSize": 1 << 20, "maxResourceBufferSize": 1 << 20 });
        let size = json!({ "width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": false });
        let calls = [
            ("Page.enable", json!({})),
            ("Runtime.enable", json!({})),
            ("Network.enable", kept),
            ("Log.enable", json!({})),
            ("Emulation.setFocusEmulationEnabled", json!({ "enabled": true })),
            ("Emulation.setDeviceMetricsOverride", size),
            ("Security.setIgnoreCertificateErrors", json!({ "ignore": self.trusts })),
            ("Page.addScriptToEvaluateOnNewDocument", script),
        ];
        try_join_all(calls.into_iter().map(|(method, given)| self.tab.call(method, given))).await?;
        Ok(self)
    }

    /// Id of the page.
    pub fn id(&self) -> &str {
        self.tab.id()
    }

    /// Ids of all pages of its context.
    pub async fn pages(&self) -> Result<Vec<String>, String> {
        self.tab.pages().await
    }

    /// State from its events.
    pub fn heard(&self) -> watch::Ref<'_, PageEvents> {
        self.heard.borrow()
    }

    /// Begins a new step: earlier lines have been reported.
    pub fn begin(&self) {
        self.heard.send_modify(|heard| {
            heard.forget();
            heard.look_away();
        });
    }

    /// Resolves with the reason when there will be no more events.
    pub async fn end(&self) -> String {
        self.until(|_| false).await.err().unwrap_or_default()
    }

    async fn until(&self, mut so: impl FnMut(&PageEvents) -> bool) -> Result<(), String> {
        let mut heard = self.heard.subscribe();
        let state = heard.wait_for(|heard| heard.ended.is_some() || so(heard)).await;
        state.ok().and_then(|state| state.ended).map_or(Ok(()), |why| Err(why.to_owned()))
    }

    /// Calls `function` of our script with `given`, in the document of the last of the nested `frames`. If
    /// the document is replaced meanwhile, the call is repeated in the next one.
    pub async fn ask(&self, frames: &[Value], function: &str, given: &[Value]) -> Result<Value, String> {
        let given: Vec<String> = given.iter().map(Value::to_string).collect();
        let expression = format!("atoll.{function}({})", given.join(", "));
        self.evaluate(frames, expression, true).await.map(|result| result["value"].clone())
    }

    fn evaluate<'a>(
        &'a self,
        frames: &'a [Value],
        expression: String,
        by_value: bool,
    ) -> BoxFuture<'a, Result<Value, String>> {
        Box::pin(async move {
            loop {
                let detached = self.heard().detached;
                let frame = match frames.split_last() {
                    Some((inner, outer)) => self.frame(outer, inner).await?,
                    None => self.tab.id().to_owned(),
                };
                let known =
                    |heard: &PageEvents| heard.worlds.contains_key(&frame) || heard.detached > detached;
                self.until(known).await?;
                let Some(world) = self.heard().worlds.get(&frame).cloned() else { continue };
                let call = json!({
                    "expression": expression, "uniqueContextId": world, "awaitPromise": true,
                    "returnByValue": by_value,
                });
                match self.tab.call("Runtime.evaluate", call).await {
                    // A new document does not contain our script yet.
                    Ok(answer) if is_bare(&answer) => {
                        let script = json!({ "expression": SCRIPT, "uniqueContextId": world });
                        if let Err(reason) = self.tab.call("Runtime.evaluate", script).await
                            && !LOST.iter().any(|lost| reason.contains(lost))
                        {
                            return Err(self.heard().ended.map_or(reason, str::to_owned));
                        }
                    }
                    Ok(answer) => return value(&answer),
                    Err(reason) if LOST.iter().any(|lost| reason.contains(lost)) => {
                        let other = |heard: &PageEvents| {
                            heard.worlds.get(&frame) != Some(&world) || heard.detached > detached
                        };
                        self.until(other).await?;
                    }
                    Err(reason) => return Err(self.heard().ended.map_or(reason, str::to_owned)),
                }
            }
        })
    }

    /// The id of the frame that `selector` matches in the document of `outer`, once it exists.
    async fn frame(&self, outer: &[Value], selector: &Value) -> Result<String, String> {
        let found = self.evaluate(outer, format!("atoll.frame({selector})"), false).await?;
        let whom = json!({ "objectId": found["objectId"] });
        let described = self.tab.call("DOM.describeNode", whom.clone()).await?;
        self.tab.call("Runtime.releaseObject", whom).await?;
        let id = described["node"]["frameId"].as_str();
        id.map(str::to_owned).ok_or_else(|| "the frame has no document".to_owned())
    }

    /// Offset of the document of the last of `frames` from the corner of the page.
    async fn inset(&self, frames: &[Value]) -> Result<(f64, f64), String> {
        let mut inset = (0.0, 0.0);
        for at in 0..frames.len() {
            let corner = self.ask(&frames[..at], "inset", &frames[at..=at]).await?;
            let part = |key: &str| corner[key].as_f64().unwrap_or_default();
            inset = (inset.0 + part("x"), inset.1 + part("y"));
        }
        Ok(inset)
    }

    /// Navigates to `url` and waits until the page is loaded.
    pub async fn go(&self, url: &str) -> Result<(), String> {
        let before = self.heard().documents;
        let gone = self.tab.call("Page.navigate", json!({ "url": url })).await?;
        let failed = gone["errorText"].as_str().unwrap_or_default();
        let downloads =
            gone["isDownload"].as_bool().unwrap_or_default() || !self.heard().downloads.is_empty();
        match failed {
            // An answer of 400 or above without a body, or 204: an empty page is not an error.
            "" | "net::ERR_HTTP_RESPONSE_CODE_FAILURE" => {}
            "net::ERR_ABORTED" if downloads => return Ok(()),
            "net::ERR_ABORTED" => return Err("the answer contains no page".to_owned()),
            failed => return Err(format!("no answer: {}", failure(failed))),
        }
        if gone["loaderId"].is_string() {
            self.until(|heard| heard.documents > before && !heard.is_moving()).await?;
        }
        Ok(())
    }

    /// Waits for the end of a navigation, and for requests until `enough`.
    pub async fn settle(&self, mut enough: Sleep) -> Result<(), String> {
        loop {
            self.ask(&[], "tick", &[]).await?;
            self.until(|heard| !heard.is_moving()).await?;
            if !self.heard().is_busy() {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = &mut enough => return Ok(()),
                ended = self.until(|heard| !heard.is_busy() || heard.is_moving()) => ended?,
            }
        }
    }

    /// Moves the pointer over an element that is ready for the action `wants`, and returns its state.
    pub async fn hover(&self, frames: &[Value], selector: &Value, wants: &Value) -> Result<Value, String> {
        loop {
            let there = self.ask(frames, "ready", &[selector.clone(), wants.clone()]).await?;
            self.mouse(frames, "mouseMoved", "none", &there).await?;
            // Moving the pointer may have moved the element.
            let now = self.ask(frames, "at", std::slice::from_ref(selector)).await?;
            if (&now["x"], &now["y"]) == (&there["x"], &there["y"]) {
                return Ok(there);
            }
        }
    }

    /// Clicks at the position of the pointer.
    pub async fn click(&self, frames: &[Value], there: &Value) -> Result<(), String> {
        self.mouse(frames, "mousePressed", "left", there).await?;
        self.mouse(frames, "mouseReleased", "left", there).await
    }

    async fn mouse(&self, frames: &[Value], kind: &str, button: &str, there: &Value) -> Result<(), String> {
        let (left, top) = self.inset(frames).await?;
        let (x, y) = (there["x"].as_f64().unwrap_or_default(), there["y"].as_f64().unwrap_or_default());
        let event = json!({ "type": kind, "x": left + x, "y": top + y, "button": button, "clickCount": 1 });
        self.tab.call("Input.dispatchMouseEvent", event).await.map(drop)
    }

    /// Presses a key.
    pub async fn press(&self, key: &str) -> Result<(), String> {
        for event in chord::parse(key)?.events() {
            self.tab.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Types text at the caret, replacing the selection.
    pub async fn type_text(&self, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return self.press("Delete").await;
        }
        self.tab.call("Input.insertText", json!({ "text": text })).await.map(drop)
    }

    /// State of the page, or of the first matching element.
    pub async fn see(&self, frames: &[Value], selector: &Value, whole: bool) -> Result<PageState, String> {
        let seen = self.ask(frames, "see", &[selector.clone(), whole.into()]).await?;
        serde_json::from_value(seen).map_err(|e| format!("the page cannot be read: {e}"))
    }

    /// Resolves when something has changed since `mark` and `changes` were read.
    pub async fn change(&self, frames: &[Value], mark: u64, changes: u64) -> Result<(), String> {
        let document = self.heard().documents;
        let given = [mark.into()];
        tokio::select! {
            changed = self.ask(frames, "next", &given) => changed.map(drop),
            told = self.until(|heard| heard.changes > changes || heard.documents > document) => told,
        }
    }

    /// A screenshot of the visible part, in base64.
    pub async fn picture(&self) -> Result<String, String> {
        let taken = self.tab.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        taken["data"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| "the browser returned no screenshot".to_owned())
    }

    /// Stops running scripts and loading.
    pub async fn halt(&self) -> Result<(), String> {
        self.tab.call("Runtime.terminateExecution", json!({})).await?;
        self.tab.call("Page.stopLoading", json!({})).await.map(drop)
    }
}

/// Whether an evaluation failed because our script is missing.
fn is_bare(answer: &Value) -> bool {
    let said = answer["exceptionDetails"]["exception"]["description"].as_str().unwrap_or_default();
    said.starts_with("ReferenceError: atoll is not defined")
}

/// The result of an evaluation, or the exception.
fn value(answer: &Value) -> Result<Value, String> {
    let thrown = &answer["exceptionDetails"];
    if thrown.is_null() {
        return Ok(answer["result"].clone());
    }
    let said = thrown["exception"]["value"].as_str().or(thrown["exception"]["description"].as_str());
    Err(said.or(thrown["text"].as_str()).unwrap_or_default().lines().next().unwrap_or_default().to_owned())
}

/// A network error in words: `net::ERR_CONNECTION_REFUSED` becomes `connection refused`.
fn failure(code: &str) -> String {
    if code == KEPT_FROM {
        return "it was blocked, because the host is not in `hosts`".to_owned();
    }
    code.trim_start_matches("net::").trim_start_matches("ERR_").replace('_', " ").to_lowercase()
}
