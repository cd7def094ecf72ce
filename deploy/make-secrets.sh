#!/bin/sh
# Makes ./secrets for docker compose: random values, mode 0600, readable by the containers' user 10001. Keeps old ones.
set -eu
umask 077
mkdir -p secrets
for name in database_password nats_token master_key grafana_password; do
    file=secrets/$name
    [ -s "$file" ] && continue
    head -c 32 /dev/urandom | base64 | tr -d '\n' >"$file"
    echo "made $file"
done
chown -R 10001 secrets 2>/dev/null || echo "run this as root, so that the containers' user 10001 can read the files" >&2
echo "Keep a copy of secrets/master_key in a safe place: without it no passphrase in the database can be read."
