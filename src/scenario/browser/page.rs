//! A page: what is asked of it and done in it. Nothing here is bounded in time, whoever waits bounds it.

use std::sync::Arc;

use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::chord;
use super::heard::Heard;
use crate::clock::Pause;
use crate::scenario::{Browsers, Ear, Tab};
use crate::value::Value;

/// The name of the world that our script runs in.
pub const WORLD: &str = "atoll";

const SCRIPT: &str = include_str!("page.js");

/// What a call says whose document went away meanwhile.
const LOST: [&str; 5] = [
    "Cannot find context",
    "Execution context was destroyed",
    "Inspected target navigated or closed",
    "uniqueContextId not found",
    "Promise was collected",
];

/// A page that is open.
pub struct Page {
    tab: Box<dyn Tab>,
    heard: Arc<watch::Sender<Heard>>,
}

/// What is seen of a page or of an element in it.
#[derive(Debug, Deserialize)]
pub struct Sight {
    /// How many changes there had been.
    pub mark: u64,
    /// Parts whose middle is missing.
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

fn listener() -> (Arc<watch::Sender<Heard>>, Ear) {
    let heard = Arc::new(watch::Sender::new(Heard::default()));
    let hears = heard.clone();
    (heard, Arc::new(move |event, told| hears.send_modify(|heard| heard.hear(event, told))))
}

impl Page {
    /// Opens an empty one.
    pub async fn open(browsers: &dyn Browsers) -> Result<Self, String> {
        let (heard, ear) = listener();
        Self { tab: browsers.open(ear).await?, heard }.prepared().await
    }

    /// One that this one has opened.
    pub async fn other(&self, id: &str) -> Result<Self, String> {
        let (heard, ear) = listener();
        Self { tab: self.tab.attach(id, ear).await?, heard }.prepared().await
    }

    async fn prepared(self) -> Result<Self, String> {
        self.heard.send_modify(|heard| *heard = Heard::of(self.tab.id()));
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
            ("Page.addScriptToEvaluateOnNewDocument", script),
        ];
        try_join_all(calls.into_iter().map(|(method, given)| self.tab.call(method, given))).await?;
        Ok(self)
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.tab.id()
    }

    /// The ids of all pages of its context.
    pub async fn pages(&self) -> Result<Vec<String>, String> {
        self.tab.pages().await
    }

