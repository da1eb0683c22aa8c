//! The step type `browser`: a real Chromium, with one context per scenario. There are no fixed waits:
//! actions wait for their element and for their effects, and assertions are checked again when the page
//! changes.

mod actor;
mod chord;
mod heard;
mod hosts;
mod page;
mod pick;
mod read;
mod step_type;
mod upload;

pub use hosts::{Hosts, read as read_hosts};
pub use step_type::TYPE;
pub use upload::Upload;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::values::{Variables, WrittenDuration};

/// Action in a browser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Browser {
    /// Action.
    pub action: BrowserAction,
    /// Time limit of the action, of the requests that it causes, and of its assertions.
    pub timeout: WrittenDuration,
    /// Time limit for the assertions after the action.
    pub within: WrittenDuration,
    /// Nested frames that the action acts in; empty for the page itself.
    #[serde(default)]
    pub frame: Vec<String>,
    /// Name of the acting user, who has separate pages, cookies and storage. Empty by default.
    #[serde(default)]
    pub actor: String,
}

/// Action in a page. Texts may hold variables; selectors are CSS, `role=button[name="Save"]` or `text=Save`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BrowserAction {
    /// Navigates to a page of the target.
    Navigate {
        /// Path and query, joined to the target.
        url: String,
    },
    /// Clicks an element.
    Click {
        /// Selector of the element.
        selector: String,
    },
    /// Replaces the content of a field.
    Fill {
        /// Selector of the element.
        selector: String,
        /// New content, which may be empty.
        value: String,
    },
    /// Reads elements for assertions.
    Assert {
        /// Selector of the element.
        selector: String,
    },
    /// Presses keys, one chord after the other.
    Press {
        /// Chords such as `Control+A` or `Enter`.
        keys: Vec<String>,
        /// Element that receives the keys; null for the focused one.
        #[serde(default)]
        selector: Option<String>,
    },
    /// Selects an option.
    Select {
        /// Selector of the list.
        selector: String,
        /// Value or label of the option.
        value: String,
    },
    /// Selects files in a file field.
    Upload {
        /// Selector of the element.
        selector: String,
        /// The files.
        files: Vec<Upload>,
    },
    /// Moves the pointer over an element.
    Hover {
        /// Selector of the element.
        selector: String,
    },
    /// Checks a box.
    Check {
        /// Selector of the element.
        selector: String,
    },
    /// Unchecks a box.
    Uncheck {
        /// Selector of the element.
        selector: String,
    },
    /// Waits until all conditions hold.
    Wait(WaitGoal),
    /// Takes a screenshot.
    Screenshot {},
}

/// Conditions to wait for, which must hold at the same time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitGoal {
    /// Selector of an element that must be visible, or hidden if `hidden` is true.
    #[serde(default)]
    pub selector: Option<String>,
    /// True if the element must be hidden or absent.
    #[serde(default)]
    pub hidden: bool,
    /// Number of matching elements.
    #[serde(default)]
    pub count: Option<u64>,
    /// Text that the page or the element must contain.
    #[serde(default)]
    pub text: Option<String>,
    /// Text that it must not contain.
    #[serde(default)]
    pub text_absent: Option<String>,
    /// Part of the page address.
    #[serde(default)]
    pub url: Option<String>,
}

impl BrowserAction {
    /// The goal with variables filled in.
    fn filled(&self, variables: &Variables) -> Self {
        let fill = |text: &String| variables.fill(text).into_owned();
        match self {
            Self::Navigate { url } => Self::Navigate { url: fill(url) },
            Self::Click { selector } => Self::Click { selector: fill(selector) },
            Self::Fill { selector, value } => Self::Fill { selector: fill(selector), value: fill(value) },
            Self::Assert { selector } => Self::Assert { selector: fill(selector) },
            Self::Press { keys, selector } => {
                Self::Press { keys: keys.iter().map(fill).collect(), selector: selector.as_ref().map(fill) }
            }
            Self::Select { selector, value } => Self::Select { selector: fill(selector), value: fill(value) },
            Self::Upload { selector, files } => Self::Upload {
                selector: fill(selector),
                files: files.iter().map(|file| file.filled(variables)).collect(),
            },
            Self::Hover { selector } => Self::Hover { selector: fill(selector) },
            Self::Check { selector } => Self::Check { selector: fill(selector) },
            Self::Uncheck { selector } => Self::Uncheck { selector: fill(selector) },
            Self::Wait(goal) => Self::Wait(WaitGoal {
                selector: goal.selector.as_ref().map(fill),
                text: goal.text.as_ref().map(fill),
                text_absent: goal.text_absent.as_ref().map(fill),
                url: goal.url.as_ref().map(fill),
                ..goal.clone()
            }),
            Self::Screenshot {} => Self::Screenshot {},
        }
    }

    /// Selector of the element.
    pub fn selector(&self) -> Option<&str> {
        match self {
            Self::Click { selector }
            | Self::Fill { selector, .. }
            | Self::Assert { selector }
            | Self::Select { selector, .. }
            | Self::Upload { selector, .. }
            | Self::Hover { selector }
            | Self::Check { selector }
            | Self::Uncheck { selector } => Some(selector),
            Self::Press { selector, .. } => selector.as_deref(),
            Self::Wait(goal) => goal.selector.as_deref(),
            Self::Navigate { .. } | Self::Screenshot {} => None,
        }
    }
}

impl fmt::Display for BrowserAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Navigate { url } => write!(f, "navigate {url}"),
            Self::Click { selector } => write!(f, "click {selector}"),
            Self::Fill { selector, value } => write!(f, "fill {selector} with {value:?}"),
            Self::Assert { selector } => write!(f, "look at {selector}"),
            Self::Press { keys, selector: None } => write!(f, "press {}", keys.join(" ")),
            Self::Press { keys, selector: Some(selector) } => {
                write!(f, "press {} in {selector}", keys.join(" "))
            }
            Self::Select { selector, value } => write!(f, "select {value:?} in {selector}"),
            Self::Upload { selector, files } => {
                let names: Vec<_> = files.iter().map(|file| file.filename.as_str()).collect();
                write!(f, "upload {} to {selector}", names.join(", "))
            }
            Self::Hover { selector } => write!(f, "hover {selector}"),
            Self::Check { selector } => write!(f, "check {selector}"),
            Self::Uncheck { selector } => write!(f, "uncheck {selector}"),
            Self::Wait(goal) => write!(f, "wait until {goal}"),
            Self::Screenshot {} => f.write_str("take a screenshot"),
        }
    }
}

impl fmt::Display for WaitGoal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(selector) = &self.selector {
            parts.push(match (self.hidden, self.count) {
                (true, _) => format!("{selector} is hidden"),
                (false, Some(count)) => format!("{count} match {selector}"),
                (false, None) => format!("{selector} is visible"),
            });
        }
        parts.extend(self.text.as_ref().map(|text| format!("it has the text {text:?}")));
        parts.extend(self.text_absent.as_ref().map(|text| format!("it has no text {text:?}")));
        parts.extend(self.url.as_ref().map(|url| format!("the page is at {url}")));
        f.write_str(&parts.join(" and "))
    }
}
