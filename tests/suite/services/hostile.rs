//! Hostile programs in builds and services: nothing outside changes, nothing hangs, and their failures are
//! observations, never failures of the run.
#![expect(clippy::disallowed_methods, reason = "tests write files and measure time")]

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use super::*;

/// Result of a program: whether it was built, whether it is up, and why not. A failure of the run fails the
/// test.
async fn fate(house: &House, dockerfile: &str, timeout: Duration) -> (bool, bool, String) {
    let files = [("Dockerfile", dockerfile), ("f", "content"), ("d/e/g", "deeper"), ("app.py", SERVER)];
    let options = BuildOptions { timeout, ..house.options() };
    let begun = Instant::now();
    let built = house.build_with(&files, &options).await.unwrap_or_else(|e| panic!("{dockerfile:.300}: {e}"));
    assert!(begun.elapsed() < Duration::from_secs(60), "{dockerfile:.300}");
    let Some(image) = built.image else {
        return (false, false, built.reason.unwrap_or_default());
    };
    let spec = ServiceSpec { within: Duration::from_secs(5), ..ServiceSpec::new(image, house.tag()) };
    let running = house.runtimes.start(&spec).await.unwrap_or_else(|e| panic!("{dockerfile:.300}: {e}"));
    let end = (true, running.is_up(), running.reason().unwrap_or_default() + &running.log().tail(2_000));
    house.runtimes.stop(&running).await;
    end
}

const UP: &str = "CMD [\"python3\", \"/app.py\"]\n";

fn built(house: &House, rest: &str) -> String {
    house.dockerfile(&format!("COPY app.py /app.py\n{rest}\n{UP}"))
}

async fn what_a_program_breaks_is_its_own(kind: RuntimeKind) {
    let Some(house) = house(kind, "what_a_program_breaks_is_its_own").await else { return };
    let deep = r#"RUN python3 -c "import os;[(os.mkdir('d'),os.chdir('d')) for i in range(3000)]""#;
    // Instructions, and whether the service is ready in a sandbox.
    let cases = [
        ("RUN chmod 000 /", false),
        ("RUN rm -rf --no-preserve-root / 2>/dev/null; true", false),
        ("RUN mkdir /app && mkfifo /app/f\nCOPY f /app/f", true),
        ("RUN mkfifo /v\nCOPY d /v/d", false),
        ("RUN mkfifo /v\nWORKDIR /v", false),
        ("RUN mkdir /app && mkfifo /app/p && ln -s /etc/shadow /app/l", true),
        ("RUN ln -s / /app\nCOPY f /app/new", false),
        ("RUN mkdir /app && ln /app.py /app/hard && chmod 6755 /app.py\nCOPY f /app/hard", true),
        ("RUN mkdir /app && truncate -s 900M /app/sparse", true),
        (deep, true),
        ("RUN mkdir /app && cd /app && touch \"$(printf 'a\\nb')\" \"$(printf '\\377')\"", true),
        ("WORKDIR /app.py/x", false),
        ("COPY d /app.py/x", false),
        ("COPY f /app/../../../../../../etc/motd", true),
        (
            "COPY f /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            false,
        ),
    ];
    for (rest, comes_up) in cases {
        let (made, up, why) = fate(&house, &built(&house, rest), Duration::from_secs(60)).await;
        assert!(up || !why.is_empty(), "{rest:.80}");
        // In a container root has more rights, and links inside are followed.
        assert!(kind == RuntimeKind::Docker || up == comes_up, "{rest:.80}: built {made}: {why}");
    }
}

/// Only in a sandbox: in a container, the system files belong to the image, and root can write to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_that_its_program_breaks_is_an_observation() {
    let Some(house) = house(RuntimeKind::Process, "a_sandbox_that_its_program_breaks").await else { return };
    let cases = [
        ("RUN ln -sf /dev/zero /etc/passwd", true, ""),
        ("RUN rm /etc/passwd && mkfifo /etc/passwd", true, ""),
        ("RUN rm /etc/passwd && mkdir /etc/passwd", false, "is a directory"),
        ("RUN mkdir -p /x && ln -s /x /etc/passwd.d && mv /etc /y && ln -s /x /etc", false, ""),
        ("RUN rm -rf /proc /dev /tmp; touch /proc /dev /tmp; true", true, ""),
        ("RUN kill -9 -1", false, "ended its own sandbox"),
        ("RUN chmod 000 /\nRUN true", false, "line 5: the command cannot be started"),
        ("RUN chmod 000 /\nCOPY f /new", false, ""),
    ];
    for (rest, may_come_up, words) in cases {
        let (_, up, why) = fate(&house, &built(&house, rest), Duration::from_secs(60)).await;
        assert_eq!(up, may_come_up, "{rest}: {why}");
        assert!(why.contains(words), "{rest}: {why}");
    }
    // The agent in the sandbox is stopped as well, so only the time limit of the build ends it.
    let late = fate(&house, &built(&house, "RUN kill -STOP -1; sleep 1000"), Duration::from_secs(3)).await;
    assert_eq!(late, (false, false, "the build did not finish within 3s".to_owned()));
    let left = std::fs::read_dir(house.data.path().join("process/builds")).unwrap().count();
    assert_eq!(left, 0, "builds leave no files");
    let left = std::fs::read_dir(house.data.path().join("process/live")).unwrap().count();
    assert_eq!(left, 0, "services leave no files");
}

