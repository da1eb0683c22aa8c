//! The door to Chromium: one process for all scenarios whose pages may reach the same names, started when the first page is
//! asked for, driven over a pipe.
//! It must never know what is done in a page or what is expected of it.
//! Start with [`Chromium`]; `launch.rs` starts and ends the process, `wire.rs` speaks the DevTools protocol.

mod devtools;
mod hosts;
mod launch;

pub use devtools::{CallError, EventHandler};

use std::sync::Arc;

use serde_json::json;

use crate::value::Value;
use crate::verb::Failure;
use hosts::{only, resolver_rules};
use launch::ChromiumProcess;

/// Most processes that wait for the next page. One that is too much ends with its last page.
const PROCESSES: usize = 3;

/// Where Chromium is looked for.
#[derive(Clone, Debug, Default)]
pub struct ChromiumSettings {
    /// The program, where somebody named one.
    pub program: Option<String>,
    /// The search path.
    pub path: String,
}

/// Chromium, started when it is needed and again after a crash. Cheap to clone; the process ends with the last clone.
#[derive(Clone)]
pub struct Chromium(Arc<ChromiumInner>);

struct ChromiumInner {
    settings: ChromiumSettings,
    /// By what they may ask for, that which was used last at the end.
    running: tokio::sync::Mutex<Vec<(Option<String>, Arc<ChromiumProcess>)>>,
}

/// A page that is driven. Dropped, it is closed, and its context with the last page in it.
pub struct ChromiumTab {
    context: Arc<BrowserContext>,
    target: String,
    session: String,
}

/// Cookies, storage and pages that share nothing with any other context.
struct BrowserContext {
    running: Arc<ChromiumProcess>,
    id: String,
}

impl Chromium {
    /// Looks for the program where `settings` says; nothing is started yet.
    pub fn new(settings: ChromiumSettings) -> Self {
        Self(Arc::new(ChromiumInner { settings, running: tokio::sync::Mutex::default() }))
    }

    /// Starts the process where none is running, or says why it cannot be had.
    pub async fn ready(&self) -> Result<(), Failure> {
        self.running(Some(&[])).await.map(drop)
    }

    /// The process for pages that reach only `hosts`. A page can ask for the address of any name (WebRTC does so without a
    /// proxy), and so tell another machine what it has seen: a process knows only the names that its pages may reach.
    async fn running(&self, hosts: Option<&[String]>) -> Result<Arc<ChromiumProcess>, Failure> {
        let rules = hosts.map(resolver_rules);
        // Held while it starts: whoever comes second waits for the same process.
        let mut all = self.0.running.lock().await;
        all.retain(|(_, running)| !running.wire.is_gone());
        let known = all.iter().position(|(own, _)| *own == rules);
        let (rules, running) = if let Some(index) = known {
            all.remove(index)
        } else {
            let running = launch::launch(&self.0.settings, rules.as_deref()).await?;
            (rules, Arc::new(running))
        };
        all.push((rules, running.clone()));
        if all.len() > PROCESSES {
            all.remove(0);
        }
        Ok(running)
    }

    /// Opens a page in a context of its own, which reaches no host but those in `hosts` (`HOST`, `*.HOST`, `HOST:PORT`, each
    /// with or without a scheme), or any where there is no list.
    /// What happens in it goes to `ear`.
    pub async fn open(&self, hosts: Option<&[String]>, ear: EventHandler) -> Result<ChromiumTab, Failure> {
        let running = self.running(hosts).await?;
        let context = hosts.map_or_else(|| json!({}), only);
        let made =
            running.wire.call(None, "Target.createBrowserContext", context).await.map_err(|e| lost(&e))?;
        let context = Arc::new(BrowserContext { running, id: text(&made, "browserContextId") });
        let page =
            json!({ "url": "about:blank", "browserContextId": context.id, "width": 1280, "height": 720 });
        let page =
            context.running.wire.call(None, "Target.createTarget", page).await.map_err(|e| lost(&e))?;
        let refuse = json!({ "behavior": "deny", "browserContextId": context.id });
        context.running.wire.tell(None, "Browser.setDownloadBehavior", &refuse);
        context.attach(text(&page, "targetId"), ear).await.map_err(|e| lost(&e))
    }
}

impl BrowserContext {
    async fn attach(self: Arc<Self>, target: String, ear: EventHandler) -> Result<ChromiumTab, CallError> {
        let wire = &self.running.wire;
        let whom = json!({ "targetId": target, "flatten": true });
        let made = wire.call(None, "Target.attachToTarget", whom).await?;
        let session = text(&made, "sessionId");
        wire.listen(&session, ear);
        Ok(ChromiumTab { context: self, target, session })
    }
}

impl ChromiumTab {
    /// The id of the page, which is also that of its main frame.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Calls a method. Resolves with its answer or when the browser is gone; nothing else bounds it.
    pub async fn call(&self, method: &str, parameters: Value) -> Result<Value, CallError> {
        self.context.running.wire.call(Some(&self.session), method, parameters).await
    }

    /// A page of the same context that this one has opened.
    pub async fn attach(&self, target: &str, ear: EventHandler) -> Result<Self, CallError> {
        self.context.clone().attach(target.to_owned(), ear).await
    }

    /// The pages of its context by id, the newest first.
    pub async fn pages(&self) -> Result<Vec<String>, CallError> {
        let all = self.context.running.wire.call(None, "Target.getTargets", json!({})).await?;
        let own = |target: &&Value| {
            target["type"] == "page" && target["browserContextId"] == self.context.id.as_str()
        };
        let all = all["targetInfos"].as_array().into_iter().flatten();
        Ok(all.filter(own).map(|target| text(target, "targetId")).collect())
    }
}

impl Drop for ChromiumTab {
    fn drop(&mut self) {
        self.context.running.wire.forget(&self.session);
    }
}

impl Drop for BrowserContext {
    fn drop(&mut self) {
        let whom = json!({ "browserContextId": self.id });
        self.running.wire.tell(None, "Target.disposeBrowserContext", &whom);
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn lost(error: &CallError) -> Failure {
    Failure::transient(format!("Chromium opens no page: {error}"))
}
