# Sourced by scripts/demo and scripts/test: installs what is missing, and says what.
# Needs Debian 12 (or a relative of it) and root, or sudo.

export UV_PYTHON_DOWNLOADS=never PYTHONUTF8=1
uv_version=0.13.9

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

as_root() {
    if [ "$(id -u)" != 0 ]; then
        say "root is needed for packages and for private SSH servers: going on with sudo"
        exec sudo -- "scripts/${0##*/}" "$@"
    fi
}

building=(python3-venv python3-dev gcc libc6-dev pkg-config libacl1-dev libssl-dev liblz4-dev libzstd-dev libxxhash-dev)
running=(ca-certificates openssh-server openssh-client util-linux)
