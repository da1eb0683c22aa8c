//! Starts programs from a thread that lives as long as this process: a child with a parent-death signal
//! dies with the thread that started it, and threads of an async runtime may end.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

type SpawnJob = (Command, Handle, oneshot::Sender<io::Result<Child>>);

/// Starts `command`.
pub async fn spawn(command: Command) -> io::Result<Child> {
    static THREAD: OnceLock<Sender<SpawnJob>> = OnceLock::new();
    let thread = THREAD.get_or_init(|| {
        let (jobs, queue) = channel::<SpawnJob>();
        std::thread::spawn(move || {
            for (mut command, runtime, reply) in queue {
                let _inside = runtime.enter();
                let _ = reply.send(command.spawn());
            }
        });
        jobs
    });
    let (reply, child) = oneshot::channel();
    let gone = || io::Error::other("the thread that starts programs has ended");
    thread.send((command, Handle::current(), reply)).map_err(|_| gone())?;
    child.await.map_err(|_| gone())?
}