async fn what_a_dockerfile_expands_to_is_bounded(kind: RuntimeKind) {
    let Some(house) = house(kind, "what_a_dockerfile_expands_to_is_bounded").await else { return };
    let doubled =
        |line: &str| house.dockerfile(&format!("ENV A=xxxxxxxxxxxxxxxx\n{}", format!("{line}\n").repeat(36)));
    let long = house.dockerfile(&format!("ENV A={}\n", "x".repeat(40_000)));
    let mut many = house.dockerfile("");
    for n in 0..300_000 {
        writeln!(many, "ENV A{n}=1").unwrap();
    }
    let bombs = [
        doubled("ENV A=$A$A"),
        doubled("ARG A=$A$A"),
        doubled("ENV B=$A$A\nENV A=$B"),
        doubled("LABEL a=$A\nENV A=${A:-1}${A}"),
        format!("{long}WORKDIR /$A$A$A\n"),
        format!("{long}COPY $A$A$A /x\n"),
        format!("{long}LABEL x=$A$A$A\n"),
        many,
        house.dockerfile(&format!("CMD [\"{}\"]\n", "x".repeat(3_000_000))),
        house.dockerfile(&format!("CMD [{}\"x\"]\n", "\"xxxxxxxxxxxxxxx\", \\\n".repeat(9_000))),
        house.dockerfile(&"COPY f /x\n".repeat(2_000)),
    ];
    for bomb in &bombs {
        let begun = Instant::now();
        let (built, _, why) = fate(&house, bomb, Duration::from_secs(60)).await;
        assert!(!built && (why.contains("bytes") || why.contains("instructions")), "{bomb:.200}: {why}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{bomb:.200}");
    }
    let odd = house.build(&[("Dockerfile", "FROM x\n\0\n")]).await;
    assert!(!odd.ok, "{odd:?}");
    let ignore = "**/a*b*c*d*e*f\n".repeat(2_000);
    let files = [("Dockerfile", "FROM python:3.12-slim\n"), (".dockerignore", &ignore)];
    assert!(house.build(&files).await.reason.unwrap().contains("line 1001 of .dockerignore"));
}

async fn words_of_a_program_are_not_taken_for_the_machines(kind: RuntimeKind) {
    let Some(house) = house(kind, "words_of_a_program").await else { return };
    let told = "RUN echo 'write /x: no space left on device' >&2; echo \"ModuleNotFoundError: No module named 'json'\" >&2; exit 3\n";
    let built = house.build(&[("Dockerfile", &house.dockerfile(told))]).await;
    assert_eq!((built.ok, built.exit_code), (false, Some(3)), "{}", built.log);
    for rest in ["FLY dial tcp: i/o timeout\n", "COPY \"dial tcp no such host\" /x\n"] {
        let built = house.build(&[("Dockerfile", &house.dockerfile(rest))]).await;
        assert!(!built.ok && built.reason.is_some(), "{rest}");
    }
    for broken in [
        "FROM scratch\nCOPY f /f\n".to_owned(),
        house.dockerfile("CMD [\"no space left on device\"]\n"),
        house.dockerfile("CMD [\"\"]\n"),
        house.dockerfile("ENTRYPOINT [\"/etc/passwd\"]\n"),
        house.dockerfile("USER nobodyhere\nCMD [\"false\"]\n"),
    ] {
        let (made, up, why) = fate(&house, &broken, Duration::from_secs(60)).await;
        assert!(made && !up && !why.is_empty(), "{broken}: {why}");
    }
}

macro_rules! both {
    ($($story:ident)*) => {
        mod docker {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() { super::$story(super::RuntimeKind::Docker).await; })*
        }
        mod process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() { super::$story(super::RuntimeKind::Process).await; })*
        }
    };
}

both! {
    what_a_program_breaks_is_its_own
    what_a_dockerfile_expands_to_is_bounded
    words_of_a_program_are_not_taken_for_the_machines
}

