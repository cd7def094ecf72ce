# serve.sh STATE_DIR SERVER: the forced command of a server's key on the storage endpoint.
# The client's remote command is "borgfleet-<repository>-<epoch> serve ..."; nothing else of it is used.
# It reaches one repository, through the fence, for as long as that repository's lease has that epoch.
state=$1
server=$2
set -a
. "$state/node.env"
set +a
refuse() {
    echo "borgfleet: $1" >&2
    exit 77
}
case $SSH_ORIGINAL_COMMAND in
"borgfleet-"*" serve"*) ;;
*) refuse "this key runs borg for Borgfleet and nothing else" ;;
esac
name=${SSH_ORIGINAL_COMMAND%% *}
name=${name#borgfleet-}
unset SSH_ORIGINAL_COMMAND # borg would take options from it
case $name in
probe) exec "$BORGFLEET_PYTHON" -I "$state/fence/fence.py" probe ;;
'' | *[!0-9a-f-]*) refuse "not a repository" ;;
esac
grant=$state/grants/$server.${name%-*}
path=
read -r _ _ _ path <"$grant" 2>/dev/null
[ -n "$path" ] || refuse "the lease of this repository is not current"
exec "$BORGFLEET_PYTHON" -I "$state/fence/fence.py" "$grant" "${name##*-}" \
    serve --append-only --umask=077 --restrict-to-repository "$path"
