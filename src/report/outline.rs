//! A plan before it is run: its steps in order, their dependencies and references, the files of their texts,
//! and the texts themselves if they can be rendered from the inputs alone.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use super::Paint;
use super::units::{harmless, name, one_line};
use crate::diag::SourceMap;
use crate::expr::{Allowance, Data, Expr, Ref, Scope, Step as PathStep, Template, Tree};
use crate::plan::{Action, Body, BodyId, FromDefaults, Plan, Step};
use crate::value::Value;

/// One step of a plan.
#[derive(Debug, Serialize)]
pub struct Outline {
    /// Path, e.g. `converge/generate`.
    pub step: String,
    /// Verb or control verb.
    pub verb: String,
    /// Steps of the same body that it waits for. The steps are in a possible order of execution.
    pub after: Vec<String>,
    /// Condition under which it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Input of a control verb.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<(String, String)>,
    /// Values from `[defaults]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub defaults: Vec<FromTable>,
    /// Verb of the step in the extended file, if it was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// Labels that it forbids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forbids: Vec<String>,
    /// Templates of its input.
    pub texts: Vec<TextOutline>,
}

/// A value that a step has from `[defaults]`.
#[derive(Debug, Serialize)]
pub struct FromTable {
    /// Dotted key in the step.
    pub key: String,
    /// Table with the value, e.g. `defaults.llm`.
    pub table: String,
    /// File with the table.
    pub file: String,
    /// Line of the file.
    pub line: usize,
}

/// One template of a step's input.
#[derive(Debug, Serialize)]
pub struct TextOutline {
    /// Key in the verb's table, e.g. `prompt`.
    pub key: String,
    /// File of the text; `None` if it is written in the pipeline.
    pub file: Option<String>,
    /// References other than inputs.
    pub reads: Vec<String>,
    /// Rendered text, if it refers to inputs only and these are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
}

/// The work limit for rendering all texts together; the rest is not shown rendered.
const WORK: u64 = 5_000_000;

/// The steps of `plan` in a possible order of execution, with those inside a control step after it. `inputs`
/// are the checked inputs, if given.
pub fn outline(plan: &Plan, sources: &SourceMap, inputs: Option<Value>) -> Vec<Outline> {
    let scope = Scope::new().within(Arc::new(Allowance::new(WORK)));
    let scope = inputs.map(|inputs| scope.with("inputs", Data::from_arc(Arc::new(inputs))));
    let mut drawing = Drawing { plan, sources, scope, lines: Vec::new() };
    drawing.body(BodyId::ROOT, "");
    drawing.lines
}

/// The outline for people.
pub fn text(lines: &[Outline], paint: Paint) -> String {
    let mut text = String::new();
    for line in lines {
        let depth = line.step.matches('/').count() * 2;
        let step = name(line.step.rsplit('/').next().unwrap_or_default());
        let after = if line.after.is_empty() {
            String::new()
        } else {
            one_line(&format!("  after {}", line.after.join(", ")), 200)
        };
        let _ =
            writeln!(text, "{:depth$}{}  {}{}", "", paint.strong(step), name(&line.verb), paint.faint(after));
        let pad = depth + 4;
        for (key, value) in line
            .when
            .iter()
            .map(|when| ("when", when))
            .chain(line.control.iter().map(|(k, v)| (k.as_str(), v)))
        {
            let _ = writeln!(text, "{:pad$}{}  {}", "", name(key), paint.faint(one_line(value, 120)));
        }
        for part in &line.defaults {
            let FromTable { key, table, file, line } = part;
            let from = format!("from {table} ({file}:{line})");
            let _ = writeln!(text, "{:pad$}{}  {}", "", name(key), paint.faint(one_line(&from, 200)));
        }
        if let Some(old) = &line.replaces {
            let forbids = if line.forbids.is_empty() {
                String::new()
            } else {
                format!("; it still forbids {}", line.forbids.join(", "))
            };
            let note = one_line(&format!("replaces `{old}`{forbids}"), 200);
            let _ = writeln!(text, "{:pad$}{}", "", paint.strong(note));
        }
        for part in &line.texts {
            let from = part.file.as_ref().map(|file| format!("  from {}", name(file))).unwrap_or_default();
            let reads = if part.reads.is_empty() {
                String::new()
            } else {
                one_line(&format!("  reads {}", part.reads.join(", ")), 400)
            };
            let _ = writeln!(text, "{:pad$}{}{from}{}", "", name(&part.key), paint.faint(reads));
            for line in part.rendered.iter().flat_map(|rendered| rendered.lines()) {
                let _ = writeln!(text, "{:pad$}│ {}", "", harmless(line));
            }
        }
    }
    text
}

struct Drawing<'a> {
    plan: &'a Plan,
    sources: &'a SourceMap,
    scope: Option<Scope>,
    lines: Vec<Outline>,
}

