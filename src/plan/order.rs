use indexmap::IndexMap;
use petgraph::algo::{kosaraju_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};

use super::waits::Wait;
use crate::diag::{Code, Diagnostic};
use crate::model::Name;

type Waits = [IndexMap<usize, Wait>];

/// Places in an order in which every step stands behind what it waits for; complains about circles.
pub(super) fn order(waits: &Waits, names: &[Name], found: &mut Vec<Diagnostic>) -> Option<Vec<usize>> {
    let count = waits.len();
    // Nodes stand in reverse, so that steps that do not wait for each other keep the order of the file.
    let node = |place: usize| NodeIndex::new(count - 1 - place);
    let mut graph = DiGraph::<(), ()>::with_capacity(count, waits.iter().map(IndexMap::len).sum());
    for _ in 0..count {
        graph.add_node(());
    }
    for (place, waits) in waits.iter().enumerate() {
        for dep in waits.keys() {
            graph.add_edge(node(*dep), node(place), ());
        }
    }
    if let Ok(order) = toposort(&graph, None) {
        return Some(order.into_iter().map(|node| count - 1 - node.index()).collect());
    }
    for circle in kosaraju_scc(&graph) {
        let mut places: Vec<usize> = circle.iter().map(|node| count - 1 - node.index()).collect();
        places.sort_unstable();
        if places.len() > 1 || waits[places[0]].contains_key(&places[0]) {
            found.push(complaint(&path(waits, &places), waits, names));
        }
    }
    None
}

/// A shortest way from the first of `places` back to it, along what each step waits for.
fn path(waits: &Waits, places: &[usize]) -> Vec<usize> {
    let start = places[0];
    let mut before: IndexMap<usize, usize> = IndexMap::new();
    let mut at = 0;
    let mut queue = vec![start];
    while let Some(place) = queue.get(at).copied() {
        at += 1;
        for dep in waits[place].keys().copied().filter(|dep| places.binary_search(dep).is_ok()) {
            if dep == start {
                let mut way = vec![place];
                while let Some(previous) = way.last().and_then(|place| before.get(place)) {
                    way.push(*previous);
                }
                way.reverse();
                return way;
            }
            if !before.contains_key(&dep) {
                before.insert(dep, place);
                queue.push(dep);
            }
        }
    }
    places.to_vec()
}

/// Of a long way the first part is shown.
fn complaint(way: &[usize], waits: &Waits, names: &[Name]) -> Diagnostic {
    const SHOWN: usize = 12;
    let name = |place: &usize| names[*place].text.as_str();
    let mut shown: Vec<&str> = way.iter().take(SHOWN).map(name).collect();
    shown.extend((way.len() > SHOWN).then_some("…"));
    let text = shown.into_iter().chain(way.first().map(name)).collect::<Vec<_>>().join(" → ");
    let mut complaint = Diagnostic::new(Code::Cycle, format!("steps wait for each other: {text}"));
    for (i, place) in way.iter().enumerate().take(SHOWN) {
        let next = way[(i + 1) % way.len()];
        if let Some(wait) = waits[*place].get(&next) {
            complaint = complaint.at(wait.first, format!("`{}` waits for `{}`", name(place), name(&next)));
        }
    }
    complaint.help("remove one of these references; to do something again, use `loop`")
}
