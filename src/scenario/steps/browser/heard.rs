//! State of a page, folded from its events.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::page::WORLD;
use crate::scenario::values::Excerpt;
use crate::value::Value;

/// Most lines that are kept until a step has reported them.
const LINES: usize = 100;
/// Longest line, in bytes.
const LINE: usize = 500;
/// Most concurrent requests that are tracked.
const REQUESTS: usize = 1000;
/// Most frames of a page that are tracked.
const FRAMES: usize = 1000;
/// Network error of the browser for a host that is not allowed.
pub const KEPT_FROM: &str = "net::ERR_PROXY_CONNECTION_FAILED";
/// Reason for the end of a page that was closed normally.
pub const CLOSED: &str = "the page was closed";
/// Types of requests that may stay open on an idle page.
const ENDLESS: [&str; 4] = ["EventSource", "WebSocket", "Media", "Ping"];

/// State of a page, as far as its events show it.
#[derive(Debug, Default)]
pub struct PageEvents {
    /// Id of the main frame.
    pub frame: String,
    /// Execution contexts of our script in the current documents, by frame.
    pub worlds: HashMap<String, String>,
    /// Number of removed frames.
    pub detached: u64,
    /// True if a navigation was requested and has not started to load.
    requested: bool,
    /// True while a document is loading.
    loading: bool,
    /// Number of documents until now.
    pub documents: u64,
    /// Address for which the browser shows an error page.
    pub unreachable: Option<String>,
    /// Requests in progress: method and address by id.
    requests: HashMap<String, String>,
    /// Counter of changes that assertions can see and that do not change the document.
    pub changes: u64,
    /// Errors, as `console` assertions see them.
    pub console: LogLines,
    /// Dialogs, as `kind: message`.
    pub dialogs: LogLines,
    /// Downloads that were refused, by file name.
    pub downloads: LogLines,
    /// Reason why there will be no more events.
    pub ended: Option<&'static str>,
}

/// At most [`LINES`] lines.
#[derive(Clone, Debug, Default)]
pub struct LogLines {
    lines: Vec<String>,
    missing: usize,
}

impl LogLines {
    fn push(&mut self, line: &str) {
        if self.lines.len() < LINES {
            let line = line.lines().next().unwrap_or_default();
            self.lines.push(Excerpt::of_text(line, LINE).text.replace('\n', " "));
        } else {
            self.missing += 1;
        }
    }

