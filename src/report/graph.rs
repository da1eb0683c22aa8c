//! The graph of a plan: steps, their dependencies, and bodies inside their control steps.

use std::fmt::Write;

use serde_json::json;

use crate::plan::{Action, Body, BodyId, Plan, Step};
use crate::value::Value;

/// A Mermaid flowchart.
pub fn mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart TD\n");
    mermaid_body(plan, BodyId::ROOT, "", 1, &mut text);
    text
}

/// Graphviz.
pub fn dot(plan: &Plan) -> String {
    let mut text = format!("digraph \"{}\" {{\n  compound=true;\n  node [shape=box];\n", quoted(&plan.name));
    dot_body(plan, BodyId::ROOT, "", 1, &mut text);
    text.push_str("}\n");
    text
}

/// `{version, pipeline, steps: [{id, verb, needs, steps}]}`, steps in the order in which they may run.
pub fn json(plan: &Plan) -> Value {
    json!({"version": 1, "pipeline": plan.name, "steps": steps(plan, BodyId::ROOT)})
}

/// The name of the verb of a step.
fn verb(step: &Step) -> &str {
    match &step.action {
        Action::Verb { name, .. } => name,
        Action::Compute(_) => "compute",
        Action::Loop(_) => "loop",
        Action::Each(_) => "each",
        Action::Hold(_) => "hold",
        Action::Call(_) => "call",
        Action::Ask(_) => "ask",
    }
}

fn inside(step: &Step) -> Option<BodyId> {
    match &step.action {
        Action::Loop(inner) => Some(inner.body),
        Action::Each(inner) => Some(inner.body),
        Action::Hold(inner) => Some(inner.body),
        Action::Verb { .. } | Action::Compute(_) | Action::Call(_) | Action::Ask(_) => None,
    }
}

fn body(plan: &Plan, id: BodyId) -> &Body {
    &plan.bodies[id.0]
}

fn name(path: &str, step: &Step) -> String {
    let plain = step.id.as_str().replace('-', "_");
    // `end` is a keyword of Mermaid: every name gets a prefix.
    if path.is_empty() { format!("s_{plain}") } else { format!("{path}__{plain}") }
}

fn mermaid_body(plan: &Plan, id: BodyId, path: &str, depth: usize, text: &mut String) {
    let pad = "  ".repeat(depth);
    let body = body(plan, id);
    for step in &body.steps {
        let (node, label) = (name(path, step), format!("{} · {}", step.id, verb(step)));
        if let Some(inner) = inside(step) {
            let _ = writeln!(text, "{pad}subgraph {node}[\"{label}\"]");
            mermaid_body(plan, inner, &node, depth + 1, text);
            let _ = writeln!(text, "{pad}end");
        } else {
            let _ = writeln!(text, "{pad}{node}[\"{label}\"]");
        }
    }
    for step in &body.steps {
        for dep in &step.deps {
            let arrow = if dep.accepts.skip() { "-.->" } else { "-->" };
            let _ = writeln!(text, "{pad}{} {arrow} {}", name(path, &body.steps[dep.step]), name(path, step));
        }
    }
}

fn dot_body(plan: &Plan, id: BodyId, path: &str, depth: usize, text: &mut String) {
    let pad = "  ".repeat(depth);
    let body = body(plan, id);
    for step in &body.steps {
        let (node, label) = (name(path, step), quoted(&format!("{} · {}", step.id, verb(step))));
        if let Some(inner) = inside(step) {
            let _ = writeln!(text, "{pad}subgraph cluster_{node} {{\n{pad}  label=\"{label}\";");
            let _ = writeln!(text, "{pad}  {node} [shape=point, style=invis];");
            dot_body(plan, inner, &node, depth + 1, text);
            let _ = writeln!(text, "{pad}}}");
        } else {
            let _ = writeln!(text, "{pad}{node} [label=\"{label}\"];");
        }
    }
    for step in &body.steps {
        for dep in &step.deps {
            let from = &body.steps[dep.step];
            let mut marks = Vec::new();
            if dep.accepts.skip() {
                marks.push("style=dashed".to_owned());
            }
            if inside(from).is_some() {
                marks.push(format!("ltail=cluster_{}", name(path, from)));
            }
            if inside(step).is_some() {
                marks.push(format!("lhead=cluster_{}", name(path, step)));
            }
            let marks = if marks.is_empty() { String::new() } else { format!(" [{}]", marks.join(", ")) };
            let _ = writeln!(text, "{pad}{} -> {}{marks};", name(path, from), name(path, step));
        }
    }
}

fn steps(plan: &Plan, id: BodyId) -> Vec<Value> {
    let body = body(plan, id);
    body.order
        .iter()
        .map(|place| {
            let step = &body.steps[*place];
            let needs: Vec<&str> = step.deps.iter().map(|dep| body.steps[dep.step].id.as_str()).collect();
            let mut value = json!({"id": step.id, "verb": verb(step), "needs": needs});
            if let Some(inner) = inside(step) {
                value["steps"] = Value::Array(steps(plan, inner));
            }
            value
        })
        .collect()
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
