# The host in a container: docs/operating.md, "In a container". Needs Docker 25 (`--start-interval`, BuildKit).

# What rust-toolchain.toml names, so that rustup fetches nothing. A test of xtask compares them.
ARG RUST_VERSION=1.95.0

FROM rust:${RUST_VERSION}-bookworm AS build
# `make` builds jemalloc; images with this name are not all alike. Python and npm make and fetch the runners.
RUN apt-get update && apt-get install -y --no-install-recommends make npm python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The folders of the cache outlive the image, so that dependencies are compiled once. Cargo judges by file times, which
# say nothing between two checkouts: what our own crates left there goes first.
RUN --mount=type=cache,id=mortise-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=mortise-target,target=/src/target,sharing=locked \
    --mount=type=cache,id=mortise-runners,target=/root/.cache/mortise,sharing=locked \
    cargo clean --release --workspace --locked \
    && cargo xtask runners \
    && strip -o /mortise target/release/mortise \
    && cp -r target/runners /runners

FROM debian:bookworm-slim
# The authorities that a host trusts when it fetches plugins, or meets a broker with a public certificate.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY LICENSE /usr/share/doc/mortise/LICENSE
# The reference host's programs are links: the binary looks at the name that it is called by. A portal's credentials are
# looked for in a folder of the home folder, which here is the volume.
RUN useradd --uid 10001 --user-group --no-log-init --create-home --shell /usr/sbin/nologin mortise \
    && install -d -o mortise -g mortise -m 0750 /data /data/capabilities /data/artifacts /data/creds \
    && install -d -o mortise -g mortise /home/mortise/.config \
    && ln -s /data/creds /home/mortise/.config/device-connect \
    && for name in device-connect-plugin-driver dc-plugin-driver dc-plugin-deploy; do \
        ln -s mortise "/usr/local/bin/$name" || exit 1; \
    done
COPY --from=build /runners /usr/local/lib/mortise/runners
COPY --from=build /mortise /usr/local/bin/mortise

# 0.0.0.0 is the container: the artifact server is off unless asked for, and reaches as far as its port is published.
ENV HOME=/home/mortise \
    DC_PLUGIN_CAPABILITIES_DIR=/data/capabilities \
    DC_PLUGIN_ARTIFACT_DIR=/data/artifacts \
    DC_PLUGIN_ARTIFACT_HOST=0.0.0.0 \
    MORTISE_RUNNERS_DIR=/usr/local/lib/mortise/runners
# By number, so that an orchestrator sees that it is not root.
USER 10001:10001
VOLUME ["/data/capabilities", "/data/artifacts", "/data/creds"]
EXPOSE 8790

# Asks over the control socket; whether the mesh is there plays no part.
HEALTHCHECK --interval=30s --timeout=10s --retries=3 --start-period=60s --start-interval=1s \
    CMD ["mortise", "deploy", "status", "--timeout", "8s"]
# The host is process 1: it ends within 5 s of the signal, and starts no processes that it would have to wait for.
STOPSIGNAL SIGTERM
ENTRYPOINT ["mortise"]
CMD ["run"]
