use std::borrow::Cow;
use std::fmt::Write as _;
use std::slice::from_ref;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::json;

use super::heard::CLOSED;
use super::page::{Page, PageState};
use super::{Browser, BrowserAction, Hosts, pick, upload};
use crate::clock::{Clock, Millis, Sleep, millis};
use crate::scenario::answer::SentRecord;
use crate::scenario::answer::StepOutcome;
use crate::scenario::answer::{Evidence, StepAnswer, StructuredResponse};
use crate::scenario::network::TargetUrl;
use crate::scenario::steps::TestEnvironment;
use crate::scenario::values::credentials;
use crate::scenario::values::{Excerpt, KeptContent, Variables, WrittenDuration};
use crate::value::Value;

/// How long to wait for requests that an action causes; assertions wait longer if needed.
const QUIET: Duration = Duration::from_secs(1);
/// Time limit for opening a page, which does not depend on the program under test.
const OPENING: Duration = Duration::from_secs(30);
/// How long to look for newly opened pages.
const FOLLOWED: Duration = Duration::from_secs(2);
/// The share of a step's time, and the maximum, that is reserved for reading the result.
const KEPT_BACK: (u32, Duration) = (5, Duration::from_secs(1));
/// Longest text of a judged tree, in bytes.
const JUDGED_TREE: usize = 6 << 10;
/// Most bytes kept of a page's text.
const KEPT: usize = 1 << 20;

/// The pages of one actor.
pub struct Actor {
    hosts: Hosts,
    /// Whether pages ignore certificate errors.
    trusts: bool,
    /// Open pages; the last one is the current page.
    pages: Vec<Page>,
    /// The last step, and the end of its time limit.
    turn: Option<(PlayedStep, Sleep)>,
    /// Deadline of the step.
    end: Millis,
}

/// A step that is running.
struct PlayedStep {
    deed: BrowserAction,
    selector: Value,
    /// Nested frames that the step acts in.
    frames: Vec<Value>,
    home: String,
    limit: Duration,
    /// Time limit for its assertions after the action.
    within: Duration,
    /// Change counters at the last look.
    mark: u64,
    changes: u64,
}

impl Actor {
    /// An actor whose pages reach `hosts` in addition to the target, and ignore certificate errors if it
    /// `trusts`.
    pub fn new(hosts: Hosts, trusts: bool) -> Self {
        Self { hosts, trusts, pages: Vec::new(), turn: None, end: 0 }
    }

    /// Runs one step, for at most `left` if a retry limits it.
    pub async fn play(
        &mut self,
        step: &Browser,
        stage: &TestEnvironment<'_>,
        variables: &Variables,
        left: Option<Duration>,
    ) -> (Option<SentRecord>, StepOutcome) {
        let deed = step.action.filled(variables);
        let limit = left.map_or(step.timeout.0, |left| left.min(step.timeout.0));
        let text =
            step.frame.iter().rev().fold(deed.to_string(), |text, frame| {
                format!("{text} in the frame {}", variables.fill(frame))
            });
        let text = match &deed {
            BrowserAction::Navigate { .. } => credentials::recorded_url(&text),
            _ => Cow::Borrowed(text.as_str()),
        };
        let sent = SentRecord { text: Excerpt::visible(&text, 8 << 10).text, ..SentRecord::default() };
        let frames: Vec<String> = step.frame.iter().map(|frame| variables.fill(frame).into_owned()).collect();
        let turn = match PlayedStep::of(deed, &frames, stage, (limit, step.within.0)) {
            Ok(turn) => turn,
            Err(reason) => return (Some(sent), StepOutcome::error(reason)),
        };
        let end = left.map(|left| stage.clock.now().saturating_add(millis(left)));
        let outcome = self.take(turn, stage, end).await;
        (Some(sent), outcome)
    }

