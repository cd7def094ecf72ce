# Runs a command on a server so that it never outlives its manager.
# $0 is a token that marks where our output begins and ends, $1 a scratch file to remove, the rest the command.
# stdin: first line the secret (handed on as file descriptor 3), then a line "beat" every few seconds.
# "cancel" or silence or the end of stdin stops the command's whole process group.
# Of its own it ends with 201 or 202, which borg never does, and says why behind "borgfleet-leash:".
IFS= read -r secret
scratch=$1
shift
dir=
finish() {
    rm -rf "$dir" "$scratch"
    # A mark at the end: children that the command left behind hold the outputs open, and nobody waits for them.
    printf '\n%s end %s %s\n' "$0" "$1" "$2"
    printf '\n%s end %s %s\n' "$0" "$1" "$2" >&2
    exit "$1"
}
printf '%s %s\n' "$0" "$$"
printf '%s %s\n' "$0" "$$" >&2
dir=$(mktemp -d "${TMPDIR:-/tmp}/borgfleet.XXXXXXXX" 2>&1) || {
    echo "borgfleet-leash: no directory could be made in ${TMPDIR:-/tmp}: $dir" >&2
    dir=
    finish 201 0
}
command -v setsid >/dev/null || {
    echo "borgfleet-leash: there is no setsid command" >&2
    finish 202 0
}
trap 'rm -rf "$dir" "$scratch"' EXIT
exec 4<&0
: >"$dir/beat"
printf '%s\n' "$secret" | {
    exec 3<&0 4<&- </dev/null
    exec setsid "$@"
} &
group=$!
secret=
end() {
    : >"$dir/stopping"
    for step in "$@"; do
        case $step in
        [0-9]*) sleep "$step" ;;
        *) kill -"$step" "-$group" 2>/dev/null ;;
        esac
    done
}
{
    while IFS= read -r line <&4; do
        case $line in
        beat) : >"$dir/beat" ;;
        cancel) end TERM 8 KILL ;;
        esac
    done
    end INT 30 TERM 10 KILL
} >/dev/null 2>&1 &
reader=$!
{
    exec 4<&-
    while sleep 10 && rm "$dir/beat"; do :; done
    end INT 30 TERM 10 KILL
} >/dev/null 2>&1 &
watcher=$!
wait "$group"
status=$?
kill "$reader" "$watcher" 2>/dev/null
left=0
if kill -0 "-$group" 2>/dev/null; then
    sleep 1 # a child may end just after its parent
    if [ -e "$dir/stopping" ]; then # it is to end with all its children
        for _ in 1 2 3 4; do
            kill -0 "-$group" 2>/dev/null || break
            sleep 1
        done
        kill -KILL "-$group" 2>/dev/null
    elif kill -0 "-$group" 2>/dev/null; then
        left=1
    fi
fi
finish "$status" "$left"
