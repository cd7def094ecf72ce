# One image for every service; `docker-compose.yml` chooses what each container runs.
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        python3-venv python3-dev gcc libc6-dev pkg-config libacl1-dev libssl-dev liblz4-dev libzstd-dev libxxhash-dev \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /tools && /tools/bin/pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY borgfleet borgfleet
COPY services services
COPY shared shared
ENV UV_PROJECT_ENVIRONMENT=/opt/borgfleet UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
RUN /tools/bin/uv sync --frozen --no-dev --no-editable --extra borg --python /usr/bin/python3

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates python3 openssh-server openssh-client libacl1 libssl3 liblz4-1 libzstd1 libxxhash0 tini curl \
    && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* \
    && useradd --system --uid 10001 --password "*" --create-home --home-dir /var/lib/borgfleet --shell /bin/sh borgfleet \
    && install -d -o borgfleet -g borgfleet -m 0700 /opt/backups
COPY --from=build /opt/borgfleet /opt/borgfleet
COPY deploy/sshd /etc/borgfleet-sshd
ENV PATH=/opt/borgfleet/bin:$PATH BORGFLEET_LOG__JSON_LINES=true BORGFLEET_HEALTH__HOST=0.0.0.0
USER borgfleet
WORKDIR /var/lib/borgfleet
ENTRYPOINT ["tini", "--"]
CMD ["borgfleet", "--help"]
