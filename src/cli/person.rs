//! Questions to whoever sits at the terminal, and answers given beforehand.

use std::fmt::Write as _;
use std::io::{self, BufRead, Write};
use std::pin::Pin;
use std::sync::Arc;

use super::follow::Line;
use crate::driver::{Answered, Asker};
use crate::engine::Question;
use crate::id::Address;
use crate::report::units::harmless;
use crate::value::Value;

type Answering = Pin<Box<dyn Future<Output = Option<Answered>> + Send>>;

/// Asks at the terminal, one question at a time.
pub struct Terminal {
    line: Line,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Terminal {
    /// Asks at the terminal; `line` draws progress there, and is told to stop meanwhile.
    pub fn new(line: Line) -> Self {
        Self { line, turn: Arc::default() }
    }
}

impl Asker for Terminal {
    fn ask(&self, address: &Address, question: &Question) -> Answering {
        let (line, turn, address, question) =
            (self.line.clone(), self.turn.clone(), address.clone(), question.clone());
        Box::pin(async move {
            let _turn = turn.lock().await;
            line.hush(true).await;
            let (sender, answer) = tokio::sync::oneshot::channel();
            // A thread of its own: reading cannot be cut short, and must not keep the process alive.
            let asking = move || sender.send(converse(&address, &question)).is_ok();
            let started = std::thread::Builder::new().name("question".to_owned()).spawn(asking).is_ok();
            let answer = if started { answer.await.ok().flatten() } else { None };
            line.hush(false).await;
            answer.map(|answer| Answered { answer, by: "terminal".to_owned() })
        })
    }
}

/// Puts the question until there is an answer that fits; `None` at the end of input.
fn converse(address: &Address, question: &Question) -> Option<Value> {
    let mut err = io::stderr();
    let mut text = format!("\n? {address}: {}\n", harmless(&question.text));
    for (n, choice) in question.choices.iter().enumerate() {
        let _ = writeln!(text, "  {}  {}", n + 1, shown(choice));
    }
    writeln!(err, "{}", text.trim_end()).ok()?;
    loop {
        let default =
            question.default.as_ref().map(|value| format!(" [{}]", shown(value))).unwrap_or_default();
        write!(err, "answer{default}: ").and_then(|()| err.flush()).ok()?;
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line).ok()? == 0 {
            return None;
        }
        match read(question, line.trim()) {
            Ok(answer) => return Some(answer),
            Err(complaint) => writeln!(err, "{complaint}").ok()?,
        }
    }
}

/// The answer that `text` gives: one of the choices by its text or number, or else JSON, or else the text itself.
pub fn read(question: &Question, text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return question.default.clone().ok_or_else(|| "an answer is needed".to_owned());
    }
    if question.choices.is_empty() {
        return Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())));
    }
    let same = |choice: &&Value| [shown(choice), choice.to_string()].iter().any(|word| word == text);
    let by_number = || text.parse::<usize>().ok()?.checked_sub(1).and_then(|n| question.choices.get(n));
    question.choices.iter().find(same).or_else(by_number).cloned().ok_or_else(|| {
        let choices: Vec<String> = question.choices.iter().map(shown).collect();
        format!("`{text}` is none of the choices: {}", choices.join(", "))
    })
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Gives an answer that was given beforehand, however often its question is put, and leaves every other question to
/// somebody else.
pub struct Beforehand {
    address: Address,
    answer: Value,
    next: Option<Arc<dyn Asker>>,
}

impl Beforehand {
    /// Answers the question at `address` with `answer`, all others by `next`.
    pub fn new(address: Address, answer: Value, next: Option<Arc<dyn Asker>>) -> Self {
        Self { address, answer, next }
    }
}

impl Asker for Beforehand {
    fn ask(&self, address: &Address, question: &Question) -> Answering {
        if *address == self.address {
            let answered = Answered { answer: self.answer.clone(), by: "atoll answer".to_owned() };
            return Box::pin(async { Some(answered) });
        }
        match &self.next {
            Some(next) => next.ask(address, question),
            None => Box::pin(async { None }),
        }
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
        assert_eq!(read(&question, "{\"a\": 1}"), Ok(json!({"a": 1})));
        assert_eq!(read(&question, "free text"), Ok(json!("free text")));
        assert!(read(&question, "").is_err());
    }
}
