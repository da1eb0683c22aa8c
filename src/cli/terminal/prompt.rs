//! Questions to the person at the terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot::Sender;

use crate::cli::execution::progress_thread::ProgressHandle;
use crate::cli::terminal::keyboard;
use crate::cli::terminal::keyboard::Keyboard;
use crate::driver::{Answer, Asker};
use crate::engine::Question;
use crate::id::Address;
use crate::plan::AnswerType;
use crate::report::units::{hanging, harmless, moment, one_line};
use crate::value::Value;
use crate::visible;

type TypedAnswer = Pin<Box<dyn Future<Output = Option<Answer>> + Send>>;

/// Asks at the terminal, one question at a time.
pub struct TerminalAsker {
    line: ProgressHandle,
    turn: Arc<tokio::sync::Mutex<()>>,
    typed: Arc<Mutex<Keyboard>>,
    waiting: OpenQuestions,
}

/// The open questions, including the current one.
type OpenQuestions = Arc<Mutex<BTreeMap<Address, String>>>;

/// An open question, until it is dropped.
struct OpenQuestion(OpenQuestions, Address);

impl OpenQuestion {
    fn new(waiting: &OpenQuestions, address: &Address, question: &Question) -> Self {
        let text = one_line(&question.text, 100);
        waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(address.clone(), text);
        Self(waiting.clone(), address.clone())
    }

