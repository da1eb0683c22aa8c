//! The order in which the names of `let` are evaluated: each behind those that it reads.

use std::collections::HashMap;

use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use super::resolve::Resolver;
use crate::diag::{Code, Diagnostic, listed};
use crate::expr::{Expr, Step};
use crate::model::{Name, Text};

impl Resolver<'_, '_> {
    /// `lets` in that order; complains about circles, with `help`.
    pub(super) fn by_dependency(
        &mut self,
        lets: Vec<(String, Expr)>,
        written: &[(Name, Text)],
        help: &str,
    ) -> Option<Vec<(String, Expr)>> {
        let graph = reads(&lets);
        if let Ok(order) = toposort(&graph, None) {
            let mut lets: Vec<_> = lets.into_iter().map(Some).collect();
            return Some(order.into_iter().filter_map(|node| lets[node.index()].take()).collect());
        }
        for circle in kosaraju_scc(&graph) {
            if circle.len() == 1 && !graph.contains_edge(circle[0], circle[0]) {
                continue;
            }
            let mut places: Vec<usize> = circle.iter().map(|node| node.index()).collect();
            places.sort_unstable();
            let names: Vec<&str> = places.iter().map(|place| lets[*place].0.as_str()).collect();
            let message = if let [name] = names.as_slice() {
                format!("`{name}` depends on itself")
            } else {
                format!("{} depend on each other", listed(names.iter().copied()))
            };
            let mut complaint = Diagnostic::new(Code::LetCycle, message);
            for (name, _) in written.iter().filter(|(name, _)| names.contains(&name.text.as_str())).take(20) {
                complaint = complaint.at(name.span, "");
            }
            self.loader.found.push(complaint.help(help));
        }
        None
    }
}

/// By place in `lets`: which it is read by.
fn reads(lets: &[(String, Expr)]) -> DiGraph<(), ()> {
    let places: HashMap<&str, usize> =
        lets.iter().enumerate().map(|(place, (name, _))| (name.as_str(), place)).collect();
    let mut graph = DiGraph::new();
    for _ in lets {
        graph.add_node(());
    }
    for (place, (_, expr)) in lets.iter().enumerate() {
        for r in expr.refs() {
            if let [Step::Key(root), Step::Key(name), ..] = r.path.as_slice()
                && root == "let"
                && let Some(read) = places.get(name.as_str())
            {
                graph.update_edge(NodeIndex::new(*read), NodeIndex::new(place), ());
            }
        }
    }
    graph
}
