//! What a page tells by itself, folded event by event.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::page::WORLD;
use crate::scenario::values::Excerpt;
use crate::value::Value;

/// Most lines that are kept until a step has reported them.
const LINES: usize = 100;
/// Longest line, in bytes.
const LINE: usize = 500;
/// Most requests that are followed at once.
const REQUESTS: usize = 1000;
/// Most frames of a page that are known.
const FRAMES: usize = 1000;
/// What the browser says of a host that it is kept from.
pub const KEPT_FROM: &str = "net::ERR_PROXY_CONNECTION_FAILED";
/// Why a page ended that was closed, not broken.
pub const CLOSED: &str = "the page was closed";
/// Requests that need not end for a page to be at rest.
const ENDLESS: [&str; 4] = ["EventSource", "WebSocket", "Media", "Ping"];

/// The state of a page, as far as it tells.
#[derive(Debug, Default)]
pub struct PageEvents {
    /// Its main frame.
    pub frame: String,
    /// Where our own script can be asked, in the documents that are there now, by frame.
    pub worlds: HashMap<String, String>,
    /// How many frames have been taken away.
    pub detached: u64,
    /// A navigation was asked for and has not begun to load.
    requested: bool,
    /// A document is loading.
    loading: bool,
    /// How many documents there have been.
    pub documents: u64,
    /// The address that led to an error page of the browser.
    pub unreachable: Option<String>,
    /// Requests under way: method and address by id.
    requests: HashMap<String, String>,
    /// Counts everything that an assertion may be about and that does not change the document.
    pub changes: u64,
    /// Errors, as `console` assertions see them.
    pub console: LogLines,
    /// Dialogs, as `kind: message`.
    pub dialogs: LogLines,
    /// Downloads that were refused, by file name.
    pub downloads: LogLines,
    /// Why nothing more will come.
    pub ended: Option<&'static str>,
}

/// Lines, at most [`LINES`] of them.
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

    /// All lines, and a note where some are missing.
    pub fn text(&self) -> String {
        let mut text = self.lines.join("\n");
        if self.missing > 0 {
            let _ = write!(text, "\n… {} more lines …", self.missing);
        }
        text
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl PageEvents {
    /// A page whose main frame is `frame`.
    pub fn of(frame: &str) -> Self {
        Self { frame: frame.to_owned(), ..Self::default() }
    }

    /// Whether it is on its way to another document.
    pub fn is_moving(&self) -> bool {
        self.loading
    }

    /// Whether it is on its way, or about to be, or waits for answers.
    pub fn is_busy(&self) -> bool {
        self.requested || self.loading || !self.requests.is_empty()
    }

    /// Requests that are under way now are no concern of what comes next.
    pub fn look_away(&mut self) {
        self.requests.clear();
    }

    /// What was told so far has been reported.
    pub fn forget(&mut self) {
        self.console = LogLines::default();
        self.dialogs = LogLines::default();
        self.downloads = LogLines::default();
    }

    /// Takes in one event.
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
                // The end of its loading is always told.
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
                // Some browsers ask for an icon by themselves; that is nothing the page has done.
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
                        KEPT_FROM => "kept from it, see `hosts`",
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

/// A value of the page's script as one line.
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
