//! Browser pages for scenarios: implements the interface of the scenario language with Chromium.

use futures_util::future::BoxFuture;

use crate::chromium::{CallError, Chromium, ChromiumTab};
use crate::scenario::{self, Browsers, EventListener};
use crate::value::Value;

/// Opens pages in Chromium.
pub struct ChromiumPages(pub Chromium);

/// An open page.
struct ChromiumPage(ChromiumTab);

fn call_error(error: &CallError) -> String {
    error.to_string()
}

impl Browsers for ChromiumPages {
    fn open(
        &self,
        hosts: Option<Vec<String>>,
        ear: EventListener,
    ) -> BoxFuture<'_, Result<Box<dyn scenario::BrowserTab>, String>> {
        Box::pin(async move {
            let tab = self.0.open(hosts.as_deref(), ear).await.map_err(|failure| failure.message)?;
            Ok(Box::new(ChromiumPage(tab)) as Box<dyn scenario::BrowserTab>)
        })
    }
}

impl scenario::BrowserTab for ChromiumPage {
    fn id(&self) -> &str {
        self.0.target()
    }

    fn call<'a>(&'a self, method: &'a str, parameters: Value) -> BoxFuture<'a, Result<Value, String>> {
        Box::pin(async move { self.0.call(method, parameters).await.map_err(|e| call_error(&e)) })
    }

    fn pages(&self) -> BoxFuture<'_, Result<Vec<String>, String>> {
        Box::pin(async move { self.0.pages().await.map_err(|e| call_error(&e)) })
    }

    fn attach<'a>(
        &'a self,
        id: &'a str,
        ear: EventListener,
    ) -> BoxFuture<'a, Result<Box<dyn scenario::BrowserTab>, String>> {
        Box::pin(async move {
            let tab = self.0.attach(id, ear).await.map_err(|e| call_error(&e))?;
            Ok(Box::new(ChromiumPage(tab)) as Box<dyn scenario::BrowserTab>)
        })
    }
}
