//! `read`: the content of a file, as text or as data.

use std::io::ErrorKind;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rooted_fs::read_file;
use crate::value::{self, Digest, Extent, Value};
use crate::verb::{Class, Context, Failure, Output, Refusal, Traits, Verb};

/// The verb `read`.
pub struct Read;

const MOST_BYTES: u64 = 16 << 20;

/// Input of `read`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadInput {
    /// Path of the file, relative to the project or absolute.
    pub path: String,
    /// Format of the file. Default: by the extension of the name, else text.
    #[serde(default)]
    pub format: Option<FileFormat>,
    /// Maximum size in bytes. Default: 16 MiB.
    #[serde(default)]
    pub max_bytes: Option<u64>,
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// UTF-8 text.
    Text,
    /// One JSON value.
    Json,
    /// One JSON value per line; the result is a list.
    Jsonl,
    /// Comma-separated values with a header line; the result is a list of objects with text values.
    Csv,
    /// A TOML table; dates become texts.
    Toml,
}

/// Output of `read`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReadOutput {
    /// Path of the file, as given.
    pub path: String,
    /// Content: a text, or the parsed data.
    pub value: Value,
    /// Size in bytes.
    pub bytes: u64,
    /// Digest of its bytes.
    #[schemars(with = "String")]
    pub digest: Digest,
}

impl Verb for Read {
    const NAME: &'static str = "read";
    const SUMMARY: &'static str = "read a file: text, json, jsonl, csv or toml";
    const TRAITS: Traits = Traits::repeatable("disk").always_rerun();
    const READS_FILES: bool = true;
    const EXAMPLE: &'static str = r#"
[steps.note]
write = { path = "notes/first.json", json = { title = "hello", words = 1 } }

[steps.back]
read = { path = "{{ steps.note.output.path }}", format = "json" }
"#;
    type With = ReadInput;
    type Out = ReadOutput;

    fn refusals(with: &ReadInput) -> Vec<Refusal> {
        let is_path = !with.path.is_empty() && !with.path.contains('\0');
        let failure =
            || Failure::permanent(format!("{:?} is not a valid path", with.path)).hint("name a file");
        if is_path { Vec::new() } else { vec![Refusal::of("/path", failure())] }
    }

    async fn run(&self, with: ReadInput, cx: Context) -> Result<Output<ReadOutput>, Failure> {
        let done = tokio::task::spawn_blocking(move || read(with, &cx.workspace.project)).await;
        done.map_err(|e| Failure::new(Class::Bug, format!("internal error in `read`: {e}")))?
            .map(Output::free)
    }
}

fn read(with: ReadInput, project: &Path) -> Result<ReadOutput, Failure> {
    let most = with.max_bytes.unwrap_or(MOST_BYTES);
    let bytes = load(&project.join(&with.path), &with.path, most)?;
    let format = with.format.unwrap_or_else(|| by_ending(&with.path));
    let value = parse(&bytes, format).map_err(|message| {
        Failure::permanent(format!("{:?} cannot be read as {}: {message}", with.path, word(format)))
    })?;
    Ok(ReadOutput { value, bytes: bytes.len() as u64, digest: Digest::of(&bytes), path: with.path })
}

fn load(path: &Path, given: &str, most: u64) -> Result<Vec<u8>, Failure> {
    read_file(path, most).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Failure::permanent(format!("the file {given:?} does not exist"))
            .hint(format!("the full path is {}", path.display())),
        ErrorKind::Interrupted | ErrorKind::TimedOut => Failure::transient(format!("{given:?}: {e}")),
        ErrorKind::IsADirectory | ErrorKind::InvalidInput => {
            Failure::permanent(format!("{given:?} is not a file")).hint("`pack` makes a tree of a directory")
        }
        ErrorKind::FileTooLarge => {
            Failure::permanent(format!("{given:?} cannot be read: {e}")).hint("raise `max_bytes` to read it")
        }
        _ => Failure::permanent(format!("{given:?} cannot be read: {e}")),
    })
}

fn by_ending(path: &str) -> FileFormat {
    let ending = Path::new(path).extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("json") => FileFormat::Json,
        Some("jsonl" | "ndjson") => FileFormat::Jsonl,
        Some("csv") => FileFormat::Csv,
        Some("toml") => FileFormat::Toml,
        _ => FileFormat::Text,
    }
}

fn word(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Text => "text",
        FileFormat::Json => "json",
        FileFormat::Jsonl => "jsonl",
        FileFormat::Csv => "csv",
        FileFormat::Toml => "toml",
    }
}

fn parse(bytes: &[u8], format: FileFormat) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| format!("byte {} is not UTF-8", e.valid_up_to()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        FileFormat::Text => Ok(Value::String(text.to_owned())),
        FileFormat::Json => {
            let value = value::parse(text).map_err(|e| e.to_string())?;
            Extent::of(&value).fault().map_or(Ok(value), |why| Err(format!("its value is {why}")))
        }
        FileFormat::Jsonl => {
            let mut items = BoundedList::default();
            for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                items.push(value::parse(line).map_err(|e| format!("line {}: {e}", n + 1))?)?;
            }
            Ok(Value::Array(items.list))
        }
        FileFormat::Csv => rows(text),
        FileFormat::Toml => {
            let value = value::parse_toml::<toml::Table>(text).map_err(|e| e.to_string()).map(table)?;
            value::shallow(value).map_err(|e: serde_json::Error| e.to_string())
        }
    }
}

