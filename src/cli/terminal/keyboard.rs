//! Lines that a person types at the terminal, separated from input that was typed or pasted before a question
//! was shown.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

/// Input with pauses up to this many milliseconds counts as one paste.
const PASTE_MS: u8 = 50;
/// The interval at which a reader checks whether its question is still open, in milliseconds.
const LOOK_MS: u8 = 100;
/// The maximum line length of a terminal, in bytes.
const LONGEST_TYPED: usize = 4095;
/// The maximum length of a typed line.
const MOST: usize = 64 * 1024;

/// The keyboard: bytes of an incomplete line are kept for the next line.
#[derive(Default)]
pub struct Keyboard {
    read: Vec<u8>,
    ended: bool,
}

/// The input of a person.
#[derive(Debug, PartialEq, Eq)]
pub enum TypedLine {
    /// A line, without its line break.
    Text(String),
    /// A line that the terminal truncated at its limit.
    Cut,
    /// The end of input.
    End,
    /// The question is no longer open.
    Withdrawn,
}

impl Keyboard {
    /// The earlier input, and what still arrives without a pause: lines, and at a terminal also an incomplete
    /// line, so that the next line starts empty.
    pub fn early(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            while let Some(line) = self.take() {
                lines.push(line);
            }
            if self.ended || !(self.fill(PASTE_MS) || self.fill_unended()) {
                break;
            }
        }
        if !self.ended && io::stdin().is_terminal() && !self.read.is_empty() {
            lines.push(String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned());
        }
        lines
    }

    /// The next line; `open` says whether the question is still open.
    pub fn line(&mut self, open: impl Fn() -> bool) -> TypedLine {
        loop {
            if !open() {
                return TypedLine::Withdrawn;
            }
            if let Some(line) = self.take() {
                let is_cut = line.len() >= LONGEST_TYPED && io::stdin().is_terminal();
                return if is_cut { TypedLine::Cut } else { TypedLine::Text(line) };
            }
            if self.ended {
                return TypedLine::End;
            }
            self.fill(LOOK_MS);
        }
    }

    fn take(&mut self) -> Option<String> {
        let end = self.read.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.read.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned())
    }

    /// Reads the incomplete line, which a terminal normally holds back until the line is complete; whether
    /// there was any.
    fn fill_unended(&mut self) -> bool {
        let stdin = io::stdin();
        // The system stops a background process that changes the terminal.
        if tcgetpgrp(&stdin).is_ok_and(|group| group != getpgrp()) {
            return false;
        }
        let Ok(kept) = tcgetattr(&stdin) else { return false };
        let mut open = kept.clone();
        open.local_flags.remove(LocalFlags::ICANON);
        if tcsetattr(&stdin, SetArg::TCSANOW, &open).is_err() {
            return false;
        }
        let was_ended = self.ended;
        let found = self.fill(0);
        // Without line editing, an empty read is not the end of input.
        self.ended = was_ended;
        // If this fails, there is no terminal anymore.
        let _ = tcsetattr(&stdin, SetArg::TCSANOW, &kept);
        found && !self.read.is_empty()
    }

    /// Reads the available input, waiting up to `wait` milliseconds; whether there was any.
    fn fill(&mut self, wait: u8) -> bool {
        let stdin = io::stdin();
        let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(wait)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return false,
            Err(_) => {
                self.ended = true;
                return false;
            }
            Ok(_) => {}
        }
        let mut bytes = [0; 4096];
        match nix::unistd::read(stdin.as_fd(), &mut bytes) {
            Ok(0) => self.ended = true,
            Ok(count) => self.read.extend(&bytes[..count]),
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => self.ended = true,
        }
        // Input without line breaks is not read endlessly.
        self.read.truncate(MOST);
        true
    }
}
