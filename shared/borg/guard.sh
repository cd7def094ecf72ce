# guard.sh GRANT EPOCH COMMAND...: runs the node's own borg only while the grant file names this epoch.
# The file holds "EPOCH UNTIL QUOTA PATH"; UNTIL in seconds since 1970. When the lease passes on, the command ends.
grant=$1
epoch=$2
shift 2
# Sets `until`: 0 where the file names no lease of ours. It waits for as long as the file's disk does not answer.
look() {
    held='' until=0
    read -r held until _ <"$grant" 2>/dev/null
    [ "$held" = "$epoch" ] || until=0
    case $until in '' | *[!0-9]*) until=0 ;; esac
}
look
[ "$(date +%s)" -lt "$until" ] || {
    echo "borgfleet-guard: the lease of this repository is not current" >&2
    exit 211 # borg ends with 0 to 127, by a signal with 129 to 192; 75 would be its own lost lock
}
# Held by us and by the command for as long as either lives: who takes the repository next waits for it.
exec 8>>"${grant%/*}/../locks/${grant##*.}.own" && flock -s 8
exec 9<&0
"$@" <&9 9<&- &
child=$!
exec 9<&- </dev/null
trap 'kill -TERM "$child" 2>/dev/null' TERM HUP
trap 'kill -INT "$child" 2>/dev/null' INT
# The file and the clock are asked by two processes: where the file's disk hangs, the last end that was read still comes.
# What they do not use they close by exec: a group's own redirections keep the old end open, and who reads would wait.
{
    exec 2>/dev/null 8>&-
    while sleep 2; do
        look
        echo "until $until" || exit
    done &
    while sleep 2; do
        echo "now $(date +%s)" || exit
    done
} | {
    exec >/dev/null 2>&1 8>&-
    now=0
    while [ "$now" -lt "$until" ] && read -r what seconds; do
        case $what in until) until=$seconds ;; now) now=$seconds ;; esac
    done
    kill -TERM "$child"
    sleep 5
    kill -KILL "$child"
} &
watcher=$! # of what ends the command: the others end when they have nobody to tell
while :; do
    wait "$child"
    status=$?
    kill -0 "$child" 2>/dev/null || break
done
kill "$watcher" 2>/dev/null
exit "$status"
