//! Blocks of texts: a file may extend another one and say other things in its blocks. That is done with text alone, before
//! anything is parsed: a block's text stands where the block is, and sees the names that are in scope there.

use std::collections::HashMap;
use std::ops::Range;

use super::fault::{Fault, FaultKind};
use super::scan::{Piece, Tag, scan};
use super::token::Token;
use crate::diag::nearest;

/// The most bytes that a text comes to with its blocks in place.
const MOST_BYTES: usize = 4 << 20;
/// How deep blocks stand inside each other.
const MOST_DEPTH: usize = 64;

/// A name or a path in a tag, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub text: String,
    /// Its bytes in the file.
    pub range: Range<usize>,
}

/// A file cut at its blocks.
#[derive(Debug, Default)]
pub struct Layout {
    /// The file that it extends.
    pub extends: Option<Named>,
    pieces: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(Range<usize>),
    Block(Block),
    /// `{{ super() }}`.
    Parent(Edge),
}

#[derive(Debug)]
struct Block {
    name: Named,
    open: Edge,
    close: Edge,
    parts: Vec<Part>,
}

/// A tag, and what it does to the white space on its two sides.
#[derive(Clone, Debug)]
struct Edge {
    range: Range<usize>,
    left: char,
    right: char,
}

impl Edge {
    /// The tag at `range`; `without` is what stands for no mark.
    fn of(source: &str, range: Range<usize>, without: char) -> Self {
        let inner = &source[range.start + 2..range.end - 2];
        let mark = |c: Option<char>| c.filter(|c| matches!(c, '-' | '+')).unwrap_or(without);
        Self { left: mark(inner.chars().next()), right: mark(inner.chars().next_back()), range }
    }
}

/// A piece of a text that is put together: as many bytes as `length`, from `file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// How many bytes of the text it is.
    pub length: usize,
    /// The place of the file among those that were given.
    pub file: usize,
    /// Where it is from: as many bytes as it is long, or the tag in whose place it stands.
    pub range: Range<usize>,
}

/// Whether `source` may have blocks; most files have none.
pub fn has_blocks(source: &str) -> bool {
    source.contains("{%") && ["block", "extends"].iter().any(|word| source.contains(word))
}

/// Cuts `source` at its blocks; none if it has none.
pub fn layout(source: &str) -> Result<Option<Layout>, Fault> {
    // Other mistakes are found, and told, by whoever parses the text.
    let Ok(pieces) = scan(source) else { return Ok(None) };
    let mut cutting = Cutting { source, at: 0, layout: Layout::default(), open: Vec::new(), seen: false };
    let mut any = false;
    for piece in pieces {
        any |= cutting.piece(&piece)?;
    }
    if let Some(block) = cutting.open.last() {
        let message = format!("this block `{}` has no `{{% endblock %}}`", block.name.text);
        return Err(Fault::new(FaultKind::Syntax, block.open.range.clone(), message));
    }
    cutting.text(source.len());
    Ok(any.then_some(cutting.layout))
}

struct Cutting<'a> {
    source: &'a str,
    /// How far the file is cut.
    at: usize,
    layout: Layout,
    /// Blocks that are not closed, outermost first.
    open: Vec<Block>,
    /// Whether anything but white space and comments was there.
    seen: bool,
}

impl Cutting<'_> {
    /// Takes up a piece, and says whether it belongs to blocks.
    fn piece(&mut self, piece: &Piece) -> Result<bool, Fault> {
        let (place, is_blank) = match piece {
            Piece::Tag(tag) => match tag.name.as_str() {
                "extends" => return self.extends(tag).map(|()| true),
                "block" => return self.begin(tag).map(|()| true),
                "endblock" => return self.end(tag).map(|()| true),
                _ => (tag.span.clone(), false),
            },
            Piece::Output(_, span) if self.is_parent(span) => {
                if self.open.is_empty() {
                    let message = "`super()` outside of a block";
                    return Err(Fault::new(FaultKind::Syntax, span.clone(), message));
                }
                self.text(span.start);
                self.at = span.end;
                let edge = Edge::of(self.source, span.clone(), '+');
                self.parts().push(Part::Parent(edge));
                return Ok(true);
            }
            Piece::Output(_, span) => (span.clone(), false),
            Piece::Text(range) => (range.clone(), self.source[range.clone()].trim().is_empty()),
        };
        if self.open.is_empty() && !is_blank {
            if self.layout.extends.is_some() {
                let message = "outside of its blocks, a file that extends another one has nothing";
                let fault = Fault::new(FaultKind::Syntax, self.trimmed(place), message);
                return Err(fault.help("put this into one of the blocks"));
            }
            self.seen = true;
        }
        Ok(false)
    }

    /// `range` without white space at its ends.
    fn trimmed(&self, range: Range<usize>) -> Range<usize> {
        let text = &self.source[range.clone()];
        let start = range.start + (text.len() - text.trim_start().len());
        start..start + text.trim().len()
    }

    fn is_parent(&self, span: &Range<usize>) -> bool {
        let inner = self.source[span.start + 2..span.end - 2].trim_matches(['-', '+']);
        inner.split_whitespace().collect::<String>() == "super()"
    }

    fn parts(&mut self) -> &mut Vec<Part> {
        match self.open.last_mut() {
            Some(block) => &mut block.parts,
            None => &mut self.layout.pieces,
        }
    }

    fn text(&mut self, end: usize) {
        let range = self.at..end;
        if !range.is_empty() {
            self.parts().push(Part::Text(range));
        }
    }

    fn extends(&mut self, tag: &Tag) -> Result<(), Fault> {
        let wrong = |message: &str| Fault::new(FaultKind::Syntax, tag.span.clone(), message);
        let [(Token::Text(path), range)] = tag.tokens.list.as_slice() else {
            return Err(wrong("`extends` names one file, as text")
                .help("write `{% extends \"builtin/prompts/factory/system.md\" %}`"));
        };
        if self.seen
            || self.layout.extends.is_some()
            || !self.layout.pieces.is_empty()
            || !self.open.is_empty()
        {
            return Err(wrong("`extends` stands at the beginning of a file, once"));
        }
        self.layout.extends = Some(Named { text: path.clone(), range: range.clone() });
        self.at = tag.span.end;
        Ok(())
    }

    fn begin(&mut self, tag: &Tag) -> Result<(), Fault> {
        let [(Token::Word(name), range)] = tag.tokens.list.as_slice() else {
            let fault = Fault::new(FaultKind::Syntax, tag.span.clone(), "a block has one name");
            return Err(fault.help("write `{% block NAME %}`"));
        };
        if self.open.len() >= MOST_DEPTH {
            return Err(Fault::new(FaultKind::Syntax, tag.span.clone(), "blocks are nested too deeply"));
        }
        self.text(tag.span.start);
        self.at = tag.span.end;
        let open = Edge::of(self.source, tag.span.clone(), ' ');
        let name = Named { text: name.clone(), range: range.clone() };
        self.open.push(Block { name, close: open.clone(), open, parts: Vec::new() });
        Ok(())
    }

    fn end(&mut self, tag: &Tag) -> Result<(), Fault> {
        self.text(tag.span.start);
        self.at = tag.span.end;
        let Some(block) = self.open.pop() else {
            let message = "`endblock` without its beginning";
            return Err(Fault::new(FaultKind::Syntax, tag.span.clone(), message));
        };
        match tag.tokens.list.as_slice() {
            [] => {}
            [(Token::Word(name), _)] if *name == block.name.text => {}
            _ => {
                let message = format!("this closes the block `{}`", block.name.text);
                return Err(Fault::new(FaultKind::Syntax, tag.span.clone(), message));
            }
        }
        let close = Edge::of(self.source, tag.span.clone(), ' ');
        self.parts().push(Part::Block(Block { close, ..block }));
        Ok(())
    }
}

/// Puts blocks in place: of `files`, the first one extends the second, and so on. A mistake comes with the place of its file.
pub fn expand(files: &[(&str, &Layout)]) -> Result<(String, Vec<Segment>), (usize, Fault)> {
    let Some(root) = files.len().checked_sub(1) else { return Ok((String::new(), Vec::new())) };
    let mut blocks: HashMap<&str, Vec<(usize, &Block)>> = HashMap::new();
    for (file, (_, layout)) in files.iter().enumerate() {
        gather(file, &layout.pieces, &mut blocks).map_err(|fault| (file, fault))?;
    }
    for (file, (_, layout)) in files[..root].iter().enumerate() {
        known(file, layout, &blocks).map_err(|fault| (file, fault))?;
    }
    let mut expanding = Expanding { files, blocks, text: String::new(), segments: Vec::new(), depth: 0 };
    expanding.parts(root, &files[root].1.pieces, None)?;
    Ok((expanding.text, expanding.segments))
}

/// Notes all blocks of a file, those inside others too.
fn gather<'a>(
    file: usize,
    parts: &'a [Part],
    blocks: &mut HashMap<&'a str, Vec<(usize, &'a Block)>>,
) -> Result<(), Fault> {
    for part in parts {
        let Part::Block(block) = part else { continue };
        let same = blocks.entry(&block.name.text).or_default();
        if same.last().is_some_and(|(other, _)| *other == file) {
            let message = format!("this file has two blocks `{}`", block.name.text);
            return Err(
                Fault::new(FaultKind::Syntax, block.name.range.clone(), message).help("rename one of them")
            );
        }
        same.push((file, block));
        gather(file, &block.parts, blocks)?;
    }
    Ok(())
}

/// Whether the blocks of a file are there in those that it extends.
fn known(file: usize, layout: &Layout, blocks: &HashMap<&str, Vec<(usize, &Block)>>) -> Result<(), Fault> {
    let is_there =
        |name: &str| blocks.get(name).is_some_and(|same| same.iter().any(|(other, _)| *other > file));
    for part in &layout.pieces {
        let Part::Block(Block { name, .. }) = part else { continue };
        if is_there(&name.text) {
            continue;
        }
        let message = format!("there is no block `{}` in the file that this one extends", name.text);
        let fault = Fault::new(FaultKind::UnknownName, name.range.clone(), message);
        let mut others: Vec<&str> = blocks.keys().copied().filter(|name| is_there(name)).collect();
        others.sort_unstable();
        return Err(match nearest(&name.text, others.iter().copied()) {
            Some(near) => fault.help(format!("did you mean `{near}`?")),
            None if others.is_empty() => fault.help("it has no blocks: copy it to change it"),
            None => fault.help(format!("its blocks are {}", crate::diag::listed(others))),
        });
    }
    Ok(())
}

struct Expanding<'a> {
    files: &'a [(&'a str, &'a Layout)],
    /// By name: the blocks of this name, the one that counts first.
    blocks: HashMap<&'a str, Vec<(usize, &'a Block)>>,
    text: String,
    segments: Vec<Segment>,
    depth: usize,
}

impl<'a> Expanding<'a> {
    /// `within` is the block that the parts stand in, and how many others of its name count more.
    fn parts(
        &mut self,
        file: usize,
        parts: &'a [Part],
        within: Option<(&'a str, usize)>,
    ) -> Result<(), (usize, Fault)> {
        for part in parts {
            match part {
                Part::Text(range) => self.push(file, range.clone(), &self.files[file].0[range.clone()]),
                Part::Block(block) => {
                    self.block(file, &block.name.text, 0, (&block.open, &block.close))?;
                }
                Part::Parent(edge) => {
                    let Some((name, above)) = within else { continue };
                    self.block(file, name, above + 1, (edge, edge))?;
                }
            }
            if self.text.len() > MOST_BYTES {
                let message = format!("with its blocks in place, the text has more than {MOST_BYTES} bytes");
                return Err((file, Fault::new(FaultKind::Syntax, 0..0, message)));
            }
        }
        Ok(())
    }

    /// The block `name` of which `above` others count more, in the place of the tags `at` of `file`.
    fn block(
        &mut self,
        file: usize,
        name: &'a str,
        above: usize,
        at: (&Edge, &Edge),
    ) -> Result<(), (usize, Fault)> {
        let wrong = |message: String| (file, Fault::new(FaultKind::Syntax, at.0.range.clone(), message));
        let found = self.blocks.get(name).and_then(|same| same.get(above)).copied();
        let Some((own, block)) = found else {
            return Err(wrong(format!("no other file has a block `{name}` for `super()` to stand for")));
        };
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(wrong(format!("the block `{name}` contains itself")));
        }
        self.tag(file, at.0, at.0.left, block.open.right);
        self.parts(own, &block.parts, Some((name, above)))?;
        self.tag(file, at.1, block.close.left, at.1.right);
        self.depth -= 1;
        Ok(())
    }

    /// A comment in the place of a tag: it does the same to the white space around it.
    fn tag(&mut self, file: usize, edge: &Edge, left: char, right: char) {
        self.push(file, edge.range.clone(), &format!("{{#{left} {right}#}}"));
    }

