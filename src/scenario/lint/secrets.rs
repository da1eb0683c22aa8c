use crate::diag::Code;
use crate::scenario::reader::linter::Linter;
use crate::scenario::values::credentials::keys_in;

/// Reports every line that seems to contain a key. The key itself is not repeated.
pub fn find(linter: &mut Linter<'_>) {
    let text = linter.text();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if keys_in(line).next().is_some() {
            let indent = line.len() - line.trim_start().len();
            let span = linter.sources.span(linter.source, start + indent..start + line.trim_end().len());
            linter.at(Code::LintSecret, span, "this line seems to contain a secret").help =
                Some("pass the value as a variable: `--variable NAME=VALUE`".into());
        }
        start += line.len();
    }
}
