# Prints what a Linux server is and how it fares: sections that begin with a line `@name`, each raw.
# POSIX sh, no root, no Python, any locale; what a system lacks is left out and stays unknown.
exec 2>/dev/null
LC_ALL=C LANG=C PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin; export LC_ALL LANG PATH
section() { printf '\n@%s\n' "$1"; }
bounded() { if command -v timeout >/dev/null; then timeout 5 "$@"; else "$@"; fi; }

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
# Local devices only: asking a dead network mount for its size would hang. Each device once: no bind duplicates.
devices=$(grep '^/dev/' /proc/self/mounts | grep -E -v ' (squashfs|iso9660|udf) ' | cut -d' ' -f1 | sort -u)
section bytes; bounded df -k -P / $devices
section inodes; bounded df -i -P / $devices
section types; grep '^/' /proc/self/mounts | cut -d' ' -f1,3 | sort -u
section address; set -- $SSH_CONNECTION; echo "$3"
for kind in cpu memory io; do section "pressure_$kind"; cat "/proc/pressure/$kind"; done
section temperature; cat /sys/class/thermal/thermal_zone*/temp /sys/class/hwmon/hwmon*/temp*_input
section reboot
if [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]; then echo yes
elif command -v dpkg >/dev/null; then echo no
elif command -v needs-restarting >/dev/null; then bounded needs-restarting -r >/dev/null && echo no || echo yes
fi
section units
if [ -d /run/systemd/system ]; then
    bounded systemctl list-units --state=failed --no-legend --plain --no-pager </dev/null && echo .
fi
sleep 0.5 || sleep 1
section cpu1; grep '^cpu' /proc/stat
section clock1; date +%s.%N
section end
