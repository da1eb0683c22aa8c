//! The result that an agent has to deliver, from a file or a final tool call. It is never guessed from prose.

use std::sync::Arc;

use serde_json::json;

use crate::llm::Tool;
use crate::schema::Schema;
use crate::tree::check_path;
use crate::value::Value;
use crate::verb::Failure;

/// The tool that ends the work.
pub(super) const FINISH: &str = "finish";

/// The source of the result.
pub(super) enum ResultSource {
    /// None: only the files are wanted.
    Nowhere,
    /// A file of the workspace; `true` if it is JSON.
    File(String, bool),
    /// A call of [`FINISH`], or the last event of an external program.
    Call,
}

/// The result that is wanted.
pub(super) struct ResultGoal {
    pub(super) place: ResultSource,
    pub(super) schema: Option<Arc<Schema>>,
}

impl ResultGoal {
    /// A result from `file`, or one that fits `schema`.
    pub(super) fn new(file: Option<&str>, schema: Option<Arc<Schema>>) -> Result<Self, Failure> {
        let place = match (file, &schema) {
            (Some(path), _) => {
                let path = check_path(path).map_err(|why| {
                    Failure::permanent(format!("`agent`: the result {path:?} cannot be a file: {why}"))
                })?;
                let json = schema.is_some() || path.to_ascii_lowercase().ends_with(".json");
                ResultSource::File(path, json)
            }
            (None, Some(_)) => ResultSource::Call,
            (None, None) => ResultSource::Nowhere,
        };
        Ok(Self { place, schema })
    }

    /// The tool that ends the work, if the result is passed in a call.
    pub(super) fn tool(&self) -> Option<Tool> {
        let (ResultSource::Call, Some(schema)) = (&self.place, &self.schema) else { return None };
        let source = schema.source();
        let input = if is_object(source) {
            source.clone()
        } else {
            Arc::new(json!({"type": "object", "required": ["result"], "properties": {"result": source}}))
        };
        let description =
            "Ends the work and hands in its result. Call it once, when everything is done.".to_owned();
        Some(Tool { name: FINISH.to_owned(), description, schema: input })
    }

    /// The instructions for the model.
    pub(super) fn words(&self) -> Option<String> {
        let fit =
            |schema: &Schema| format!(" It is JSON and has to fit this JSON Schema:\n{}", schema.canonical());
        match &self.place {
            ResultSource::Nowhere => None,
            ResultSource::Call => Some(format!(
                "When everything is done, call `{FINISH}` with the result. Saying it in words is not enough."
            )),
            ResultSource::File(path, json) => {
                let fit = match &self.schema {
                    Some(schema) => fit(schema),
                    None if *json => " It is JSON.".to_owned(),
                    None => String::new(),
                };
                Some(format!("When everything is done, leave the result in the file `{path}`.{fit}"))
            }
        }
    }

    /// The result in `input` of the last call, or its violations.
    pub(super) fn called(&self, input: &Value) -> Result<Value, Vec<String>> {
        let wrapped = self.schema.as_ref().is_some_and(|schema| !is_object(schema.source()));
        let value = if wrapped { input.get("result").unwrap_or(input) } else { input };
        self.fitting(value.clone())
    }

    /// The result in the bytes of its file, or its violations.
    pub(super) fn written(&self, path: &str, json: bool, bytes: &[u8]) -> Result<Value, Vec<String>> {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(vec![format!("`{path}` is no UTF-8 text")]);
        };
        if !json {
            return Ok(Value::String(text.to_owned()));
        }
        let value = crate::value::parse(text).map_err(|e| vec![format!("`{path}` is no JSON: {e}")])?;
        self.fitting(value)
    }

    /// `value`, if it fits the schema.
    pub(super) fn fitting(&self, value: Value) -> Result<Value, Vec<String>> {
        let violations = self.schema.as_ref().map(|schema| schema.violations(&value)).unwrap_or_default();
        if violations.is_empty() {
            Ok(value)
        } else {
            Err(violations.iter().map(ToString::to_string).collect())
        }
    }
}

fn is_object(schema: &Value) -> bool {
    schema["type"] == "object"
}

/// The failure if no result that fits was delivered.
pub(super) fn unfit(complaints: &[String], answer: &Value) -> Failure {
    let first = complaints.first().map_or("it is missing", String::as_str);
    let more =
        if complaints.len() > 1 { format!(" (and {} more)", complaints.len() - 1) } else { String::new() };
    Failure::rejected(format!("the agent's result does not fit: {first}{more}"))
        .detail(json!({ "answer": answer, "violations": complaints }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(file: Option<&str>, schema: Option<Value>) -> ResultGoal {
        let schema = schema.map(|schema| Arc::new(Schema::compile("schemas/r.json", schema).unwrap()));
        ResultGoal::new(file, schema).unwrap()
    }

    #[test]
    fn a_result_is_a_file_or_a_call_and_never_prose() {
        let object = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}});
        let called = goal(None, Some(object.clone()));
        assert_eq!(called.called(&json!({"n": 1})), Ok(json!({"n": 1})));
        assert!(called.called(&json!("n is 1")).unwrap_err()[0].contains("object"));
        let list = goal(None, Some(json!({"type": "array", "items": {"type": "integer"}})));
        assert_eq!(list.tool().unwrap().schema["required"], json!(["result"]));
        assert_eq!(list.called(&json!({"result": [1]})), Ok(json!([1])));
        let written = goal(Some("./out/r.txt"), Some(object));
        assert!(matches!(&written.place, ResultSource::File(path, true) if path == "out/r.txt"));
        assert_eq!(written.written("r", true, b" {\"n\": 2}"), Ok(json!({"n": 2})));
        assert!(written.written("r", true, b"n is 2").unwrap_err()[0].contains("no JSON"));
        assert!(written.written("r", true, b"\xff").unwrap_err()[0].contains("UTF-8"));
        assert_eq!(goal(Some("r.md"), None).written("r.md", false, b"done"), Ok(json!("done")));
        assert!(ResultGoal::new(Some("../r"), None).is_err());
        assert!(goal(None, None).words().is_none() && goal(None, None).tool().is_none());
    }
}
