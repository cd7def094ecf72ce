#!/bin/sh
# Makes ./secrets for docker compose: random values, mode 0600, each readable by one container user. Keeps old ones.
set -eu
umask 077
mkdir -p secrets
for name in database_password nats_token master_key grafana_password; do
    file=secrets/$name
    [ -s "$file" ] && continue
    head -c 32 /dev/urandom | base64 | tr -d '\n' >"$file"
    echo "made $file"
done
# With --accounts: a seed for each service's user of NATS, for compose.accounts.yml. Needs the image.
if [ "${1-}" = --accounts ]; then
    docker run --rm --network none --user 0:0 -v "$PWD/secrets:/secrets" "${BORGFLEET_IMAGE:-borgfleet:0.1.0}" \
        borgfleet nats-keys /secrets
fi
# Each reader has a file of its own: no user reads what another owns.
cp secrets/database_password secrets/mariadb_password
cp secrets/nats_token secrets/nats_server_token
{ chown 10001 secrets/* && chown 999 secrets/mariadb_password && chown 0 secrets secrets/nats_server_token && chmod 711 secrets; } 2>/dev/null || echo "run this as root, so that the containers' users can read the files" >&2
echo "Keep a copy of secrets/master_key in a safe place: without it no passphrase in the database can be read."
