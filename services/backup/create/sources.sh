# sources.sh SECONDS SOURCE...: says what each source is, without reading what is in it.
# Each is looked at by a process of its own, which is killed when its time is over: a mount that hangs costs only itself.
# Says, in any order, "T <n> <target>" of a link and "P <n> <physical path>"; last of each "S <n> <kind> <empty> <tag>".
# After "M" come this machine's mounts, which can be read although one of them hangs.
limit=$1
shift
dir=$(mktemp -d "${TMPDIR:-/tmp}/borgfleet.XXXXXXXX") || exit 71
trap 'rm -rf "$dir"' EXIT
mkfifo "$dir/said" || exit 71
exec 3<>"$dir/said"
newline='
'
say() {
    case $3 in
    *"$newline"*) ;; # such a name would break our lines: it stays unknown
    *) printf '%s %s %s\n' "$1" "$2" "$3" ;;
    esac
}
# Says by its status whether a directory seems empty: 1. Without a program, which is what would take the time.
seems_empty() {
    ulimit -v 262144 # there may be millions of entries: where they are too many, a shell ends or sees none
    for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        { [ -e "$entry" ] || [ -L "$entry" ]; } && exit 0
    done
    exit 1
}
# Writes some entries of a directory to a file, a few KiB of them at most.
list() {
    ulimit -f 8
    exec find "$2/." ! -name . -prune -print >"$dir/$1"
}
look() {
    kind=missing empty=- tag=- line=
    if [ -L "$2" ]; then
        kind=link
        say T "$1" "$(readlink "$2")"
    elif [ -d "$2" ]; then
        kind=directory empty=yes tag=no
        cd -P "$2/" && say P "$1" "$PWD"
        [ -f "$2/CACHEDIR.TAG" ] && IFS= read -r line <"$2/CACHEDIR.TAG"
        case $line in "Signature: 8a477f597d28d172789f06886806bc55"*) tag=yes ;; esac
        seems_empty "$2" &
        echo "F $1 $!"
        wait "$!"
        if [ "$?" = 1 ]; then
            list "$1" "$2" &
            echo "F $1 $!"
            wait "$!"
            [ -s "$dir/$1" ] && empty=no
        else
            empty=no
        fi
        [ -r "$2" ] || empty=-
    elif [ -f "$2" ]; then
        kind=file empty=yes
        cd -P "${2%/*}/" && say P "$1" "${PWD%/}/${2##*/}"
        [ -s "$2" ] && empty=no
    elif [ -e "$2" ]; then
        kind=other
    fi
    echo "S $1 $kind $empty $tag"
}
count=0
for source in "$@"; do
    look "$count" "$source" </dev/null >&3 2>/dev/null &
    eval "worker_$count=$!"
    count=$((count + 1))
done
{
    trap 'kill "$nap"; exit' TERM
    sleep "$limit" &
    nap=$!
    wait "$nap"
    echo late >&3
} </dev/null >/dev/null 2>&1 &
timer=$!
open=$count
while [ "$open" -gt 0 ] && IFS=' ' read -r what number rest <&3; do
    case $what in
    late) break ;;
    F) eval "finder_$number=$rest" ;;
    S)
        open=$((open - 1))
        eval "worker_$number= finder_$number="
        ;;
    esac
    printf '%s %s %s\n' "$what" "$number" "$rest"
done
kill "$timer" 2>/dev/null
# Only those that have not answered: the number of a process that ended may be another's by now.
while [ "$count" -gt 0 ]; do
    count=$((count - 1))
    eval "kill -KILL \$worker_$count \$finder_$count"
done 2>/dev/null
echo M
cat /proc/self/mountinfo 2>/dev/null
:
