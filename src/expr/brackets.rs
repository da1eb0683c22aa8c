//! Lists and objects in brackets: written item by item, or as a comprehension.

use super::ast::{Comprehension, Kind, Node};
use super::fault::Fault;
use super::parse::{Parsed, Parser};
use super::words::syntax;

impl Parser<'_> {
    /// `[a, b]`, or `[a for … in …]`.
    pub(super) fn list(&mut self) -> Parsed {
        let start = self.span().start;
        self.expect("[")?;
        let mut items = Vec::new();
        while !self.skip_sign("]") {
            if !items.is_empty() {
                self.separator("]", items.len())?;
                if self.skip_sign("]") {
                    break;
                }
            }
            let item = self.expression()?;
            if items.is_empty() && self.skip_word("for") {
                return self.comprehension(start, None, item, "]");
            }
            items.push(item);
        }
        Ok(Node { kind: Kind::List(items), span: self.from(start) })
    }

    /// `{a: b, c: d}`, or `{a: b for … in …}`.
    pub(super) fn table(&mut self) -> Parsed {
        let start = self.span().start;
        self.expect("{")?;
        let mut entries = Vec::new();
        while !self.skip_sign("}") {
            if !entries.is_empty() {
                self.separator("}", entries.len())?;
                if self.skip_sign("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect(":")?;
            let value = self.expression()?;
            if entries.is_empty() && self.skip_word("for") {
                return self.comprehension(start, Some(key), value, "}");
            }
            entries.push((key, value));
        }
        Ok(Node { kind: Kind::Table(entries), span: self.from(start) })
    }

    /// The comma after an item, of which there are `count` so far.
    fn separator(&mut self, close: &str, count: usize) -> Parsed<()> {
        if self.skip_sign(",") {
            return Ok(());
        }
        let fault = self.unexpected(&format!("`,` or `{close}`"));
        let is_late = count > 1 && self.is_word("for");
        Err(if is_late { fault.help("a comprehension makes one value of each item") } else { fault })
    }

    /// The rest of a comprehension, after its `for`.
    fn comprehension(&mut self, start: usize, key: Option<Node>, value: Node, close: &str) -> Parsed {
        let mut names = vec![self.binding()?];
        if self.skip_sign(",") {
            names.push(self.binding()?);
        }
        if let [(first, _), (second, span)] = &names[..]
            && first == second
        {
            return Err(syntax(span.clone(), format!("two names `{first}`")).help("rename one"));
        }
        if self.is_sign(",") {
            return Err(self.unexpected("`in`").help("a comprehension has one name, or two for pairs"));
        }
        if !self.skip_word("in") {
            return Err(self.unexpected("`in`"));
        }
        let over = self.nested(Self::without_choice)?;
        let only = if self.skip_word("if") { Some(self.nested(Self::without_choice)?) } else { None };
        if !self.skip_sign(close) {
            return Err(self.unclosed(close));
        }
        let made = Comprehension { names, over, only, key, value };
        Ok(Node { kind: Kind::Comprehension(Box::new(made)), span: self.from(start) })
    }

    fn unclosed(&self, close: &str) -> Fault {
        let fault = self.unexpected(&format!("`{close}`"));
        if self.is_word("if") {
            fault.help("a comprehension has at most one `if`: join the conditions with `and`")
        } else if self.is_word("for") {
            fault.help("a comprehension has one `for`: write another one inside, and `| flatten`")
        } else if self.is_word("else") {
            fault.help("put the choice in parentheses: `for item in (a if condition else b)`")
        } else {
            fault
        }
    }
}
