//! The step type `browser`: a real Chromium, one context per scenario. Nothing waits for a fixed time: what is acted on
//! is waited for, what an action sets off is waited for, and what is asserted is looked at again when the page changes.

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

use crate::scenario::values::{Lapse, Variables};

/// Something done in a browser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Browser {
    /// What is done.
    pub action: Deed,
    /// How long it may take, together with what it sets off and until its assertions hold.
    pub timeout: Lapse,
    /// How long its assertions are waited for once it is done.
    pub within: Lapse,
    /// The frames that it is done in, one in the other; none for the page itself.
    #[serde(default)]
    pub frame: Vec<String>,
    /// Who does it: each has pages, cookies and storage of its own. Empty for nobody in particular.
    #[serde(default)]
    pub actor: String,
}

/// What is done in a page. Texts may hold variables; selectors are CSS, `role=button[name="Save"]` or `text=Save`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Deed {
    /// Goes to a page of the target.
    Navigate {
        /// Path and query, joined to the target.
        url: String,
    },
    /// Clicks an element.
    Click {
        /// Which.
        selector: String,
    },
    /// Replaces what is in a field.
    Fill {
        /// Which.
        selector: String,
        /// By what; empty text empties it.
        value: String,
    },
    /// Looks at elements; its assertions say what for.
    Assert {
        /// Which.
        selector: String,
    },
    /// Presses keys, one chord after the other.
    Press {
        /// Chords such as `Control+A` or `Enter`.
        keys: Vec<String>,
        /// The element that gets them; null for the one that has the focus.
        #[serde(default)]
        selector: Option<String>,
    },
    /// Selects an option.
    Select {
        /// The list it is in.
        selector: String,
        /// Its value or label.
        value: String,
    },
    /// Gives files to a field.
    Upload {
        /// Which.
        selector: String,
        /// The files.
        files: Vec<Upload>,
    },
    /// Moves the pointer over an element.
    Hover {
        /// Which.
        selector: String,
    },
    /// Checks a box.
    Check {
        /// Which.
        selector: String,
    },
    /// Unchecks a box.
    Uncheck {
        /// Which.
        selector: String,
    },
    /// Waits until all of it is so.
    Wait(Goal),
    /// Takes a picture.
    Screenshot {},
}

/// What is waited for; everything that is given has to be so at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    /// An element that can be seen, or cannot where `hidden` is set.
    #[serde(default)]
    pub selector: Option<String>,
    /// Whether it has to be out of sight or gone.
    #[serde(default)]
    pub hidden: bool,
    /// How many elements match.
    #[serde(default)]
    pub count: Option<u64>,
    /// A text that the page, or the element, has in it.
    #[serde(default)]
    pub text: Option<String>,
    /// A text that it has not in it.
    #[serde(default)]
    pub text_absent: Option<String>,
    /// A part of the page's address.
    #[serde(default)]
    pub url: Option<String>,
}

impl Deed {
    /// With variables filled in.
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
            Self::Wait(goal) => Self::Wait(Goal {
                selector: goal.selector.as_ref().map(fill),
                text: goal.text.as_ref().map(fill),
                text_absent: goal.text_absent.as_ref().map(fill),
                url: goal.url.as_ref().map(fill),
                ..goal.clone()
            }),
            Self::Screenshot {} => Self::Screenshot {},
        }
    }

    /// The element it is about.
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

impl fmt::Display for Deed {
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

impl fmt::Display for Goal {
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