    async fn take(
        &mut self,
        mut turn: PlayedStep,
        stage: &TestEnvironment<'_>,
        end: Option<Millis>,
    ) -> StepOutcome {
        self.turn = None;
        self.pages.retain(|page| page.heard().ended.is_none());
        if let Err(reason) = self.enter(&turn, stage).await {
            return StepOutcome::error(reason);
        }
        let Some(page) = self.pages.last() else { return StepOutcome::error("no page is open") };
        page.begin();
        // Opening a page counts towards the limit of a retry or the scenario.
        if let Some(end) = end {
            turn.limit = turn.limit.min(Duration::from_millis(end.saturating_sub(stage.clock.now())));
        }
        // Everything ends with the step's time limit, so a part of it is reserved for the last look.
        let kept_back = (turn.limit / KEPT_BACK.0).min(KEPT_BACK.1);
        self.end = stage.clock.now() + millis(turn.limit);
        let done = tokio::select! {
            biased;
            done = turn.act(page, stage.clock) => done,
            why = page.end() => Err(why),
            () = stage.clock.sleep(turn.limit.saturating_sub(kept_back)) => {
                Err(turn.excuse(page, stage.clock.sleep(kept_back / 3)).await)
            }
        };
        // A page may close itself; then its opener is the current page again.
        let closed = self.pages.len() > 1 && page.heard().ended == Some(CLOSED);
        let error = done.err().filter(|_| !closed);
        self.follow(stage, if error.is_some() { kept_back / 3 } else { FOLLOWED }).await;
        let mut late = self.left(stage);
        let mut outcome = self.look(&mut turn, &mut late).await;
        outcome.error = error.or(outcome.error);
        let Some(page) = self.pages.last() else { return outcome };
        if outcome.error.is_none() {
            // A screenshot of a failure takes time as well.
            let rest = Duration::from_millis(self.end.saturating_sub(stage.clock.now()));
            let picture = if stage.evidence.is_some() { kept_back / 2 } else { Duration::ZERO };
            let patience = turn.within.min(rest.saturating_sub(picture));
            self.turn = Some((turn, stage.clock.sleep(patience)));
        } else if outcome.answer.is_none() || matches!(turn.deed, BrowserAction::Navigate { .. }) {
            // Scripts that are still running must not continue during the next step.
            tokio::select! { biased; _ = page.halt() => {}, () = self.left(stage) => {} }
        }
        outcome
    }

    /// Resolves at the deadline of the step.
    fn left(&self, stage: &TestEnvironment<'_>) -> Sleep {
        stage.clock.sleep(Duration::from_millis(self.end.saturating_sub(stage.clock.now())))
    }

    /// Reads the current page.
    async fn look(&mut self, turn: &mut PlayedStep, late: &mut Sleep) -> StepOutcome {
        loop {
            let Some(page) = self.pages.last() else { return StepOutcome::error("no page is open") };
            let outcome = turn.look(page, late).await;
            if self.pages.len() == 1 || page.heard().ended.is_none() {
                return outcome;
            }
            self.pages.pop();
        }
    }

    /// Opens a page if none is open and the step navigates.
    async fn enter(&mut self, turn: &PlayedStep, stage: &TestEnvironment<'_>) -> Result<(), String> {
        if !self.pages.is_empty() {
            return Ok(());
        }
        if !matches!(turn.deed, BrowserAction::Navigate { .. }) {
            return Err("no page is open: a `navigate` step opens one".to_owned());
        }
        let browsers = stage.browsers.ok_or("no browser is available")?;
        let page = tokio::select! {
            biased;
            page = Page::open(browsers, self.hosts.beside(stage.target), self.trusts) => page?,
            () = stage.clock.sleep(OPENING) => return Err("the browser did not open a page".to_owned()),
        };
        self.pages.push(page);
        Ok(())
    }

    /// Switches to the page that was opened last, or back from one that was closed.
    async fn follow(&mut self, stage: &TestEnvironment<'_>, at_most: Duration) {
        let look = async {
            let mut new = Vec::new();
            if let Some(page) = self.pages.last() {
                for id in page.pages().await.unwrap_or_default() {
                    if self.pages.iter().all(|known| known.id() != id)
                        && let Ok(other) = page.other(&id).await
                    {
                        let _ = other.settle(stage.clock.sleep(QUIET)).await;
                        let _ = other.ask(&[], "loaded", &[]).await;
                        new.push(other);
                    }
                }
            }
            new
        };
        let over = sooner(stage.clock.sleep(at_most), self.left(stage));
        let new = tokio::select! { new = look => new, () = over => Vec::new() };
        self.pages.extend(new);
        if self.pages.len() > 1 {
            self.pages.retain(|page| page.heard().ended.is_none());
        }
    }

    /// Waits until the page of the last step changes and reads it again; `None` after the deadline.
    pub async fn look_again(&mut self) -> Option<StepOutcome> {
        let ((mut turn, mut late), page) = (self.turn.take()?, self.pages.last()?);
        tokio::select! {
            biased;
            () = &mut late => return None,
            // If the page cannot report changes, the next look shows them.
            _ = page.change(&turn.frames, turn.mark, turn.changes) => {}
            _ = page.end() => {}
        }
        let seen = self.look(&mut turn, &mut late).await;
        if seen.error.is_some() {
            return None;
        }
        self.turn = Some((turn, late));
        Some(seen)
    }

    /// A screenshot of the page.
    pub async fn picture(&mut self, stage: &TestEnvironment<'_>) -> Option<Evidence> {
        let taken = tokio::select! {
            biased;
            taken = self.pages.last()?.picture() => taken.ok()?,
            () = self.left(stage) => return None,
        };
        Some(Evidence { name: "screenshot", media_type: "image/png", bytes: decoded(&taken)? })
    }

