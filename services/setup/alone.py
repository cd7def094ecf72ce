"""How a script of set-up changes ~/.ssh alone: two set-ups of one machine may run at once."""

from __future__ import annotations

# Each of two would find no key and write one: a line twice, or a key pair that replaces the one just registered. The
# kernel frees the lock however the script ends. A server without `flock`, or a home on a file system without locks,
# goes on: what is written there is written whole.
ALONE = r"""umask 077
dir=$HOME/.ssh
mkdir -p "$dir" || exit 1
if [ -r "$dir" ] && command -v flock >/dev/null 2>&1; then exec 9<"$dir"; flock 9; fi"""