    fn push(&mut self, file: usize, range: Range<usize>, text: &str) {
        self.text.push_str(text);
        self.segments.push(Segment { length: text.len(), file, range });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::expr::{Functions, Scope, Template};

    fn expanded(texts: &[&str]) -> Result<String, String> {
        let layouts: Vec<Layout> = texts
            .iter()
            .map(|text| layout(text).map(Option::unwrap_or_default))
            .collect::<Result<_, _>>()
            .map_err(|f| f.message)?;
        let files: Vec<(&str, &Layout)> = texts.iter().copied().zip(&layouts).collect();
        expand(&files).map(|(text, _)| text).map_err(|(file, fault)| format!("{file}: {}", fault.message))
    }

    fn rendered(texts: &[&str]) -> String {
        let text = expanded(texts).unwrap();
        let template = Template::parse(&text, &Functions::empty(), &|_| None::<Arc<str>>).unwrap();
        template.render_text(&Scope::new()).unwrap()
    }

    const ROOT: &str = "You judge.\n{% block role %}\nBe kind.\n{% endblock %}\n\nAnswer {% block how %}soon{% endblock %}.\n";

    #[test]
    fn a_file_with_blocks_says_what_it_says_without_them() {
        assert_eq!(rendered(&[ROOT]), "You judge.\nBe kind.\n\nAnswer soon.\n");
        let tight = "a\n  {%- block x -%}\n  b\n  {%- endblock %}\nc\n";
        assert_eq!(rendered(&[tight]), "abc\n");
    }

    #[test]
    fn a_block_takes_the_place_of_the_one_that_it_replaces() {
        let child =
            "{% extends \"x\" %}\n{# a note #}\n{% block role %}\n{{ super() }}Be fast.\n{% endblock %}\n";
        let text = rendered(&[child, ROOT]);
        assert_eq!(text, "You judge.\nBe kind.\nBe fast.\n\nAnswer soon.\n");
        let grandchild =
            "{% extends 'y' %}{% block how %}{{ super() }}er{% endblock %}{% block role %}{% endblock %}";
        let text = rendered(&[grandchild, child, ROOT]);
        assert_eq!(text, "You judge.\n\nAnswer sooner.\n");
    }

    #[test]
    fn mistakes_name_their_file() {
        let said = |texts: &[&str]| expanded(texts).unwrap_err();
        let child = "{% extends 'x' %}{% block rule %}{% endblock %}";
        assert_eq!(said(&[child, ROOT]), "0: there is no block `rule` in the file that this one extends");
        assert!(said(&["{% extends 'x' %}\nHello", ROOT]).contains("has nothing"));
        assert!(said(&["{% block a %}"]).contains("has no `{% endblock %}`"));
        assert!(said(&["{% block a %}{{ super() }}{% endblock %}"]).contains("no other file"));
        assert!(said(&["{{ super() }}{% block a %}{% endblock %}"]).contains("outside of a block"));
        assert!(said(&["{% block a %}{% endblock %}{% block a %}{% endblock %}"]).contains("two blocks"));
        let (root, child) = (
            "{% block a %}{% block b %}{% endblock %}{% endblock %}",
            "{% extends 'x' %}{% block b %}{% block a %}{{ super() }}{% endblock %}{% endblock %}",
        );
        assert!(said(&[child, root]).contains("contains itself"));
        let twice = "{% extends 'x' %}{% block role %}{{ super() }}{{ super() }}{% endblock %}";
        let mut texts = vec![twice; 40];
        texts.push(ROOT);
        assert!(said(&texts).contains("bytes"));
    }

    #[test]
    fn pieces_know_where_they_are_from() {
        let child = "{% extends 'x' %}{% block how %}late{% endblock %}";
        let layouts = [layout(child).unwrap().unwrap(), layout(ROOT).unwrap().unwrap()];
        let (text, segments) = expand(&[(child, &layouts[0]), (ROOT, &layouts[1])]).unwrap();
        let mut at = 0;
        for Segment { length, file, range } in segments {
            let from = [child, ROOT][file];
            let piece = &text[at..at + length];
            assert!(from[range.clone()] == *piece || from[range].starts_with("{%"), "{piece}");
            at += length;
        }
        assert_eq!(at, text.len());
    }
}