    /// Closes all pages at the end of the scenario.
    pub fn end(self) {
        // Dropping a page closes it.
        drop(self.pages);
    }
}

impl PlayedStep {
    fn of(
        deed: BrowserAction,
        frames: &[String],
        stage: &TestEnvironment<'_>,
        (limit, within): (Duration, Duration),
    ) -> Result<Self, String> {
        let target = TargetUrl::parse(stage.target.ok_or("there is no target to go to")?)?;
        let deed = match deed {
            BrowserAction::Navigate { url } => BrowserAction::Navigate { url: address(&target, &url)? },
            deed => deed,
        };
        let selector = deed.selector().map(pick::parse).transpose()?.unwrap_or_default();
        let frames = frames.iter().map(|frame| pick::parse(frame)).collect::<Result<_, _>>()?;
        let home = target.origin();
        Ok(Self { deed, selector, frames, home, limit, within, mark: 0, changes: 0 })
    }

    /// Carries out the action and waits for its effects.
    async fn act(&self, page: &Page, clock: &dyn Clock) -> Result<(), String> {
        let usable = json!({ "enabled": true, "hit": true });
        let (frames, selector) = (self.frames.as_slice(), &self.selector);
        match &self.deed {
            BrowserAction::Navigate { url } => page.go(url).await?,
            BrowserAction::Click { .. } => {
                page.click(frames, &page.hover(frames, selector, &usable).await?).await?;
            }
            BrowserAction::Hover { .. } => {
                page.hover(frames, selector, &json!({ "hit": true })).await?;
            }
            BrowserAction::Check { .. } | BrowserAction::Uncheck { .. } => {
                let wanted = Value::from(matches!(self.deed, BrowserAction::Check { .. }));
                let there = page.hover(frames, selector, &usable).await?;
                if there["checked"] != wanted {
                    page.click(frames, &there).await?;
                    page.ask(frames, "tick", &[]).await?;
                    if page.ask(frames, "checked", from_ref(selector)).await? != wanted {
                        return Err("a click does not change it".to_owned());
                    }
                }
            }
            BrowserAction::Fill { value, .. } => {
                let wants = json!({ "enabled": true, "editable": true, "value": value });
                if page.ask(frames, "focus", &[selector.clone(), wants]).await? == true {
                    page.type_text(value).await?;
                }
            }
            BrowserAction::Select { value, .. } => {
                page.ask(frames, "choose", &[selector.clone(), value.as_str().into()]).await?;
            }
            BrowserAction::Upload { files, .. } => {
                page.ask(frames, "upload", &[selector.clone(), upload::told(files)?]).await?;
            }
            BrowserAction::Press { keys, selector: of } => {
                if of.is_some() {
                    page.ask(frames, "focus", &[selector.clone(), json!({ "enabled": true })]).await?;
                }
                for key in keys {
                    page.press(key).await?;
                }
            }
            BrowserAction::Wait(goal) => {
                let wants = json!({
                    "selector": selector, "hidden": goal.hidden, "count": goal.count, "text": goal.text,
                    "text_absent": goal.text_absent, "url": goal.url,
                });
                page.ask(frames, "wait", &[wants]).await?;
                return Ok(());
            }
            BrowserAction::Assert { .. } | BrowserAction::Screenshot {} => return Ok(()),
        }
        page.settle(clock.sleep(QUIET)).await
    }

    /// Why the action is late. The page is asked until `over`.
    async fn excuse(&self, page: &Page, over: Sleep) -> String {
        let limit = WrittenDuration(self.limit);
        tokio::select! {
            biased;
            why = self.reason(page) => why,
            () = over => format!("the page did not answer within {limit}"),
        }
    }

    async fn reason(&self, page: &Page) -> String {
        let limit = WrittenDuration(self.limit);
        if page.heard().is_moving() || matches!(self.deed, BrowserAction::Navigate { .. }) {
            return format!("the page had not finished loading after {limit}");
        }
        for at in 0..self.frames.len() {
            // The document around a frame knows what is wrong with it.
            let reason = page.ask(&self.frames[..at], "reason", &[]).await.ok();
            if let Some(reason) = reason.as_ref().and_then(Value::as_str).filter(|reason| !reason.is_empty())
            {
                return format!("waited {limit} for a frame: {}", self.without_home(reason));
            }
        }
        let reason = page.ask(&self.frames, "reason", &[]).await.ok();
        match (reason.as_ref().and_then(Value::as_str), self.deed.selector()) {
            (None, _) => format!("the page did not answer within {limit}"),
            (Some(""), _) => format!("the page was still changing after {limit}"),
            (Some(reason), Some(selector)) => {
                format!("waited {limit} for `{selector}`: {}", self.without_home(reason))
            }
            (Some(reason), None) => format!("waited {limit}: {}", self.without_home(reason)),
        }
    }