impl Drawing<'_> {
    fn body(&mut self, id: BodyId, prefix: &str) {
        let body = &self.plan.bodies[id.0];
        for place in &body.order {
            self.step(body, &body.steps[*place], prefix);
        }
    }

    fn step(&mut self, body: &Body, step: &Step, prefix: &str) {
        let mut line = Outline {
            step: format!("{prefix}{}", step.id),
            verb: verb(&step.action),
            after: step.deps.iter().map(|dep| body.steps[dep.step].id.to_string()).collect(),
            when: step.when.as_ref().map(|when| when.text().to_owned()),
            control: control(&step.action),
            defaults: step.origin.defaults.iter().map(|given| self.default(given)).collect(),
            replaces: step.origin.replaced.clone(),
            forbids: step.forbid.clone(),
            texts: Vec::new(),
        };
        match &step.action {
            Action::Verb { with, .. } => self.tree(with, "", &mut line.texts),
            Action::Hold(hold) => self.tree(&hold.with, "", &mut line.texts),
            Action::Ask(ask) => line.texts.push(self.template(&ask.question, "question")),
            Action::Compute(_) | Action::Loop(_) | Action::Each(_) | Action::Call(_) => {}
        }
        let inside = format!("{}/", line.step);
        self.lines.push(line);
        match &step.action {
            Action::Loop(looped) => self.body(looped.body, &inside),
            Action::Each(each) => self.body(each.body, &inside),
            Action::Hold(hold) => self.body(hold.body, &inside),
            Action::Verb { .. } | Action::Compute(_) | Action::Call(_) | Action::Ask(_) => {}
        }
    }

    fn default(&self, given: &FromDefaults) -> FromTable {
        let FromDefaults { key, table, span } = given.clone();
        let file = self.sources.get(span.source).name.clone();
        FromTable { key, table, file, line: self.sources.position(span.source, span.start).line }
    }

    fn tree(&self, tree: &Tree, key: &str, texts: &mut Vec<TextOutline>) {
        let inner = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        match tree {
            Tree::Template(template) => texts.push(self.template(template, key)),
            Tree::List(items) => {
                for (n, item) in items.iter().enumerate() {
                    self.tree(item, &inner(&n.to_string()), texts);
                }
            }
            Tree::Table(entries) => {
                for (name, tree) in entries {
                    self.tree(tree, &inner(name), texts);
                }
            }
            Tree::Literal(Value::String(text)) => {
                if let Some(file) = self.file(text) {
                    let rendered = Some(text.clone());
                    texts.push(TextOutline {
                        key: key.to_owned(),
                        file: Some(file),
                        reads: Vec::new(),
                        rendered,
                    });
                }
            }
            Tree::Literal(_) => {}
        }
    }

    fn template(&self, template: &Template, key: &str) -> TextOutline {
        let mut reads: Vec<String> = template.refs().iter().map(spelled).collect();
        reads.retain(|read| read != "inputs" && !read.starts_with("inputs."));
        reads.sort();
        reads.dedup();
        let scope = self.scope.as_ref().filter(|_| reads.is_empty());
        let rendered = scope.and_then(|scope| template.render_text(scope).ok());
        TextOutline { key: key.to_owned(), file: self.file(template.text()), reads, rendered }
    }

    /// The file of this text.
    fn file(&self, text: &str) -> Option<String> {
        self.sources.iter().find(|(_, source)| &*source.text == text).map(|(_, source)| source.name.clone())
    }
}

fn spelled(read: &Ref) -> String {
    let mut text = String::new();
    for (place, step) in read.path.iter().enumerate() {
        // The name of a root alone is followed by a generated step.
        let written = read.key_ranges.get(place).is_some_and(|range| !range.is_empty());
        match step {
            PathStep::Key(name) if text.is_empty() => text.push_str(name),
            PathStep::Key(name) => drop(write!(text, ".{name}")),
            PathStep::Index(n) => drop(write!(text, "[{n}]")),
            PathStep::Dynamic if written => text.push_str("[…]"),
            PathStep::Dynamic => {}
        }
    }
    text
}

fn verb(action: &Action) -> String {
    match action {
        Action::Verb { name, .. } => name.clone(),
        Action::Compute(_) => "compute".to_owned(),
        Action::Loop(_) => "loop".to_owned(),
        Action::Each(_) => "each".to_owned(),
        Action::Hold(hold) => format!("hold {}", hold.resource),
        Action::Call(call) => format!("call {}", call.plan.name),
        Action::Ask(_) => "ask".to_owned(),
    }
}

fn control(action: &Action) -> Vec<(String, String)> {
    let entry = |key: &str, expr: &Expr| (key.to_owned(), expr.text().to_owned());
    match action {
        Action::Loop(looped) => {
            let mut control: Vec<_> = looped.max.iter().map(|max| entry("max", max)).collect();
            control.extend(looped.over.iter().map(|over| entry("over", over)));
            control.extend(looped.rules.iter().map(|rule| entry(&format!("rule {}", rule.name), &rule.when)));
            control
                .extend(looped.exits.iter().map(|exit| entry(&format!("exit {}", exit.status), &exit.when)));
            control
        }
        Action::Each(each) => {
            let mut control = vec![entry("over", &each.over)];
            control.extend(each.parallel.iter().map(|parallel| entry("parallel", parallel)));
            control
        }
        Action::Call(call) => {
            let given = call.with.iter().filter(|(name, _)| !call.inherited.contains(name));
            let mut control: Vec<_> =
                given.map(|(name, expr)| entry(&format!("with {name}"), expr)).collect();
            if !call.inherited.is_empty() {
                control.push(("inherits".to_owned(), call.inherited.join(", ")));
            }
            control
        }
        Action::Verb { .. } | Action::Compute(_) | Action::Hold(_) | Action::Ask(_) => Vec::new(),
    }
}