    /// What it has told so far.
    pub fn heard(&self) -> watch::Ref<'_, Heard> {
        self.heard.borrow()
    }

    /// A new step begins: what was told before has been reported.
    pub fn begin(&self) {
        self.heard.send_modify(|heard| {
            heard.forget();
            heard.look_away();
        });
    }

    /// Resolves when nothing more will come, with why.
    pub async fn end(&self) -> String {
        self.until(|_| false).await.err().unwrap_or_default()
    }

    async fn until(&self, mut so: impl FnMut(&Heard) -> bool) -> Result<(), String> {
        let mut heard = self.heard.subscribe();
        let state = heard.wait_for(|heard| heard.ended.is_some() || so(heard)).await;
        state.ok().and_then(|state| state.ended).map_or(Ok(()), |why| Err(why.to_owned()))
    }

    /// What `function` of our script gives for `given`. Where the document goes away meanwhile, the next one is asked.
    pub async fn ask(&self, function: &str, given: &[Value]) -> Result<Value, String> {
        let given: Vec<String> = given.iter().map(Value::to_string).collect();
        let expression = format!("atoll.{function}({})", given.join(", "));
        loop {
            self.until(|heard| heard.world.is_some()).await?;
            let world = self.heard().world.clone();
            let call = json!({
                "expression": expression, "uniqueContextId": world, "awaitPromise": true, "returnByValue": true,
            });
            match self.tab.call("Runtime.evaluate", call).await {
                Ok(answer) => return value(&answer),
                Err(reason) if LOST.iter().any(|lost| reason.contains(lost)) => {
                    self.until(|heard| heard.world != world).await?;
                }
                Err(reason) => return Err(self.heard().ended.map_or(reason, str::to_owned)),
            }
        }
    }

    /// Goes to `url` and waits until all of it is loaded.
    pub async fn go(&self, url: &str) -> Result<(), String> {
        let before = self.heard().documents;
        let gone = self.tab.call("Page.navigate", json!({ "url": url })).await?;
        let failed = gone["errorText"].as_str().unwrap_or_default();
        let downloads =
            gone["isDownload"].as_bool().unwrap_or_default() || !self.heard().downloads.is_empty();
        match failed {
            // An answer of 400 or above without a body, or one of 204: nothing to show is no fault.
            "" | "net::ERR_HTTP_RESPONSE_CODE_FAILURE" => {}
            "net::ERR_ABORTED" if downloads => return Ok(()),
            "net::ERR_ABORTED" => return Err("the answer has no page in it".to_owned()),
            failed => return Err(format!("no answer: {}", failure(failed))),
        }
        if gone["loaderId"].is_string() {
            self.until(|heard| heard.documents > before && !heard.is_moving()).await?;
        }
        Ok(())
    }

    /// Waits for what has been set off: a navigation that has begun, to its end; requests, until `enough`.
    pub async fn settle(&self, mut enough: Pause) -> Result<(), String> {
        loop {
            self.ask("tick", &[]).await?;
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

    /// Moves the pointer over an element that can be used as `wants` says, and tells how it is there.
    pub async fn hover(&self, selector: &Value, wants: &Value) -> Result<Value, String> {
        loop {
            let there = self.ask("ready", &[selector.clone(), wants.clone()]).await?;
            self.mouse("mouseMoved", "none", &there).await?;
            // What the pointer has left may have given way, and the element with it.
            let now = self.ask("at", std::slice::from_ref(selector)).await?;
            if (&now["x"], &now["y"]) == (&there["x"], &there["y"]) {
                return Ok(there);
            }
        }
    }

    /// Clicks where the pointer is.
    pub async fn click(&self, there: &Value) -> Result<(), String> {
        self.mouse("mousePressed", "left", there).await?;
        self.mouse("mouseReleased", "left", there).await
    }

    async fn mouse(&self, kind: &str, button: &str, there: &Value) -> Result<(), String> {
        let event =
            json!({ "type": kind, "x": there["x"], "y": there["y"], "button": button, "clickCount": 1 });
        self.tab.call("Input.dispatchMouseEvent", event).await.map(drop)
    }

    /// Presses a key.
    pub async fn press(&self, key: &str) -> Result<(), String> {
        for event in chord::parse(key)?.events() {
            self.tab.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Types text where the caret is, in place of what is selected.
    pub async fn type_text(&self, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return self.press("Delete").await;
        }
        self.tab.call("Input.insertText", json!({ "text": text })).await.map(drop)
    }

    /// What is seen of it, or of the first element that matches.
    pub async fn see(&self, selector: &Value, whole: bool) -> Result<Sight, String> {
        let seen = self.ask("see", &[selector.clone(), whole.into()]).await?;
        serde_json::from_value(seen).map_err(|e| format!("the page cannot be read: {e}"))
    }

    /// Resolves when something is different from when `mark` and `changes` were counted.
    pub async fn change(&self, mark: u64, changes: u64) -> Result<(), String> {
        let document = self.heard().documents;
        let given = [mark.into()];
        tokio::select! {
            changed = self.ask("next", &given) => changed.map(drop),
            told = self.until(|heard| heard.changes > changes || heard.documents > document) => told,
        }
    }

    /// A picture of what can be seen of it.
    pub async fn picture(&self) -> Result<String, String> {
        let taken = self.tab.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        taken["data"].as_str().map(str::to_owned).ok_or_else(|| "there is no picture".to_owned())
    }

    /// Ends a script that does not end by itself, and what is loading.
    pub async fn halt(&self) -> Result<(), String> {
        self.tab.call("Runtime.terminateExecution", json!({})).await?;
        self.tab.call("Page.stopLoading", json!({})).await.map(drop)
    }
}

/// What an evaluation gave, or what it threw.
fn value(answer: &Value) -> Result<Value, String> {
    let thrown = &answer["exceptionDetails"];
    if thrown.is_null() {
        return Ok(answer["result"]["value"].clone());
    }
    let said = thrown["exception"]["value"].as_str().or(thrown["exception"]["description"].as_str());
    Err(said.or(thrown["text"].as_str()).unwrap_or_default().lines().next().unwrap_or_default().to_owned())
}

/// A network error in words: `net::ERR_CONNECTION_REFUSED` is `connection refused`.
fn failure(code: &str) -> String {
    code.trim_start_matches("net::").trim_start_matches("ERR_").replace('_', " ").to_lowercase()
}