    /// All lines, and a note if some are missing.
    pub fn text(&self) -> String {
        let mut text = self.lines.join("\n");
        if self.missing > 0 {
            let _ = write!(text, "\n… {} more lines …", self.missing);
        }
        text
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl PageEvents {
    /// A page whose main frame is `frame`.
    pub fn of(frame: &str) -> Self {
        Self { frame: frame.to_owned(), ..Self::default() }
    }

    /// Whether the page is navigating.
    pub fn is_moving(&self) -> bool {
        self.loading
    }

    /// Whether the page is navigating, will navigate, or waits for answers.
    pub fn is_busy(&self) -> bool {
        self.requested || self.loading || !self.requests.is_empty()
    }

    /// Ignores the current requests from now on.
    pub fn look_away(&mut self) {
        self.requests.clear();
    }

    /// Clears the lines, which have been reported.
    pub fn forget(&mut self) {
        self.console = LogLines::default();
        self.dialogs = LogLines::default();
        self.downloads = LogLines::default();
    }

    /// Applies one event.
    pub fn hear(&mut self, event: &str, told: &Value) {
        let text = |pointer: &str| told.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let main = text("/frameId") == self.frame;
        match event {
            "Page.frameRequestedNavigation" if main => self.requested = text("/disposition") == "currentTab",
            "Page.frameStartedLoading" if main => (self.requested, self.loading) = (false, true),
            "Page.frameStoppedLoading" if main => (self.requested, self.loading) = (false, false),
            "Page.navigatedWithinDocument" if main => {
                self.requested = false;
                self.changes += 1;
            }
            "Page.frameNavigated" if text("/frame/id") == self.frame => {
                // There is always an event when loading ends.
                (self.requested, self.loading) = (false, true);
                self.documents += 1;
                let unreachable = text("/frame/unreachableUrl");
                self.unreachable = (!unreachable.is_empty()).then(|| unreachable.to_owned());
                self.requests.clear();
            }
            "Runtime.executionContextCreated"
                if text("/context/name") == WORLD && self.worlds.len() < FRAMES =>
            {
                let (frame, world) = (text("/context/auxData/frameId"), text("/context/uniqueId"));
                self.worlds.insert(frame.to_owned(), world.to_owned());
            }
            "Runtime.executionContextDestroyed" => {
                self.worlds.retain(|_, world| world.as_str() != text("/executionContextUniqueId"));
            }
            "Runtime.executionContextsCleared" => self.worlds.clear(),
            "Page.frameDetached" => self.detached += 1,
            "Inspector.targetCrashed" => self.ended = Some("the page crashed"),
            "Inspector.detached" | "Target.detachedFromTarget" => self.ended = Some(CLOSED),
            "Browser.gone" => self.ended = Some("the browser ended"),
            _ => self.hear_more(event, told),
        }
    }

    fn hear_more(&mut self, event: &str, told: &Value) {
        let text = |pointer: &str| told.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let id = text("/requestId");
        match event {
            "Network.requestWillBeSent" => {
                let what = format!("{} {}", text("/request/method"), text("/request/url"));
                if !ENDLESS.contains(&text("/type")) && self.requests.len() < REQUESTS {
                    self.requests.insert(id.to_owned(), Excerpt::of_text(&what, LINE).text);
                }
            }
            "Network.responseReceived" => {
                let status = told.pointer("/response/status").and_then(Value::as_u64).unwrap_or_default();
                // Some browsers request an icon by themselves; that is not the fault of the page.
                if status >= 400 && !text("/response/url").ends_with("/favicon.ico") {
                    let what = self.requests.get(id).map_or_else(|| text("/response/url"), String::as_str);
                    let line = format!("{status}: {what}");
                    self.complain(&line);
                }
                if ENDLESS.contains(&text("/type")) {
                    self.requests.remove(id);
                }
            }
            "Network.loadingFinished" => drop(self.requests.remove(id)),
            "Network.loadingFailed" => {
                let what = self.requests.remove(id);
                let canceled = told["canceled"].as_bool().unwrap_or_default();
                if let Some(what) = what.filter(|_| !canceled) {
                    let why = match text("/errorText") {
                        KEPT_FROM => "blocked: the host is not in `hosts`",
                        why => why,
                    };
                    self.complain(&format!("failed: {what}: {why}"));
                }
            }
            "Runtime.consoleAPICalled" if matches!(text("/type"), "error" | "assert") => {
                let arguments = told["args"].as_array().into_iter().flatten().map(plain);
                let line = arguments.collect::<Vec<_>>().join(" ");
                self.complain(&format!("error: {line}"));
            }
            "Runtime.exceptionThrown" => {
                let thrown = &told["exceptionDetails"]["exception"];
                let line =
                    if thrown.is_null() { text("/exceptionDetails/text").to_owned() } else { plain(thrown) };
                self.complain(&format!("exception: {line}"));
            }
            "Log.entryAdded"
                if text("/entry/level") == "error"
                    && !matches!(text("/entry/source"), "network" | "javascript") =>
            {
                let line = format!("error: {}", text("/entry/text"));
                self.complain(&line);
            }
            "Page.javascriptDialogOpening" => {
                let line = format!("{}: {}", text("/type"), text("/message"));
                self.dialogs.push(&line);
                self.changes += 1;
            }
            "Page.downloadWillBegin" => {
                self.requested = false;
                self.downloads.push(text("/suggestedFilename"));
                self.changes += 1;
            }
            _ => {}
        }
    }

    fn complain(&mut self, line: &str) {
        self.console.push(line);
        self.changes += 1;
    }
}

/// A JavaScript value as one line.
fn plain(remote: &Value) -> String {
    match (&remote["value"], remote["description"].as_str()) {
        (Value::String(text), _) => text.clone(),
        (_, Some(text)) => text.lines().next().unwrap_or_default().to_owned(),
        (value, None) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_of_all_kinds_become_lines_and_a_flood_is_counted() {
        let mut heard = PageEvents::of("f");
        let request = json!({"requestId": "1", "type": "Fetch", "request": {"method": "GET", "url": "/x"}});
        heard.hear("Network.requestWillBeSent", &request);
        assert!(heard.is_busy() && !heard.is_moving());
        heard.hear("Network.responseReceived", &json!({"requestId": "1", "response": {"status": 404}}));
        heard.hear("Network.loadingFailed", &json!({"requestId": "1", "errorText": "net::ERR_X"}));
        assert!(!heard.is_busy());
        let thrown = json!({"exceptionDetails": {"exception": {"description": "Error: boom\n at x:1"}}});
        heard.hear("Runtime.exceptionThrown", &thrown);
        let said =
            json!({"type": "error", "args": [{"value": "a"}, {"value": 1}, {"description": "Object"}]});
        heard.hear("Runtime.consoleAPICalled", &said);
        heard.hear("Runtime.consoleAPICalled", &json!({"type": "log", "args": []}));
        assert_eq!(
            heard.console.text(),
            "404: GET /x\nfailed: GET /x: net::ERR_X\nexception: Error: boom\nerror: a 1 Object"
        );
        (0..1000).for_each(|_| heard.hear("Runtime.consoleAPICalled", &said));
        assert!(heard.console.text().ends_with("error: a 1 Object\n… 904 more lines …"));
        heard.forget();
        assert!(heard.console.is_empty());
    }

    #[test]
    fn a_navigation_is_followed_from_the_asking_to_the_end() {
        let mut heard = PageEvents::of("f");
        let asked = json!({"frameId": "f", "disposition": "currentTab"});
        heard.hear("Page.frameRequestedNavigation", &asked);
        assert!(heard.is_busy() && !heard.is_moving());
        heard.hear("Page.frameStartedLoading", &json!({"frameId": "f"}));
        heard.hear("Page.frameStoppedLoading", &json!({"frameId": "other"}));
        assert!(heard.is_moving());
        heard.hear("Page.frameStoppedLoading", &json!({"frameId": "f"}));
        assert!(!heard.is_busy());
    }
}
