//! The memory limit that the agent in a sandbox sets for itself and its children if there is no control
//! group.
#![expect(clippy::disallowed_methods, reason = "starts an agent and waits for its socket")]

use std::process::Stdio;
use std::time::Duration;

use atoll::relay::{self, ENVIRONMENT, ExecSpec, Limits, Orders, RelayProgram, WORD};
use tokio::process::Command;
use tokio::time::sleep;

const MOST: u64 = 64 << 20;

/// The agent itself works within the limit, including its threads, and a command cannot exceed it.
#[tokio::test]
async fn an_agent_works_within_the_memory_that_it_limits() {
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("agent");
    let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into();
    let orders = Orders {
        listen: Some(socket.clone()),
        limits: Limits { memory: Some(MOST), ..Limits::default() },
        session: RelayProgram { argv: Vec::new(), env, cwd: "/".into() },
        ..Orders::default()
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
    command.arg(WORD).arg(serde_json::to_string(&orders).unwrap()).env_clear().envs(ENVIRONMENT);
    let _agent = command.stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let _lifeline = loop {
        match relay::keepalive(&socket).await {
            Ok(lifeline) => break lifeline,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    };
    let line = |line: &str| ExecSpec::shell(line, Duration::from_secs(30));
    // Several at once, so that the agent has threads.
    let several = (0..8).map(|_| relay::exec(&socket, line("env; ulimit -d")));
    for ran in futures_util::future::join_all(several).await {
        let ran = ran.unwrap().unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        assert_eq!(ran.exit_code, Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
        assert!(said.ends_with(&format!("\n{}\n", MOST >> 10)), "{said}");
        assert!(!said.contains("MIMALLOC"), "its children have another environment: {said}");
    }
    relay::kill(&socket, "none").await.unwrap();
    let within = relay::exec(&socket, line("python3 -c 'bytearray(8 << 20)'")).await.unwrap().unwrap();
    assert_eq!(within.exit_code, Some(0), "{}", String::from_utf8_lossy(&within.stderr));
    let beyond = relay::exec(&socket, line("python3 -c 'bytearray(100 << 20)'")).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&beyond.stderr).contains("MemoryError"), "{:?}", beyond.exit_code);
}
