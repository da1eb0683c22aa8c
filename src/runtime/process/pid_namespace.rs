//! The first process of the process namespace of a sandbox: when it has ended, all processes of the sandbox
//! have.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::rooted_fs::blocking;

/// How long to wait for the end of all processes of a sandbox.
const PATIENCE: Duration = Duration::from_secs(10);

/// A handle of process 1 in a namespace. The system ends that process last.
pub(super) struct FirstProcess(OwnedFd);

impl FirstProcess {
    /// The first process of the sandbox that the bubblewrap process `bwrap` has started, while both run.
    pub(super) fn of(bwrap: u32) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the sandbox has no process");
        let child = super::disk::first_process_below(bwrap).ok_or_else(gone)?;
        let handle = pidfd_open(Pid::from_raw(child).ok_or_else(gone)?, PidfdFlags::empty())?;
        // The process id may have been reused by a process in another namespace meanwhile.
        if super::disk::first_process_below(bwrap) != Some(child) {
            return Err(gone());
        }
        Ok(Self(handle))
    }

    /// Ends all processes of the namespace and waits for that.
    pub(super) async fn end(&self) -> io::Result<()> {
        let handle = self.0.try_clone()?;
        blocking(move |_| {
            let _ = pidfd_send_signal(&handle, Signal::KILL);
            let patience = Timespec::try_from(PATIENCE).ok();
            // The handle becomes readable when the process has ended.
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