/// A daemon of a command, without its environment and session, that repeatedly swaps a directory for a link
/// to a directory of this machine, and a file for a pipe.
const SWAPPER: &str = r#"
import os, sys, time
canary, mark = sys.argv[1:3]
os.makedirs("/app/d", exist_ok=True)
os.symlink(canary, "/app/link")
open("/app/ready", "w").close()
while True:
    try:
        os.rename("/app/d", "/app/spare"); os.rename("/app/link", "/app/d")
        os.rename("/app/d", "/app/link"); os.rename("/app/spare", "/app/d")
        os.path.exists("/app/f") or os.mkfifo("/app/f")
    except OSError: pass
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_command_leaves_behind_sees_no_other_instruction() {
    let Some(house) = house(RuntimeKind::Process, "what_a_command_leaves_behind").await else { return };
    let outside = tempfile::tempdir().unwrap();
    let canary = outside.path().join("canary");
    std::fs::create_dir(&canary).unwrap();
    std::fs::write(canary.join("run.sh"), "untouched").unwrap();
    for path in [outside.path(), &canary, &canary.join("run.sh")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    for turn in 0..3 {
        let mark = format!("swapper-{}-{turn}", std::process::id());
        let swap = format!(
            "env -i setsid /usr/bin/python3 /app/swap.py {} {mark} >/dev/null 2>&1 &",
            canary.display()
        );
        let dockerfile = house.dockerfile(&format!(
            "WORKDIR /app\nCOPY swap.py /app/swap.py\n\
             RUN {swap} while ! test -e /app/ready; do sleep 0.05; done; mkfifo /app/f; true\n\
             COPY run.sh /app/d/run.sh\nCOPY run.sh /app/f\nCOPY many /app/d\nRUN sleep 0.2\nCOPY many /app/d\n",
        ));
        let many: Vec<String> = (0..200).map(|n| format!("many/{n}")).collect();
        let mut files =
            vec![("Dockerfile", dockerfile.as_str()), ("swap.py", SWAPPER), ("run.sh", "#!/bin/sh\n")];
        files.extend(many.iter().map(|path| (path.as_str(), "x")));
        // By chance, there may be a link when the command ends: then the build reports it.
        let built = house.build(&files).await;
        let why = built.reason.unwrap_or_default();
        assert!(built.ok || why.contains("symbolic link"), "{why}\n{}", built.log);
        assert_eq!(processes_with(&mark), Vec::<String>::new());
        assert_eq!(std::fs::read_to_string(canary.join("run.sh")).unwrap(), "untouched");
        assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 1);
        assert_eq!(std::fs::metadata(canary.join("run.sh")).unwrap().permissions().mode() & 0o777, 0o777);
    }
}

/// While bubblewrap creates mount points, it sees the whole machine as `/oldroot`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_at_the_places_of_mounts_lead_nowhere() {
    let Some(house) = house(RuntimeKind::Process, "links_at_the_places_of_mounts").await else { return };
    let outside = tempfile::tempdir().unwrap();
    std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let to = format!("/oldroot{}", outside.path().display());
    let cases = [
        format!("RUN mv /etc /y && ln -s {to} /etc\nRUN true"),
        format!("RUN mv /etc /y && ln -s {to} /etc"),
        format!("COPY f /usr/local/f\nRUN mv /usr/local /usr/y && ln -s {to} /usr/local\nRUN true"),
        format!(
            "COPY f /usr/local/f\nRUN rm -rf /usr/local/share; ln -s {to} /usr/local/share; ln -s {to}/file /usr/local/new\nRUN true"
        ),
    ];
    for rest in &cases {
        let (_, up, why) = fate(&house, &built(&house, rest), Duration::from_secs(60)).await;
        assert!(up || !why.is_empty(), "{rest}");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "{rest}: {why}");
    }
    let blocked = fate(&house, &built(&house, &cases[0]), Duration::from_secs(60)).await;
    assert!(!blocked.0 && blocked.2.contains("symbolic link"), "{blocked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_of_a_build_finds_processes_of_another() {
    let Some(house) = house(RuntimeKind::Process, "no_command_of_a_build_finds").await else { return };
    let nap = format!("86{}", std::process::id());
    let leave = format!(
        "RUN env -i setsid sleep {nap} & (setsid sh -c 'trap \"\" TERM HUP INT; sleep {nap}' &) ; true\n"
    );
    let look = "RUN ls /proc | grep -c '^[0-9]' ; cat /proc/[0-9]*/cmdline | tr '\\0' ' '\n";
    let built = house.build(&[("Dockerfile", &house.dockerfile(&format!("{leave}{look}")))]).await;
    assert!(built.ok, "{}", built.log);
    let seen = built.log.rsplit("RUN ls").next().unwrap();
    assert!(!seen.contains(&format!("sleep {nap}")), "{}", built.log);
    assert_eq!(processes_with(&nap), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_build_ends_at_once_and_leaves_nothing() {
    let Some(house) = house(RuntimeKind::Process, "a_cancelled_build").await else { return };
    let nap = format!("87{}", std::process::id());
    let options = house.options();
    let dockerfile =
        house.dockerfile(&format!("RUN (setsid sleep {nap} &); trap '' TERM INT; sleep {nap}\n"));
    let files = [("Dockerfile", dockerfile.as_str())];
    let build = house.build_with(&files, &options);
    let cancel = async {
        let deadline = Instant::now() + Duration::from_secs(20);
        while processes_with(&nap).is_empty() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        options.cancel.cancel();
        Instant::now()
    };
    let (ended, cancelled) = tokio::join!(build, cancel);
    assert_eq!(ended.unwrap_err().class, Class::Cancelled);
    assert!(cancelled.elapsed() < Duration::from_secs(5), "{:?}", cancelled.elapsed());
    assert_eq!(processes_with(&nap), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(house.data.path().join("process/builds")).unwrap().count(), 0);
}
