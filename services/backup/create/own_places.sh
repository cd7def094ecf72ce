# own_places.sh SECONDS KNOWN SOURCE...: says which of Borgfleet's own places are in the way of the sources.
# KNOWN: paths, one a line, at which such a place may be; each mount point of this machine may be one as well.
# Says "S <physical path>" of each source, in their order; "O <path> <first word of its mark>", and "B <path>" of borg's
# cache. Only what lies in a source, or holds one, is looked at, so that another mount that hangs is not touched.
limit=$1 known=$2
shift 2
newline='
'
within() {
    if command -v timeout >/dev/null; then timeout -s KILL "$limit" "$@"; else "$@"; fi
}
physical() {
    found=$(within readlink -f "$1" 2>/dev/null)
    printf '%s\n' "${found:-$1}"
}
sources=$(for source in "$@"; do physical "$source"; done)
related() {
    printf '%s\n' "$sources" | {
        here=${1%/}/
        while IFS= read -r source; do
            source=${source%/}/ # in a variable: bash matches nothing where a quoted part of a pattern is empty
            case $here in "$source"*) exit 0 ;; esac
            case $source in "$here"*) exit 0 ;; esac
        done
        exit 1
    }
}
ask() {
    related "$1" || return 0
    for mark in .borgfleet-pool host-id node/host-id; do
        word=$(within head -c 100 "${1%/}/$mark" 2>/dev/null | { read -r first rest; printf '%s' "$first"; })
        [ -z "$word" ] || printf 'O %s %s\n' "$word" "$1"
    done
}
printf '%s\n' "$sources" | while IFS= read -r source; do printf 'S %s\n' "$source"; done
printf '%s\n' "$known" | while IFS= read -r path; do [ -z "$path" ] || ask "$(physical "$path")"; done
while read -r _ point _; do
    case $point in *\\*) point=$(printf '%b' "$(printf '%s' "$point" | sed 's/\\\([0-7][0-7][0-7]\)/\\0\1/g')") ;; esac
    case $point in *"$newline"*) ;; *) ask "$point" ;; esac
done </proc/self/mounts 2>/dev/null
cache=${BORG_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/borg}
if [ -d "$cache" ]; then
    cache=$(physical "$cache")
    related "$cache" && printf 'B %s\n' "$cache"
fi
:
