//! The agent: the implementation of `atoll relay`.
#![expect(clippy::disallowed_methods, reason = "forwards connections and runs programs inside a sandbox")]

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Caller;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;

use super::processes::{adopt_orphans, kill_marked};
use super::run::{OtherProcesses, command, exit_code, group_of, signal_group};
use super::{CALLED, Orders, Probe, RelayRequest, confined, piped, run_here, terminal, tunnels, wire};

const STOP_GRACE: Duration = Duration::from_millis(500);
const KILL_GRACE: Duration = Duration::from_millis(150);
const PIPED: &str = "=";
const FIRST_CALL: Duration = Duration::from_secs(20);
/// Most open files of a process in a sandbox.
const MOST_OPEN: u64 = 65_536;

/// Runs the agent with the arguments after `relay`: its orders as JSON; `+` to receive them over the first
/// connection; `-` to read one command from standard input and write its report to standard output; or `=`
/// and orders to run such a command with the output of the agent.
pub fn relay_main(arguments: &[String]) -> ExitCode {
    match prepare(arguments).and_then(|orders| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let code = runtime.block_on(async {
            match orders {
                Some(_) if arguments[0] == PIPED => piped::run().await,
                Some(PreparedRelay { orders, doors, caller }) => {
                    tunnels::open(doors)?;
                    serve(orders, caller).await
                }
                None => one_command().await,
            }
        });
        // A blocked read of standard input must not keep the program running.
        runtime.shutdown_background();
        code
    }) {
        Ok(code) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)),
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(io::stderr(), "atoll relay: {error}");
            ExitCode::from(127)
        }
    }
}

/// An agent that has applied its orders.
struct PreparedRelay {
    orders: Orders,
    doors: tunnels::BoundTunnels,
    /// Connection that sent the orders; `None` if they were on the command line.
    caller: Option<Caller>,
}

/// Applies the orders while there is only one thread.
fn prepare(arguments: &[String]) -> io::Result<Option<PreparedRelay>> {
    let (orders, caller): (Orders, _) = match arguments {
        [] => return Ok(None),
        [word] if word == "-" => return Ok(None),
        [word] if word == CALLED => {
            let (orders, caller) = called()?;
            (serde_json::from_slice(&orders)?, Some(caller))
        }
        [word, orders, ..] if word == PIPED => (serde_json::from_str(orders)?, None),
        [orders, ..] => (serde_json::from_str(orders)?, None),
    };
    let limits = orders.limits;
    let resources = [
        (Resource::RLIMIT_DATA, limits.memory),
        (Resource::RLIMIT_NPROC, limits.pids),
        (Resource::RLIMIT_FSIZE, limits.file),
        (Resource::RLIMIT_NOFILE, orders.confined.then_some(MOST_OPEN)),
        // Not 0, with which the kernel would still pass core dumps to a program of the machine.
        (Resource::RLIMIT_CORE, Some(1)),
    ];
    for (resource, limit) in resources {
        if let Some(limit) = limit {
            // Never raised, because only root may do that.
            let limit = limit.min(getrlimit(resource)?.1);
            setrlimit(resource, limit, limit)?;
        }
    }
    // While it may still use ports below 1024.
    let doors = tunnels::bind(&orders.doors)?;
    if orders.confined {
        confined::give_up_before()?;
    }
    if let Some(user) = orders.user {
        setgroups(&[])?;
        setgid(Gid::from_raw(user))?;
        setuid(Uid::from_raw(user))?;
    }
    if orders.confined {
        confined::give_up_rest()?;
    }
    Ok(Some(PreparedRelay { orders, doors, caller }))
}

/// Reads the orders from the first connection to the socket on standard input, and returns them with that
/// connection.
fn called() -> io::Result<(Vec<u8>, Caller)> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let listener = std::os::unix::net::UnixListener::from(socket);
    let patience = PollTimeout::try_from(FIRST_CALL).unwrap_or(PollTimeout::MAX);
    if poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], patience)? == 0 {
        return Err(late());
    }
    let (mut caller, _) = listener.accept()?;
    caller.set_read_timeout(Some(FIRST_CALL))?;
    let orders = wire::receive_blocking(&mut caller)?;
    caller.set_read_timeout(None)?;
    Ok((orders, caller))
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no client connected")
}

async fn one_command() -> io::Result<i64> {
    adopt_orphans();
    let mut input = tokio::io::stdin();
    let spec: super::ExecSpec = wire::receive_json(&mut input).await?;
    let spec = super::ExecSpec { stdin: wire::receive(&mut input).await?, ..spec };
    let mut byte = [0];
    let gone = async move {
        let _ = input.read(&mut byte).await;
    };
    let base = super::RelayProgram { cwd: ".".into(), ..super::RelayProgram::default() };
    let result = run_here(spec, &base, OtherProcesses::Nothing, gone).await;
    reply(&mut tokio::io::stdout(), result).await?;
    Ok(0)
}

async fn serve(orders: Orders, caller: Option<Caller>) -> io::Result<i64> {
    let listener = listen(&orders)?;
    let orders = Arc::new(orders);
    let mut keepalive = match caller {
        Some(caller) => {
            caller.set_nonblocking(true)?;
            let mut caller = UnixStream::from_std(caller)?;
            caller.write_all(b"+").await?;
            caller
        }
        None => timeout(FIRST_CALL, first_call(&listener)).await.map_err(|_| late())??,
    };
    let mut main = None;
    let mut ended = start_main(&orders, &mut main)?;
    let mut byte = [0];
    loop {
        tokio::select! {
            connection = listener.accept() => {
                let (connection, _) = connection?;
                let orders = orders.clone();
                tokio::spawn(async move { answer(connection, &orders).await });
            }
            code = &mut ended => return code,
            _ = keepalive.read(&mut byte) => break,
        }
    }
    signal_group(main, Signal::SIGTERM);
    let left = main.is_some() && timeout(STOP_GRACE, &mut ended).await.is_err();
    signal_group(main, Signal::SIGKILL);
    if left {
        // When the agent has ended, its program has ended as well.
        let _ = timeout(KILL_GRACE, ended).await;
    }
    Ok(0)
}

/// Waits for a client before any program runs.
async fn first_call(listener: &UnixListener) -> io::Result<UnixStream> {
    let (mut stream, _) = listener.accept().await?;
    match wire::receive_json(&mut stream).await? {
        RelayRequest::Keepalive => stream.write_all(b"+").await?,
        _ => return Err(io::Error::other("the first request must be `keepalive`")),
    }
    Ok(stream)
}

type ProgramEnd = std::pin::Pin<Box<dyn Future<Output = io::Result<i64>>>>;

/// Starts the main program, if there is one, and returns a future that resolves at its end.
fn start_main(orders: &Orders, group: &mut Option<nix::unistd::Pid>) -> io::Result<ProgramEnd> {
    let Some(program) = &orders.main else { return Ok(Box::pin(std::future::pending())) };
    let mut command = command(&program.argv)?;
    command.env_clear().envs(&program.env).current_dir(&program.cwd).stdin(Stdio::null());
    let named = |e: io::Error| io::Error::new(e.kind(), format!("cannot start {:?}: {e}", program.argv));
    let mut child = command.spawn().map_err(named)?;
    *group = group_of(&child);
    Ok(Box::pin(async move { Ok(exit_code(child.wait().await?)) }))
}

fn listen(orders: &Orders) -> io::Result<UnixListener> {
    if let Some(path) = &orders.listen {
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        return Ok(listener);
    }
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let listener = std::os::unix::net::UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

async fn answer(mut from: UnixStream, orders: &Orders) -> io::Result<()> {
    match wire::receive_json(&mut from).await? {
        RelayRequest::Keepalive => Err(io::Error::other("there is already a `keepalive` connection")),
        RelayRequest::Connect(port) => forward(from, port).await,
        RelayRequest::Exec(spec) => {
            let spec = super::ExecSpec { stdin: wire::receive(&mut from).await?, ..*spec };
            let (mut read, mut write) = from.into_split();
            let hung_up = async move {
                let _ = read.read(&mut [0]).await;
            };
            reply(&mut write, run_here(spec, &orders.session, OtherProcesses::Others, hung_up).await).await
        }
        RelayRequest::Terminal(spec) => terminal::serve(from, *spec, &orders.session).await,
        RelayRequest::Kill(mark) => {
            let _ = tokio::task::spawn_blocking(move || kill_marked(&mark)).await;
            from.write_all(b"+").await
        }
    }
}

async fn reply(
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    result: io::Result<super::ExecReport>,
) -> io::Result<()> {
    let result = result.map_err(|e| e.to_string());
    wire::send_json(to, &result).await?;
    if let Ok(report) = &result {
        wire::send(to, &report.stdout).await?;
        wire::send(to, &report.stderr).await?;
    }
    Ok(())
}

/// Connects like a client outside the container: 127.0.0.2 reaches a server that listens on all addresses,
/// but not one that listens only on 127.0.0.1.
async fn forward(mut from: UnixStream, port: u16) -> io::Result<()> {
    let Ok(mut to) = TcpStream::connect(("127.0.0.2", port)).await else {
        let local = TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        let probe = if local { Probe::LoopbackOnly } else { Probe::Refused };
        return from.write_all(&[probe.byte()]).await;
    };
    let _ = to.set_nodelay(true);
    from.write_all(&[Probe::Open.byte()]).await?;
    tokio::io::copy_bidirectional(&mut from, &mut to).await.map(drop)
}
