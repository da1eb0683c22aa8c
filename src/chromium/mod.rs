//! Chromium: one process for all scenarios whose pages can reach the same hosts. It is started for the
//! first page and controlled over a pipe. This module does not know what is done in a page or what is
//! expected of it. Start with [`Chromium`]. `launch.rs` starts and ends the process, `devtools.rs`
//! implements the DevTools protocol.

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

/// Most idle processes. A surplus process ends with its last page.
const PROCESSES: usize = 3;

/// Where to search for Chromium.
#[derive(Clone, Debug, Default)]
pub struct ChromiumSettings {
    /// The program, if one was set.
    pub program: Option<String>,
    /// Search path.
    pub path: String,
}

/// Chromium, which is started on first use and again after a crash. Cheap to clone; the process ends with
/// the last clone.
#[derive(Clone)]
pub struct Chromium(Arc<ChromiumInner>);

struct ChromiumInner {
    settings: ChromiumSettings,
    /// Processes with their resolver rules; the last used one is at the end.
    running: tokio::sync::Mutex<Vec<(Option<String>, Arc<ChromiumProcess>)>>,
}

/// An open page. Dropping it closes it, and its context with the last page.
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
    /// Creates a handle with `settings`. Nothing is started yet.
    pub fn new(settings: ChromiumSettings) -> Self {
        Self(Arc::new(ChromiumInner { settings, running: tokio::sync::Mutex::default() }))
    }

    /// Starts the process unless one is running. The error says why it is not available.
    pub async fn ready(&self) -> Result<(), Failure> {
        self.running(Some(&[])).await.map(drop)
    }

    /// The process for pages that can reach only `hosts`. A page can look up any name (WebRTC does so
    /// without a proxy) and send data to another machine this way, so a process can resolve only the names
    /// that its pages may reach.
    async fn running(&self, hosts: Option<&[String]>) -> Result<Arc<ChromiumProcess>, Failure> {
        let rules = hosts.map(resolver_rules);
        // Locked while it starts, so that concurrent callers wait for the same process.
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

    /// Opens a page in a new context, which can reach only `hosts` (`HOST`, `*.HOST`, `HOST:PORT`, each
    /// with or without a scheme), or all hosts if there is no list. Events of the page go to `ear`.
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
    /// Id of the page, which is also that of its main frame.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Calls a method. Resolves with the answer or when the browser ends; there is no time limit.
    pub async fn call(&self, method: &str, parameters: Value) -> Result<Value, CallError> {
        self.context.running.wire.call(Some(&self.session), method, parameters).await
    }

    /// A page of the same context that this one has opened.
    pub async fn attach(&self, target: &str, ear: EventHandler) -> Result<Self, CallError> {
        self.context.clone().attach(target.to_owned(), ear).await
    }

    /// Ids of the pages of its context, newest first.
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
    Failure::transient(format!("Chromium could not open a page: {error}"))
}