/// A list whose size is limited to that of a value.
#[derive(Default)]
struct BoundedList {
    list: Vec<Value>,
    extent: Extent,
}

impl BoundedList {
    fn push(&mut self, item: Value) -> Result<(), String> {
        self.extent = self.extent.and(Extent::of(&item));
        if let Some(why) = self.extent.fault() {
            return Err(format!("after {} items its value is {why}", self.list.len()));
        }
        self.list.push(item);
        Ok(())
    }
}

fn rows(text: &str) -> Result<Value, String> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|e| e.to_string())?.clone();
    let mut rows = BoundedList::default();
    for record in reader.records() {
        let record = record.map_err(|e| e.to_string())?;
        let cells = header.iter().zip(&record).map(|(name, cell)| (name.to_owned(), cell.into()));
        rows.push(Value::Object(cells.collect()))?;
    }
    Ok(Value::Array(rows.list))
}

fn table(table: toml::Table) -> Value {
    Value::Object(table.into_iter().map(|(key, value)| (key, plain(value))).collect())
}

fn plain(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(n) => n.into(),
        toml::Value::Float(n) => n.into(),
        toml::Value::Boolean(b) => b.into(),
        toml::Value::Datetime(at) => at.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(plain).collect(),
        toml::Value::Table(inner) => table(inner),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests make files")]

    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::clock::ManualClock;
    use crate::verb::DynVerb;

    async fn run(project: &Path, with: Value) -> Result<Value, Failure> {
        let cx = Context::for_test(project.to_owned(), Arc::new(ManualClock::at(0)));
        Ok(DynVerb::run(&Read, with, cx).await?.value)
    }

    #[tokio::test]
    async fn what_is_too_large_as_a_value_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let csv = format!("a,b,c,d\n{}", "1,2,3,4\n".repeat(700_000));
        std::fs::write(place.path().join("a.csv"), csv).unwrap();
        std::fs::write(place.path().join("a.jsonl"), "[1,2,3,4]\n".repeat(900_000)).unwrap();
        std::fs::write(place.path().join("a.json"), format!("[{}1]", "1,".repeat(4_300_000))).unwrap();
        for name in ["a.csv", "a.jsonl", "a.json"] {
            let failure = run(place.path(), json!({ "path": name })).await.unwrap_err();
            assert!(failure.message.contains("larger than 64 MiB"), "{name}: {failure}");
        }
    }

    #[tokio::test]
    async fn each_format_is_read() {
        let place = tempfile::tempdir().unwrap();
        for (name, content, expected) in [
            ("a.md", "# é\n", json!("# é\n")),
            ("a.json", "\u{feff}{\"b\": [1]}", json!({"b": [1]})),
            ("a.jsonl", "{\"a\":1}\n\n2\n", json!([{"a": 1}, 2])),
            (
                "a.csv",
                "id,text\n1,\"a,b\"\n2,\n",
                json!([{"id": "1", "text": "a,b"}, {"id": "2", "text": ""}]),
            ),
            (
                "a.toml",
                "n = 1\nd = 2020-01-01\n[t]\nx = [1.5, true]",
                json!({"n": 1, "d": "2020-01-01", "t": {"x": [1.5, true]}}),
            ),
        ] {
            std::fs::write(place.path().join(name), content).unwrap();
            let out = run(place.path(), json!({ "path": name })).await.unwrap();
            assert_eq!(out["value"], expected);
            assert_eq!(out["bytes"], json!(content.len()));
            assert_eq!(out["digest"], json!(Digest::of(content)));
        }
        let text = run(place.path(), json!({"path": "a.json", "format": "text"})).await.unwrap();
        assert_eq!(text["value"], json!("{\"b\": [1]}"));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("bad.jsonl"), "1\n{").unwrap();
        std::fs::write(place.path().join("bad.csv"), "a,b\n1\n").unwrap();
        std::fs::write(place.path().join("bin"), [b'x', 0xff]).unwrap();
        let made = std::process::Command::new("mkfifo").arg(place.path().join("pipe")).status();
        assert!(made.unwrap().success());
        for (with, word) in [
            (json!({"path": "pipe"}), "is not a file"),
            (json!({"path": "/dev/zero"}), "is not a file"),
            (json!({"path": "none.txt"}), "the file \"none.txt\" does not exist"),
            (json!({"path": "."}), "is not a file"),
            (json!({"path": "bad.jsonl"}), "line 2"),
            (json!({"path": "bad.csv"}), "as csv"),
            (json!({"path": "bin"}), "byte 1 is not UTF-8"),
            (json!({"path": "bin", "max_bytes": 1}), "2 bytes, more than 1"),
        ] {
            let failure = run(place.path(), with).await.unwrap_err();
            assert_eq!(failure.class, Class::Permanent);
            assert!(failure.message.contains(word), "{failure}");
        }
    }
}
