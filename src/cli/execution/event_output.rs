//! The destination of the events of a run.
#![expect(clippy::disallowed_methods, reason = "the door to the file that events are written to")]

use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::flags::RunFlags;
use super::progress_thread::EventOutput;
use crate::cli::error::CommandError;

/// The interval of checks for a reader of a pipe.
const READER: u32 = 100;
const LOOK: Duration = Duration::from_millis(50);

/// Opens the destination.
pub fn stream(flags: &RunFlags) -> Result<EventOutput, CommandError> {
    match &flags.execution.events {
        None => Ok(EventOutput::Nowhere),
        Some(path) if path.as_os_str() == "-" && flags.format.is_text() => Ok(EventOutput::Out),
        Some(path) if path.as_os_str() == "-" => {
            Err(CommandError::usage("`--events -` and the result cannot both be written to standard output")
                .hint("write the events to a file: `--events FILE`"))
        }
        Some(path) => open(path)
            .map(|file| EventOutput::File(BufWriter::new(file)))
            .map_err(|e| CommandError::usage(format!("--events {}: {e}", path.display()))),
    }
}

fn open(path: &Path) -> Result<File, String> {
    let is_pipe = std::fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo());
    if !is_pipe {
        return File::create(path).map_err(|e| e.to_string());
    }
    // Opening a pipe would block until there is a reader.
    for _ in 0..READER {
        let mut options = OpenOptions::new();
        match options.write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path) {
            Ok(file) => {
                fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).map_err(|e| e.to_string())?;
                return Ok(file);
            }
            Err(e) if e.raw_os_error() != Some(nix::errno::Errno::ENXIO as i32) => return Err(e.to_string()),
            Err(_) => std::thread::sleep(LOOK),
        }
    }
    Err("no process reads this pipe".to_owned())
}