    /// The other open questions, one line each.
    fn others(waiting: &OpenQuestions, address: &Address) -> Vec<String> {
        let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let others = waiting.iter().filter(|(at, _)| *at != address);
        others.map(|(at, text)| format!("  {at}: {text}")).collect()
    }
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl TerminalAsker {
    /// Asks at the terminal; `line` draws progress there, and stops meanwhile.
    pub fn new(line: ProgressHandle) -> Self {
        Self { line, turn: Arc::default(), typed: Arc::default(), waiting: Arc::default() }
    }
}

/// Draws progress again, however the question ends.
struct Hushed(ProgressHandle);

impl Drop for Hushed {
    fn drop(&mut self) {
        self.0.unhush();
    }
}

impl Asker for TerminalAsker {
    fn ask(&self, address: &Address, question: &Question) -> TypedAnswer {
        let (line, turn, typed) = (self.line.clone(), self.turn.clone(), self.typed.clone());
        let (address, question) = (address.clone(), question.clone());
        let (waiting, listed) = (self.waiting.clone(), OpenQuestion::new(&self.waiting, &address, &question));
        Box::pin(async move {
            let _listed = listed;
            let _turn = turn.lock().await;
            line.hush(true).await;
            let _hushed = Hushed(line);
            let (sender, answer) = tokio::sync::oneshot::channel();
            // A thread of its own, so that reading does not keep the process alive.
            let asking = move || {
                let mut typed = typed.lock().unwrap_or_else(PoisonError::into_inner);
                let others = || OpenQuestion::others(&waiting, &address);
                let answer = converse(&mut typed, (&address, &question), &others, &sender);
                sender.send(answer).is_ok()
            };
            let started = std::thread::Builder::new().name("question".to_owned()).spawn(asking).is_ok();
            let answer = if started { answer.await.ok().flatten() } else { None };
            answer.map(|answer| Answer { answer, by: "terminal".to_owned(), note: None })
        })
    }
}

/// Repeats the question until there is a valid answer; `None` at the end of input, or if the answer is no
/// longer needed.
fn converse(
    typed: &mut Keyboard,
    (address, question): (&Address, &Question),
    others: &dyn Fn() -> Vec<String>,
    waiting: &Sender<Option<Value>>,
) -> Option<Value> {
    let mut err = io::stderr();
    let early = typed.early();
    let others = others();
    if !others.is_empty() {
        writeln!(err, "\nother open questions:\n{}", others.join("\n")).ok()?;
    }
    writeln!(err, "{}", visible::terminal(shown_question(address, question).trim_end(), false)).ok()?;
    if !early.is_empty() {
        writeln!(err, "ignored, because it was typed before the question was shown:").ok()?;
        for line in early.iter().take(10) {
            writeln!(err, "  {}", harmless(line)).ok()?;
        }
    }
    let prompt = prompt(question);
    loop {
        write!(err, "{prompt}").and_then(|()| err.flush()).ok()?;
        let text = match typed.line(|| !waiting.is_closed()) {
            keyboard::TypedLine::Text(text) => text,
            keyboard::TypedLine::Cut => {
                let complaint = "the terminal truncates lines at 4095 bytes, so this answer was discarded: give a long \
                                 answer with `atoll answer RUN STEP \"$(cat FILE)\"`";
                writeln!(err, "{complaint}").ok()?;
                continue;
            }
            keyboard::TypedLine::End => return None,
            keyboard::TypedLine::Withdrawn => {
                writeln!(err, "\nno longer needed").ok()?;
                return None;
            }
        };
        match read(question, text.trim()) {
            Ok(answer) => return Some(answer),
            Err(complaint) => writeln!(err, "{}", one_line(&complaint, 1000)).ok()?,
        }
    }
}

fn prompt(question: &Question) -> String {
    let default = question.default.as_ref().map(|value| format!(" [{}]", one_line(&shown(value), 200)));
    format!("answer{}: ", default.unwrap_or_default())
}

/// The question with everything that its answer depends on.
pub fn shown_question(address: &Address, question: &Question) -> String {
    let mut text = format!("\n? {address}: {}\n", hanging(&question.text, "  "));
    for (what, value) in [("", &question.show), ("bound to ", &question.binds)] {
        if let Some(value) = value {
            for line in shown(value).lines() {
                let _ = writeln!(text, "  | {what}{}", harmless(line));
            }
        }
    }
    for (n, choice) in question.choices.iter().enumerate() {
        let _ = writeln!(text, "  {}  {}", n + 1, hanging(&shown(choice), "     "));
    }
    if let Some(until) = question.until {
        let then = question.at_deadline.as_ref().or(question.default.as_ref());
        let then = then
            .map_or_else(|| "the step fails".to_owned(), |then| format!("the answer is `{}`", shown(then)));
        let _ = writeln!(text, "  without an answer by {}, {}", moment(until), one_line(&then, 200));
    }
    text
}

/// The answer in `text`: one of the choices by its text or number; else the text itself, or the JSON in it if
/// the question asks for JSON.
pub fn read(question: &Question, text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return question.default.clone().ok_or_else(|| "an answer is needed".to_owned());
    }
    if question.choices.is_empty() {
        return match question.answer {
            AnswerType::Text => Ok(Value::String(text.to_owned())),
            AnswerType::Json => crate::value::parse(text).map_err(|e| format!("this is not JSON: {e}")),
        };
    }
    let same = |choice: &&Value| [shown(choice), choice.to_string()].iter().any(|word| word == text);
    let by_number = || text.parse::<usize>().ok()?.checked_sub(1).and_then(|n| question.choices.get(n));
    question.choices.iter().find(same).or_else(by_number).cloned().ok_or_else(|| {
        let choices: Vec<String> = question.choices.iter().map(shown).collect();
        format!("`{text}` is not one of the choices: {}", choices.join(", "))
    })
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) => serde_json::to_string_pretty(value).unwrap_or_default(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_read_by_text_number_or_json() {
        let choices = vec![json!("yes"), json!("no"), json!(3)];
        let mut question =
            Question { text: "?".into(), choices, default: Some(json!("no")), ..Question::default() };
        assert_eq!(read(&question, "yes"), Ok(json!("yes")));
        assert_eq!(read(&question, "2"), Ok(json!("no")));
        assert_eq!(read(&question, "3"), Ok(json!(3)), "a choice itself comes before its number");
        assert_eq!(read(&question, ""), Ok(json!("no")));
        assert!(read(&question, "maybe").unwrap_err().contains("yes, no, 3"));
        question.choices.clear();
        question.default = None;
        for text in ["{\"a\": 1}", "free text", "123", "true", "null", "\"quoted\""] {
            assert_eq!(read(&question, text), Ok(json!(text)), "free text stays text");
        }
        question.answer = AnswerType::Json;
        assert_eq!(read(&question, "{\"a\": 1}"), Ok(json!({"a": 1})));
        assert!(read(&question, "free text").unwrap_err().contains("not JSON"));
        assert!(read(&question, "").is_err());
    }
}
