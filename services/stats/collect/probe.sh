# Prints what a Linux server is and how it fares: sections that begin with a line `@name`, each raw.
# POSIX sh, no root, no Python, any locale; what a system lacks is left out and stays unknown.
exec 2>/dev/null
LC_ALL=C LANG=C PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin; export LC_ALL LANG PATH
section() { printf '\n@%s\n' "$1"; }
# limit SECONDS COMMAND: three generations of timeout, and a shell's own where there is none.
if timeout -k 1 1 true; then limit() { t=$1; shift; timeout -k 1 "$t" "$@"; }
elif timeout 1 true; then limit() { t=$1; shift; timeout "$t" "$@"; }
elif timeout -t 1 true; then limit() { t=$1; shift; timeout -t "$t" "$@"; }
else limit() {
    t=$1; shift
    exec 9<&0 # what runs beside a script has no input of its own
    "$@" <&9 9<&- & child=$!
    (exec >/dev/null 9<&-; sleep "$t"; kill "$child"; sleep 1; kill -9 "$child") & killer=$!
    wait "$child"; status=$?; kill "$killer"; return $status
}
fi

section clock0; date +%s.%N
section cpu0; grep '^cpu' /proc/stat
section os; cat /etc/os-release || cat /usr/lib/os-release
section uname; uname -r; uname -m; uname -n
section cpuinfo; grep -E -m1 '^(model name|Model|Hardware|cpu model|uarch|machine)' /proc/cpuinfo
section load; cat /proc/loadavg
section memory; grep -E '^(Mem|Swap|Buffers|Cached)' /proc/meminfo
section uptime; cat /proc/uptime
section net; cat /proc/net/dev
section disks; cat /proc/diskstats
section address; set -- $SSH_CONNECTION; echo "$3"
for kind in cpu memory io; do section "pressure_$kind"; cat "/proc/pressure/$kind"; done
section temperature; limit 2 cat /sys/class/thermal/thermal_zone*/temp /sys/class/hwmon/hwmon*/temp*_input

# `/` whatever it is, then every other local file system, each device once, where its path is the shortest: no
# bind mounts, no btrfs subvolumes twice. By type, for not every device is a path: ZFS, virtiofs, LXC. Never the network.
mounts() {
    root='- / -'
    while read -r device point type _; do
        case $point in /) root="$device / $type" ;; esac
    done </proc/self/mounts
    printf '%s\n' "$root"
    while read -r device point type _; do
        case $type in
        ext[234] | xfs | btrfs | zfs | f2fs | bcachefs | jfs | nilfs2 | reiserfs | ocfs2 | gfs2) ;;
        vfat | exfat | ntfs | ntfs3 | fuseblk | hfsplus | virtiofs | 9p) ;;
        *) continue ;;
        esac
        case $device in none) key=none:$point ;; *) key=$device ;; esac
        printf '%s %s %s %s %s\n' "$key" ${#point} "$device" "$point" "$type"
    done </proc/self/mounts | sort -k1,1 -k2,2n | {
        before=
        while read -r key length device point type; do
            [ "$key" = "$before" ] || [ "$length" -gt 1000 ] || [ "$point" = / ] || printf '%s %s %s\n' "$device" "$point" "$type"
            before=$key
        done
    } | head -n 64
}
# One print each, no longer than a pipe takes at once: these run side by side.
measure() {
    point=$(printf '%b.' "$2"); point=${point%.}
    # Any question about it may hang, this first one too, and what hangs here stays on the server, one more each time.
    bytes=$(limit 4 sh -c '[ -d "$1" ] || exit 124; exec df -k -P -- "$1"' - "$point"); [ $? -lt 124 ] || return
    # In a chroot df calls the root by another mount of its device, or finds none at all, where statfs does.
    bytes=$(printf '%s\n' "$bytes" | grep ' /' | tail -n 1)
    if [ -z "$bytes" ]; then
        set -- "$1" "$2" "$3" $(limit 4 stat -f -c '%S %b %f %a %c %d' -- "$point")
        [ $# -eq 9 ] || return
        bytes="$1 $(($5 * $4 / 1024)) $((($5 - $6) * $4 / 1024)) $(($7 * $4 / 1024)) -"
        inodes="$1 $8 $(($8 - $9)) $9 -"
    else
        inodes=$(limit 4 df -i -P -- "$point" | grep ' /' | tail -n 1)
    fi
    printf '\n@types\n%s %s\n\n@bytes\n%s %s\n\n@inodes\n%s %s\n' \
        "$1" "$3" "${bytes%% /*}" "$point" "${inodes%% /*}" "$point"
}
reboot() {
    if [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]; then answer=yes
    # Debian says it by that file, and only where one of the two packages that write it is there.
    elif [ -e /usr/share/update-notifier/notify-reboot-required ] || [ -e /etc/kernel/postinst.d/unattended-upgrades ]; then answer=no
    elif command -v needs-restarting >/dev/null; then
        limit 10 needs-restarting -r >/dev/null
        case $? in 0) answer=no ;; 1) answer=yes ;; *) answer=unknown ;; esac
    else answer=unknown
    fi
    printf '\n@reboot\n%s\n' "$answer"
}
units() {
    [ -d /run/systemd/system ] || return
    failed=$(limit 5 systemctl list-units --state=failed --no-legend --plain --no-pager) || return
    printf '\n@units\n%s\n.\n' "$(printf '%s\n' "$failed" | sed -n 's/..*/x/p' | head -n 1000)"
}
# What hangs holds a pipe of its own and not our answer: whatever is not there after 12 seconds stays unknown.
{
    mounts | { while read -r device point type; do measure "$device" "$point" "$type" & done; }
    reboot &
    units &
    sleep 0.5 || sleep 1
} </dev/null | limit 12 cat
section cpu1; grep '^cpu' /proc/stat
section clock1; date +%s.%N
section end
