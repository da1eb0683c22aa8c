//! A line from standard input that is not shown on the screen.

use std::io::{self, IsTerminal, Read, Write};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use secrecy::zeroize::Zeroize as _;

use crate::verb::SecretText;

/// The maximum length in bytes.
const LONGEST: usize = 16 << 10;

/// The codes of the keys of a terminal.
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;

/// Prints `question` on standard error and reads a line; a terminal shows a star for each character. From a
/// pipe the first line is read without a question. `None` if it was cancelled.
pub fn read(question: &str) -> io::Result<Option<SecretText>> {
    let input = io::stdin();
    let mut line = if input.is_terminal() {
        let mut err = io::stderr();
        write!(err, "{question}: ")?;
        err.flush()?;
        let quiet = HiddenInput::new()?;
        let line = typed(&mut input.lock(), &mut err)?;
        drop(quiet);
        writeln!(err)?;
        match line {
            Some(line) => line,
            None => return Ok(None),
        }
    } else {
        piped(&mut input.lock())?
    };
    let text = String::from_utf8_lossy(&line).trim().to_owned();
    line.zeroize();
    Ok(Some(SecretText::from(text)))
}

fn piped(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(LONGEST as u64).read_to_end(&mut bytes)?;
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    bytes.truncate(end);
    Ok(bytes)
}

fn typed(input: &mut impl Read, shown: &mut impl Write) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while input.read(&mut byte)? > 0 {
        match byte[0] {
            b'\r' | b'\n' => return Ok(Some(line)),
            CTRL_C => return Ok(None),
            CTRL_D if line.is_empty() => return Ok(None),
            BACKSPACE | DELETE if !line.is_empty() => {
                line.pop();
                write!(shown, "\u{8} \u{8}")?;
            }
            byte if byte >= b' ' && byte != DELETE && line.len() < LONGEST => {
                line.push(byte);
                write!(shown, "*")?;
            }
            _ => {}
        }
        shown.flush()?;
    }
    Ok(Some(line).filter(|line| !line.is_empty()))
}

/// A terminal without echo, until this is dropped. Ctrl-C is read like any other key, so that the terminal is
/// restored before the program ends.
struct HiddenInput(Termios);

impl HiddenInput {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        // If the terminal is gone, nothing can be done.
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(keys: &[u8]) -> (Option<String>, String) {
        let mut screen = Vec::new();
        let line = typed(&mut &*keys, &mut screen).unwrap();
        (line.map(|line| String::from_utf8(line).unwrap()), String::from_utf8(screen).unwrap())
    }

    #[test]
    fn keys_show_as_stars() {
        assert_eq!(shown(b"sk-1\rrest"), (Some("sk-1".to_owned()), "****".to_owned()));
        assert_eq!(shown(b"ab\x7fc\n").0.as_deref(), Some("ac"));
        assert_eq!(shown(b"ab\x03\n").0, None);
        assert_eq!(shown(b"").0, None);
        assert_eq!(piped(&mut &b"sk-1\nmore"[..]).unwrap(), b"sk-1");
    }
}
