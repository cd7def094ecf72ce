# Runs a command on a server so that it never outlives its manager.
# $0 is a token that marks where our output begins, $1 a scratch file to remove, the rest the command.
# stdin: first line the secret (handed on as file descriptor 3), then a line "beat" every few seconds.
# "cancel" or silence or the end of stdin stops the command's whole process group.
IFS= read -r secret
scratch=$1
shift
dir=$(mktemp -d "${TMPDIR:-/tmp}/borgfleet.XXXXXXXX") || exit 71
trap 'rm -rf "$dir" "$scratch"' EXIT
echo "$0"
echo "$0" >&2
exec 4<&0
: >"$dir/beat"
printf '%s\n' "$secret" | {
    exec 3<&0 4<&- </dev/null
    exec setsid "$@"
} &
group=$!
secret=
end() {
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
exit "$status"
