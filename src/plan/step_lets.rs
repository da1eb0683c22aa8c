//! `let` of a step and of a `compute`: names for expressions, in scope in the step and in the steps inside it.

use std::sync::Arc;

use indexmap::IndexMap;

use super::compile::{Wanted, sees};
use super::resolve::Resolver;
use super::scope::{Around, Sight, Site};
use super::types::StepLets;
use crate::diag::{Code, Diagnostic, Span};
use crate::expr::{Expr, Lets, NoField, Ref, Shape, Step};
use crate::model::{self, Name, Text};

/// The entries of one `let` that is in scope, by name.
pub(super) type LetNames = IndexMap<String, LetName>;

/// What is known of one entry.
pub(super) struct LetName {
    shape: Shape,
    /// What its expression reads.
    refs: Vec<Ref>,
    span: Span,
    is_read: bool,
}

impl Resolver<'_, '_> {
    /// Brings the `let` of a step into scope; the caller takes it out again with [`close_lets`](Self::close_lets).
    pub(super) fn step_lets(&mut self, step: &model::Step) -> Option<StepLets> {
        let of_loop = step.uses.iter().find(|used| used.name.text == "loop");
        if let (Some(used), Some((first, _))) = (of_loop, step.lets.first()) {
            self.loader.found.push(
                Diagnostic::new(Code::NoEffect, "a step with `loop` has no `let` of its own")
                    .at(first.span, "")
                    .at(used.name.span, "the loop")
                    .help("put it into `loop.let`, evaluated after each round, or into the `let` of a step inside"),
            );
            self.lets.push(LetNames::new());
            return None;
        }
        let mut sight = Sight::new();
        let entries = self.open_lets(&step.lets, &Site::default(), &mut sight)?;
        for (name, text) in &step.lets {
            let now =
                self.lets.last().and_then(|lets| lets.get(&name.text)?.refs.iter().find(|r| is_varying(r)));
            if let Some(read) = now.cloned() {
                let span = self.key_span(text, &read, 1);
                self.loader.found.push(
                    Diagnostic::new(
                        Code::NotHere,
                        "`run.spent` changes while the step runs, and `let` does not",
                    )
                    .at(span, "")
                    .help("read `run.spent` where the value is used"),
                );
            }
        }
        Some(StepLets { entries, sees: sees(&sight) })
    }

    /// Compiles the entries of a `let` and brings them into scope.
    pub(super) fn open_lets(
        &mut self,
        written: &[(Name, Text)],
        site: &Site<'_>,
        sight: &mut Sight,
    ) -> Option<Arc<Lets>> {
        self.hiding(written);
        let unknown = |span| LetName { shape: Shape::Any, refs: Vec::new(), span, is_read: false };
        self.lets.push(written.iter().map(|(name, _)| (name.text.clone(), unknown(name.span))).collect());
        let mut compiled = Vec::with_capacity(written.len());
        let mut is_sound = true;
        for place in self.by_reading(written) {
            let (name, text) = &written[place];
            let expr = self.expr(text, Wanted::Anything, site, sight);
            let shape = self.made(text);
            if let (Some(expr), Some(known)) =
                (&expr, self.lets.last_mut().and_then(|lets| lets.get_mut(&name.text)))
            {
                (known.shape, known.refs) = (shape, expr.refs().to_vec());
            }
            is_sound &= expr.is_some();
            compiled.extend(expr.map(|expr| (name.text.clone(), expr)));
        }
        let entries = self.by_dependency(compiled, written, "remove one of these references")?;
        is_sound.then(|| Arc::new(Lets::new(entries)))
    }

    /// Takes the innermost `let` out of scope, and warns about entries that nothing reads.
    pub(super) fn close_lets(&mut self) {
        for (name, entry) in self.lets.pop().into_iter().flatten() {
            if !entry.is_read {
                self.unread_lets.push((name, entry.span));
            }
        }
    }

    /// Complains about names that hide those of a `let` around this one.
    pub(super) fn hiding(&mut self, written: &[(Name, Text)]) {
        for (name, _) in written {
            let outer = self.lets.iter().rev().find_map(|lets| lets.get(&name.text));
            if let Some(outer) = outer {
                let complaint = Diagnostic::new(
                    Code::HiddenItem,
                    format!("this `let.{}` hides the one around it", name.text),
                )
                .at(name.span, "the inner one")
                .at(outer.span, "the outer one")
                .help("rename one of them");
                self.loader.found.push(complaint);
            }
        }
    }

