#!/bin/sh
# Makes the endpoint's host key once, then serves.
set -eu
key=/var/lib/borgfleet/sshd/ssh_host_ed25519_key
mkdir -p "${key%/*}"
[ -f "$key" ] || ssh-keygen -q -t ed25519 -N '' -C borgfleet-storage -f "$key"
# A volume given to a group (fsGroup) has widened it, and OpenSSH refuses a key that others can read.
chmod 600 "$key"
exec /usr/sbin/sshd -D -e -f /etc/borgfleet-sshd/sshd_config
