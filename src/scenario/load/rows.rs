use indexmap::IndexMap;

use crate::diag::Code;
use crate::scenario::reader::NodeReader;
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::values::variables::is_name;
use crate::value::Value;

/// One row of `for_each`: variables by name.
pub type RowVariables = IndexMap<String, Value>;

/// Most rows of one table.
const MOST: usize = 1_000;

/// Reads `for_each`: a list of mappings by name, or of values for the variable `item`.
pub fn read(reader: &mut NodeReader<'_>, node: &YamlNode) -> Vec<RowVariables> {
    let items = reader.list(node, "`for_each`");
    if items.is_empty() || items.len() > MOST {
        let message = format!("`for_each` has {} rows; from 1 to {MOST} are allowed", items.len());
        reader.complain(Code::ScenarioValue, node, message);
        return Vec::new();
    }
    items.iter().map(|item| row(reader, item)).collect()
}

fn row(reader: &mut NodeReader<'_>, node: &YamlNode) -> RowVariables {
    match &node.kind {
        NodeKind::Table(_) => variables(reader, node, "a row of `for_each`"),
        _ => std::iter::once(("item".to_owned(), node.to_text_or_json())).collect(),
    }
}

/// A mapping of variables.
pub fn variables(reader: &mut NodeReader<'_>, node: &YamlNode, what: &str) -> RowVariables {
    let mut row = RowVariables::new();
    for (key, value) in reader.entries(node, what).unwrap_or_default() {
        let name = key.scalar_text().unwrap_or_default();
        if !is_name(&name) {
            let message =
                format!("`{name}` cannot be used in a placeholder: a name has letters, digits and `_`");
            reader.complain(Code::ScenarioCapture, key, message);
        }
        row.insert(name, value.to_text_or_json());
    }
    row
}
