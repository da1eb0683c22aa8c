//! Builds of Dockerfiles with Docker.
#![expect(clippy::disallowed_methods, reason = "tests write files and measure time")]

use std::time::Instant;

use serde_json::{Value, json};

use super::*;

/// Configuration of an image.
fn config(image: &str) -> Value {
    serde_json::from_str(&docker(&["image", "inspect", "--format", "{{json .Config}}", image])).unwrap()
}

/// Output of a shell in a container of the image.
fn within(image: &str, line: &str) -> String {
    docker(&["run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", image, "-c", line])
}

/// An archive with one file, packed.
fn packed(name: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(name), "from an archive").unwrap();
    let archive = dir.path().join("x.tar.gz");
    let mut tar = Command::new("tar");
    tar.args(["-czf", archive.to_str().unwrap(), "-C", dir.path().to_str().unwrap(), name]);
    assert!(tar.status().unwrap().success());
    std::fs::read(archive).unwrap()
}

async fn build(house: &House, files: &[(&str, &[u8])], options: &BuildOptions) -> BuildReport {
    let blobs = MemoryBlobs::default();
    let mut tree = Tree::new();
    for (path, bytes) in files {
        tree.put(&blobs, path, bytes).unwrap();
    }
    house.runtimes.build(&tree, Arc::new(blobs), options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_instruction_means_what_it_means_to_docker() {
    let Some(house) = house(RuntimeKind::Docker, "every_instruction_means").await else { return };
    let text = format!(
        r#"ARG BASE=busybox:latest
ARG WORD=outside
FROM $BASE AS tools
RUN mkdir -p /out/deep/er /out/empty && echo one > /out/deep/er/one.txt && echo two > /out/two.bin && chmod 750 /out/two.bin
RUN ln -s deep/er/one.txt /out/link && ln /out/two.bin /out/hard && mkdir -p /etc && echo app:x:1234:1234::/:/bin/sh >> /etc/passwd

FROM busybox:latest AS unused
RUN exit 99

FROM tools
LABEL atoll.run={} two="a b"
ARG WORD
ARG SAID=unsaid
ENV A=1 B="two words" C=$WORD-${{A:-x}}
ENV A=2 D=$A
WORKDIR /srv
WORKDIR app
COPY . .
COPY --chown=app:1234 --chmod=640 a.txt "with space/"  owned/
COPY --from=tools /out /all
COPY --from=0 /out/two.bin renamed
COPY --from=tools /out/deep/er/*.txt /out/link picked/
ADD x.tar.gz /unpacked/
ADD b.txt c.gz ./added/
SHELL ["/bin/sh", "-ec"]
RUN echo "$SAID $WORD $A" > /said; test -z "$NOTHING"
RUN ["/bin/sh", "-c", "echo exec $SAID >> /said"]
USER app
RUN id -u > /tmp/who && pwd >> /tmp/who
EXPOSE 8080 53/udp
VOLUME /data
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD ["true"]
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["cat /said"]
"#,
        house.run
    );
    let archive = packed("inner.txt");
    let files: [(&str, &[u8]); 7] = [
        ("Dockerfile", text.as_bytes()),
        (".dockerignore", b"Dockerfile\n.dockerignore\nx.tar.gz\n!x.tar.gz\n"),
        ("a.txt", b"a"),
        ("with space/s.txt", b"s"),
        ("b.txt", b"b"),
        ("c.gz", b"\x1f\x8bno archive"),
        ("x.tar.gz", &archive),
    ];
    let text = text.replace("\"with space/\"  owned/", "b.txt owned/");
    let mut files = files;
    files[0].1 = text.as_bytes();
    let args = [("SAID", "it's said"), ("HTTP_PROXY", "http://proxy")];
    let options = BuildOptions {
        args: args.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..house.options()
    };
    let built = build(&house, &files, &options).await;
    assert!(built.ok, "{}", built.log);
    assert!(
        built.log.contains("base image busybox:latest: replaced by atoll/busybox:latest"),
        "{}",
        built.log
    );
    assert!(!built.log.contains("exit 99"), "{}", built.log);
    let image = built.image.unwrap();
    let said = |line: &str| within(&image, line);
    assert_eq!(said("cat /said"), "it's said outside 2\nexec it's said");
    assert_eq!(said("cat /tmp/who; pwd"), "1234\n/srv/app\n/srv/app");
    assert_eq!(
        said("ls /srv/app"),
        "a.txt\nadded\nb.txt\nc.gz\nowned\npicked\nrenamed\nwith space\nx.tar.gz"
    );
    assert_eq!(said("stat -c '%u:%g %a' owned owned/a.txt a.txt"), "1234:1234 755\n1234:1234 640\n0:0 644");
    assert_eq!(
        said("find /all | sort"),
        "/all\n/all/deep\n/all/deep/er\n/all/deep/er/one.txt\n/all/empty\n/all/hard\n/all/link\n/all/two.bin"
    );
    assert_eq!(said("stat -c '%a %h' /all/two.bin; readlink /all/link"), "750 2\ndeep/er/one.txt");
    assert_eq!(said("stat -c '%s' renamed; cat picked/one.txt picked/link"), "4\none\none");
    assert_eq!(said("cat /unpacked/inner.txt; ls added"), "from an archiveb.txt\nc.gz");
    let known = config(&image);
    let env: Vec<&str> = known["Env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let env: Vec<&str> = env.into_iter().filter(|pair| !pair.starts_with("PATH=")).collect();
    assert_eq!(env, ["A=2", "B=two words", "C=outside-x", "D=1"], "no build argument stays");
    assert_eq!((&known["Entrypoint"], &known["Cmd"]), (&json!(["/bin/sh", "-c"]), &json!(["cat /said"])));
    assert_eq!((&known["User"], &known["WorkingDir"]), (&json!("app"), &json!("/srv/app")));
    assert_eq!(known["ExposedPorts"], json!({"53/udp": {}, "8080/tcp": {}}));
    assert_eq!((&known["Volumes"], &known["StopSignal"]), (&json!({"/data": {}}), &json!("SIGINT")));
    assert_eq!(known["Healthcheck"]["Test"], json!(["CMD", "true"]));
    assert_eq!((&known["Labels"]["two"], &known["Shell"]), (&json!("a b"), &json!(["/bin/sh", "-ec"])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_from_nothing_has_nothing_that_it_was_not_given() {
    let Some(house) = house(RuntimeKind::Docker, "an_image_from_nothing").await else { return };
    let text = format!(
        "FROM busybox:latest AS b\nFROM scratch\nLABEL atoll.run={}\nCOPY --from=b /bin /bin\nRUN [\"/bin/sh\", \"-c\", \"echo x > /x\"]\n",
        house.run
    );
    let built = house.build(&[("Dockerfile", &text)]).await;
    assert!(built.ok, "{}", built.log);
    let image = built.image.unwrap();
    let known = config(&image);
    let is_empty = |value: &Value| value.is_null() || *value == json!([]);
    assert!(is_empty(&known["Entrypoint"]) && is_empty(&known["Cmd"]), "{known}");
    assert_eq!(within(&image, "cat /x"), "x");
    // Instructions of an image for images that are built from it.
    let text = format!("FROM busybox:latest\nLABEL atoll.run={}\nONBUILD RUN echo made > /made\n", house.run);
    let parent = house.build(&[("Dockerfile", &text)]).await.image.unwrap();
    let built = house.build(&[("Dockerfile", &format!("FROM {parent}\nRUN cat /made\n"))]).await;
    assert!(built.ok && built.log.contains("\nmade\n"), "{}", built.log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unchanged_is_not_done_again() {
    let Some(house) = house(RuntimeKind::Docker, "what_is_unchanged").await else { return };
    let text = house.dockerfile(
        "COPY a.txt .\nRUN cat /proc/sys/kernel/random/uuid > /first\nCOPY b.txt .\nRUN cat /proc/sys/kernel/random/uuid > /second\nCMD [\"x\"]\n",
    );
    let make = async |a: &str, b: &str, text: &str| {
        let built = house.build(&[("Dockerfile", text), ("a.txt", a), ("b.txt", b)]).await;
        assert!(built.ok, "{}", built.log);
        let image = built.image.unwrap();
        let (first, second) = (within(&image, "cat /first"), within(&image, "cat /second"));
        (image, first, second)
    };
    let (image, first, second) = make("1", "1", &text).await;
    assert_eq!(make("1", "1", &text).await, (image, first.clone(), second.clone()));
    let (_, same, other) = make("1", "2", &text).await;
    assert!(same == first && other != second, "only the layers after the change are rebuilt");
    let (_, other, _) = make("2", "1", &text).await;
    assert_ne!(other, first);
    let changed = text.replace("CMD [\"x\"]", "ENV E=1\nCMD [\"y\"]");
    let (image, same, again) = make("1", "1", &changed).await;
    assert_eq!((same, again, &config(&image)["Cmd"]), (first, second, &json!(["y"])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_builds_have_limits_and_leave_nothing() {
    let Some(house) = house(RuntimeKind::Docker, "commands_of_builds_have_limits").await else { return };
    let label = format!("label=atoll.run={}", house.run);
    let containers = || docker(&["ps", "--all", "--quiet", "--filter", &label]);
    let small = BuildOptions { memory: 64 << 20, disk: 64 << 20, ..house.options() };
    let eat = "RUN python3 -c \"x = b'x' * (400 << 20)\"\n";
    let write = "RUN dd if=/dev/zero of=/big bs=1M count=4000\n";
    let twice = "RUN dd if=/dev/zero of=/a bs=1M count=40\nRUN dd if=/dev/zero of=/b bs=1M count=40\n";
    let spread = "RUN for n in $(seq 2000); do sleep 60 & done; wait\n";
    for (rest, words) in [(eat, "64 MiB of memory"), (write, "MiB"), (twice, "MiB"), (spread, "exit code")] {
        let files = [("Dockerfile", house.dockerfile(rest))];
        let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
        let options = BuildOptions { timeout: Duration::from_secs(60), ..small.clone() };
        let built = house.build_with(&files, &options).await.unwrap();
        let why = built.reason.unwrap_or_default();
        assert!(!built.ok && (why.contains(words) || rest == spread), "{rest}: {why}\n{}", built.log);
        assert_eq!(containers(), "", "{rest}");
    }
    let unreached =
        house.dockerfile("RUN python3 -c \"import urllib.request as u; u.urlopen('http://a.example')\"\n");
    let why = house.build(&[("Dockerfile", &unreached)]).await.reason.unwrap();
    assert!(why.contains("exit code 1; commands of a build have no network"), "{why}");
    // After a timeout or a cancellation, the container and its processes end at once.
    let nap = format!("88{}", std::process::id());
    let sleeps = house.dockerfile(&format!("RUN (setsid sleep {nap} &); trap '' TERM; sleep {nap}\n"));
    let options = BuildOptions { timeout: Duration::from_secs(3), ..house.options() };
    let late = house.build_with(&[("Dockerfile", &sleeps)], &options).await.unwrap();
    assert_eq!(late.reason.as_deref(), Some("the build did not finish within 3s"));
    assert_eq!((containers(), processes_with(&nap)), (String::new(), Vec::<String>::new()));
    let options = house.options();
    let files = [("Dockerfile", sleeps.as_str())];
    let cancel = async {
        let deadline = Instant::now() + Duration::from_secs(20);
        while processes_with(&nap).is_empty() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        options.cancel.cancel();
    };
    let (ended, ()) = tokio::join!(house.build_with(&files, &options), cancel);
    assert_eq!(ended.unwrap_err().class, Class::Cancelled);
    assert_eq!((containers(), processes_with(&nap)), (String::new(), Vec::<String>::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_build_cannot_do_is_said_with_its_line() {
    let Some(house) = house(RuntimeKind::Docker, "what_a_build_cannot_do").await else { return };
    let cases = [
        ("FROM busybox:latest\nRUN --mount=type=cache,target=/x true\n", "line 2: options of RUN"),
        ("FROM busybox:latest\nADD https://a.example/x /x\n", "line 2: ADD can use only files of the tree"),
        ("FROM busybox:latest\nCOPY --from=nothing /x /x\n", "line 2: unknown stage or image `nothing`"),
        (
            "FROM busybox:latest AS a\nFROM busybox:latest\nCOPY --from=a /none /x\n",
            "line 3: the image has no `/none`",
        ),
        (
            "FROM busybox:latest\nCOPY --chown=nobodyhere a /x\n",
            "line 2: the image has no `nobodyhere` in /etc/passwd",
        ),
        ("FROM busybox:latest\nWORKDIR /etc/passwd\nRUN true\n", "/etc/passwd"),
        ("FROM --platform=linux/s390x busybox:latest\n", "line 1: `atoll/busybox:latest` is an image for"),
        ("FROM scratch\nRUN true\n", "line 2: cannot start a command"),
        ("FROM busybox:latest\nUSER nobodyhere\nRUN true\n", "line 3: cannot start a command"),
        ("FROM busybox:latest\nEXPOSE many\n", "line 2: `many` is not a port"),
    ];
    for (text, words) in cases {
        let built = house.build(&[("Dockerfile", text), ("a", "a")]).await;
        let why = built.reason.unwrap_or_default();
        assert!(!built.ok && why.contains(words), "{text}: {why}");
    }
}