    /// Places of entries in an order in which each comes after those that it reads, if there is one: what is known of a
    /// value is then known where it is read.
    fn by_reading(&self, written: &[(Name, Text)]) -> Vec<usize> {
        let places: IndexMap<&str, usize> =
            written.iter().enumerate().map(|(place, (name, _))| (name.text.as_str(), place)).collect();
        let reads: Vec<Vec<usize>> = written
            .iter()
            .map(|(_, text)| {
                let expr = Expr::parse(&text.text, &self.functions).ok();
                let refs = expr.iter().flat_map(Expr::refs);
                refs.filter_map(|r| places.get(let_name(r)?).copied()).collect()
            })
            .collect();
        super::resolve::mentioned_first(&reads)
    }

    /// Checks a reference to `let`, where the entries of a step or a `compute` may be in scope.
    pub(super) fn refer_let(&mut self, text: &Text, r: &Ref, site: &Site<'_>) {
        let has_entries = !site.before && self.lets.iter().any(|lets| !lets.is_empty());
        if !has_entries {
            return self.refer_control(text, r, "let", site);
        }
        let Some(name) = let_name(r).map(str::to_owned) else {
            let span = self.key_span(text, r, 0);
            let complaint = Diagnostic::new(Code::NotHere, "which entries of `let` are read cannot be known")
                .at(span, "");
            return self.loader.found.push(complaint.help("name each entry: `let.NAME`"));
        };
        if site.closing && self.closing_shape().is_some_and(|lets| lets.walk(&r.path[1..2]).is_ok()) {
            return self.refer_control(text, r, "let", site);
        }
        let found = self.lets.iter_mut().rev().find_map(|lets| lets.get_mut(&name));
        if let Some(entry) = found {
            entry.is_read = true;
            let shape = entry.shape.clone();
            return self.refer_shape(text, r, 2, &shape, Code::UnknownField);
        }
        let span = self.key_span(text, r, 1);
        let closing = if site.closing { self.closing_shape() } else { None };
        let of_loop = closing.and_then(|lets| lets.walk(&r.path[1..2]).err());
        let known = self.lets.iter().flat_map(|lets| lets.keys().map(String::as_str));
        let known = known.chain(of_loop.iter().flat_map(NoField::known));
        let complaint = Diagnostic::new(Code::UnknownField, format!("`let` has no `{name}`"));
        let complaint = complaint.at(span, "unknown name").suggest(&name, known);
        self.loader.found.push(complaint);
    }

    /// What is known of the entry of `let` that `path` begins with, if a step or a `compute` declares it.
    pub(super) fn let_shape(&self, path: &[Step], site: &Site<'_>) -> Shape {
        let [Step::Key(name), rest @ ..] = path else { return Shape::Any };
        let entry = self.lets.iter().rev().find_map(|lets| lets.get(name));
        match entry {
            Some(entry) if !site.before => entry.shape.walk(rest).unwrap_or_default(),
            _ => self.closing_shape().and_then(|lets| lets.walk(path).ok()).unwrap_or_default(),
        }
    }

    /// What is known of the `let` of the innermost loop, which the end of a round sees.
    fn closing_shape(&self) -> Option<Shape> {
        self.levels.iter().rev().find_map(|level| match &level.around {
            Around::Loop { lets, .. } => Some(lets.clone()),
            _ => None,
        })
    }

    /// `refs`, and for each entry of a step's `let` among them, what that reads.
    pub(super) fn through_lets<'r>(&'r self, refs: impl Iterator<Item = &'r Ref>) -> Vec<&'r Ref> {
        let mut found = Vec::new();
        let mut open: Vec<&Ref> = refs.collect();
        let mut seen = std::collections::HashSet::new();
        while let Some(r) = open.pop() {
            let entry = let_name(r)
                .and_then(|name| Some((name, self.lets.iter().rev().find_map(|lets| lets.get(name))?)));
            match entry {
                Some((name, entry)) if seen.insert(name) => open.extend(&entry.refs),
                Some(_) => {}
                None => found.push(r),
            }
        }
        found
    }
}

/// The entry of `let` that a reference names.
fn let_name(r: &Ref) -> Option<&str> {
    match r.path.as_slice() {
        [Step::Key(root), Step::Key(name), ..] if root == "let" => Some(name),
        _ => None,
    }
}

/// Whether a reference reads what changes while a step runs.
fn is_varying(r: &Ref) -> bool {
    let root = |name: &str| matches!(r.path.first(), Some(Step::Key(root)) if root == name);
    let field = matches!(r.path.get(1), Some(Step::Key(field)) if field != "spent");
    root("run") && !field
}