    /// The answer: the current state of the page.
    async fn look(&mut self, page: &Page, late: &mut Sleep) -> StepOutcome {
        let whole = !matches!(self.deed, BrowserAction::Assert { .. });
        self.changes = page.heard().changes;
        let seen = tokio::select! {
            biased;
            seen = page.see(&self.frames, &self.selector, whole) => seen,
            () = late => Err(format!("the page did not answer within {}", WrittenDuration(self.limit))),
        };
        match seen {
            Ok(sight) => {
                self.mark = sight.mark;
                let told = self.told(sight, page);
                StepOutcome { answer: Some(StepAnswer::Told(Box::new(told))), error: None }
            }
            Err(reason) => StepOutcome::error(reason),
        }
    }

    fn told(&self, sight: PageState, page: &Page) -> StructuredResponse {
        let heard = page.heard();
        let url = match &heard.unreachable {
            Some(url) if sight.url.starts_with("chrome-error:") => url.clone(),
            _ => sight.url.clone(),
        };
        let console = self.without_home(&heard.console.text());
        let tree = self.without_home(&sight.tree);
        let mut text = String::new();
        let place = self.without_home(&url);
        let _ =
            writeln!(text, "URL: {}\nTitle: {}", if place.is_empty() { "/" } else { &place }, sight.title);
        if let Some(selector) = self.deed.selector() {
            let count = sight.count.unwrap_or_default();
            let seen = if sight.visible == Some(true) { "visible" } else { "not visible" };
            let _ = writeln!(text, "{selector}: {count} found, {seen}");
        }
        for (what, lines) in [
            ("Console", &heard.console),
            ("Dialogs", &heard.dialogs),
            ("Refused downloads", &heard.downloads),
        ] {
            if !lines.is_empty() {
                let _ = writeln!(text, "{what}:\n{}", self.without_home(&lines.text()));
            }
        }
        let shown = if matches!(self.deed, BrowserAction::Assert { .. }) { "Element" } else { "Page" };
        let _ = write!(text, "{shown}:\n{}", Excerpt::of_text(&tree, JUDGED_TREE).text);
        let main = KeptContent::of(sight.text.as_deref().unwrap_or_default().as_bytes(), KEPT);
        let mut parts: IndexMap<&'static str, Value> = IndexMap::new();
        parts.insert("url", url.into());
        parts.insert("title", sight.title.into());
        parts.insert("text", json!(sight.text));
        parts.insert("html", json!(sight.html));
        parts.insert("value", json!(sight.value));
        parts.insert("visible", json!(sight.visible));
        parts.insert("count", json!(sight.count));
        parts.insert("tree", tree.into());
        parts.insert("console", console.into());
        parts.insert("dialogs", heard.dialogs.text().into());
        if !sight.cut.is_empty() {
            parts.insert("cut", json!(sight.cut));
        }
        StructuredResponse { text, main: ("text", main), parts, evidence: Vec::new() }
    }

    /// Removes the address of the target, which differs from run to run.
    fn without_home(&self, text: &str) -> String {
        text.replace(&self.home, "")
    }
}

/// Resolves with the first of two.
fn sooner(one: Sleep, other: Sleep) -> Sleep {
    Box::pin(async {
        tokio::select! { () = one => {}, () = other => {} }
    })
}

/// The address of a page of the target, which may have a fragment.
fn address(target: &TargetUrl, written: &str) -> Result<String, String> {
    let (path, part) = written.split_once('#').map_or((written, None), |(path, part)| (path, Some(part)));
    let mut url = target.join(path)?;
    url.set_fragment(part);
    Ok(url.to_string())
}

/// Decodes base64.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text.bytes().take_while(|byte| *byte != b'=') {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xFF).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        assert_eq!(decoded("aGVsbG8="), Some(b"hello".to_vec()));
        assert_eq!(decoded("/+8A"), Some(vec![0xFF, 0xEF, 0]));
        assert_eq!(decoded("a b"), None);
    }

    #[test]
    fn addresses_stay_at_the_target_and_keep_their_part() {
        let target = TargetUrl::parse("http://h:1/app").unwrap();
        assert_eq!(address(&target, "/x?y=1#/route").unwrap(), "http://h:1/app/x?y=1#/route");
        assert_eq!(address(&target, "http://h:1/next").unwrap(), "http://h:1/next");
        assert!(address(&target, "http://other/").is_err());
    }
}
