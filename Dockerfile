# One image for every service; compose and Kubernetes choose what each container runs.
# The base by digest: any Debian 12 image can be put in by --build-arg BASE=...
ARG BASE=debian:bookworm-slim

# The web UI: Node from PyPI, its packages from the lock file; only what is built goes further.
FROM ${BASE} AS web
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY scripts/setup.sh scripts/build-web scripts/
COPY web web
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    if [ -s /run/ca.pem ]; then export PIP_CERT=/run/ca.pem NODE_EXTRA_CA_CERTS=/run/ca.pem; fi; \
    mkdir -p services/api && scripts/build-web

FROM ${BASE} AS build
# Documentation and translations are of no use in a container.
RUN printf 'path-exclude /usr/share/%s/*\n' doc man locale info >/etc/dpkg/dpkg.cfg.d/borgfleet
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates python3-venv python3-dev gcc libc6-dev pkg-config \
        libacl1-dev libssl-dev liblz4-dev libzstd-dev libxxhash-dev \
    && rm -rf /var/lib/apt/lists/*
# A network with an authority of its own gives it as `--secret id=ca,src=...`; it is in no layer.
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    if [ -s /run/ca.pem ]; then export PIP_CERT=/run/ca.pem; fi; \
    python3 -m venv /tools && /tools/bin/pip install --no-cache-dir uv==0.13.9
ENV UV_PROJECT_ENVIRONMENT=/opt/borgfleet UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1
WORKDIR /src
# Dependencies, borg among them, are built again only when the lock file changes.
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    if [ -s /run/ca.pem ]; then export SSL_CERT_FILE=/run/ca.pem; fi; \
    /tools/bin/uv sync --frozen --no-dev --no-install-project --extra borg --python /usr/bin/python3
COPY borgfleet borgfleet
COPY services services
COPY shared shared
COPY --from=web /src/services/api/static services/api/static
COPY scripts/sbom scripts/sbom
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    if [ -s /run/ca.pem ]; then export SSL_CERT_FILE=/run/ca.pem; fi; \
    /tools/bin/uv sync --frozen --no-dev --no-editable --extra borg --python /usr/bin/python3

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="Borgfleet" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN printf 'path-exclude /usr/share/%s/*\n' doc man locale info >/etc/dpkg/dpkg.cfg.d/borgfleet
# No file keeps the right to become another user, and no container has a host key that others have too.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates python3 openssh-server openssh-client mariadb-client libacl1 libssl3 liblz4-1 libzstd1 libxxhash0 tini \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/log/* /etc/ssh/ssh_host_* \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && groupadd --gid 10001 borgfleet \
    && useradd --uid 10001 --gid 10001 --password '*' --create-home --home-dir /var/lib/borgfleet --shell /bin/sh borgfleet \
    && install -d -o 10001 -g 10001 -m 0700 /opt/backups
COPY --from=build /opt/borgfleet /opt/borgfleet
COPY deploy/sshd /etc/borgfleet-sshd
RUN --mount=type=bind,from=build,source=/src,target=/src \
    mkdir -p /usr/share/borgfleet && python3 /src/scripts/sbom --lock /src/uv.lock --debian >/usr/share/borgfleet/sbom.json
ENV PATH=/opt/borgfleet/bin:$PATH BORGFLEET_LOG__JSON_LINES=true BORGFLEET_HEALTH__HOST=0.0.0.0 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/borgfleet
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=6 CMD ["borgfleet", "health"]
ENTRYPOINT ["tini", "--"]
CMD ["borgfleet", "--help"]
