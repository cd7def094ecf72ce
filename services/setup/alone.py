"""How a script of set-up changes ~/.ssh alone: two set-ups of one machine may run at once."""

from __future__ import annotations

# Each of two would find no key and write one: a line twice, or a key pair that replaces the one just registered. The
# kernel frees `flock` however the script ends. Where there is none, or a home on a file system without locks, a link is
# the lock: it is made by one only, and tells who holds it. What a dead holder left is taken away by one only too, the
# one that makes a directory named after it, and only if it still lies there then. Whoever cannot make a link, or waits
# for half a minute (a machine that shares this home may be gone), goes on: what is written there is written whole.
ALONE = r"""umask 077
dir=$HOME/.ssh
mkdir -p "$dir" || exit 1
if [ -r "$dir" ] && command -v flock >/dev/null 2>&1 && exec 9<"$dir" && flock 9 2>/dev/null; then :
else
    lock=$dir/.borgfleet_lock left=30 failed=0
    me=$$.$(date +%s).$(uname -n)
    trap 'exit 1' HUP INT PIPE TERM
    until ln -s "$me" "$lock" 2>/dev/null; do
        if [ "$left" = 0 ] || [ "$failed" = 5 ]; then me=; break; fi
        holder=$(readlink "$lock")
        if [ -z "$holder" ]; then failed=$((failed + 1)); continue; fi
        failed=0
        if [ "${holder#*.*.}" = "${me#*.*.}" ] && ! kill -0 "${holder%%.*}" 2>/dev/null &&
            mkdir "$lock.$holder" 2>/dev/null
        then
            if [ "$(readlink "$lock")" = "$holder" ]; then rm -f "$lock"; fi
            rmdir "$lock.$holder"
            continue
        fi
        sleep 1
        left=$((left - 1))
    done
    if [ -n "$me" ]; then trap 'rm -f "$lock"' EXIT; fi
fi"""
