//! The first process of a sandbox's own process namespace: once it is gone, all processes of the sandbox are.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::rooted_fs::blocking;

/// How long the system may take to end all processes of a sandbox.
const PATIENCE: Duration = Duration::from_secs(10);

/// A handle of the process with number 1 in a namespace. The system ends that process last: its end is the end of all.
pub(super) struct FirstProcess(OwnedFd);

impl FirstProcess {
    /// The one that bubblewrap, with the process number `bwrap`, has started, as long as both run.
    pub(super) fn of(bwrap: u32) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the sandbox has no process");
        let child = super::disk::first_process_below(bwrap).ok_or_else(gone)?;
        let handle = pidfd_open(Pid::from_raw(child).ok_or_else(gone)?, PidfdFlags::empty())?;
        // The number may have been given to another process in the meantime, which would stand elsewhere.
        if super::disk::first_process_below(bwrap) != Some(child) {
            return Err(gone());
        }
        Ok(Self(handle))
    }

    /// Ends all processes of the namespace and waits until they are gone.
    pub(super) async fn end(&self) -> io::Result<()> {
        let handle = self.0.try_clone()?;
        blocking(move |_| {
            let _ = pidfd_send_signal(&handle, Signal::KILL);
            let patience = Timespec::try_from(PATIENCE).ok();
            // It can be read once the process has ended.
            match poll(&mut [PollFd::new(&handle, PollFlags::IN)], patience.as_ref())? {
                0 => {
                    let text = format!("its processes did not end within {PATIENCE:?}");
                    Err(io::Error::new(io::ErrorKind::TimedOut, text))
                }
                _ => Ok(()),
            }
        })
        .await
    }
}
