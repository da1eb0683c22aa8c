# Atoll with its process sandbox. It takes static binaries that are built already, one for each architecture:
#
#   cargo build --locked --release --bin atoll --target x86_64-unknown-linux-musl
#   install -D target/x86_64-unknown-linux-musl/release/atoll target/image/amd64/atoll
#   docker build --tag atoll .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" atoll check factory
#
# `shell`, `http` and `llm` need nothing more. The sandbox makes namespaces of its own, which Docker allows with
# `--security-opt seccomp=unconfined --security-opt systempaths=unconfined` (and `apparmor=unconfined` on Ubuntu).
# `--runtime docker` does not work in it, because the daemon of the host does not see the files of this container.
ARG BASE=debian:12-slim
FROM ${BASE}

RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*

COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/atoll/
ARG TARGETARCH=amd64
COPY target/image/${TARGETARCH}/atoll /usr/local/bin/atoll

WORKDIR /work
ENTRYPOINT ["atoll"]
CMD ["--help"]
