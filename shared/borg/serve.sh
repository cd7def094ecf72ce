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
# note KIND WORDS: one line for the node to read, bounded in length and number: a client must not fill the disk.
note() {
    file=$state/sessions/refused.$server
    [ -f "$file" ] && [ "$(wc -c <"$file")" -ge 65536 ] && return
    { printf '%s %s\n' "$1" "$(printf '%.200s' "$2" | tr '\n\r' '  ')" >>"$file"; } 2>/dev/null
}
case $SSH_ORIGINAL_COMMAND in
"borgfleet-"*" serve"*) ;;
*)
    note command "$SSH_ORIGINAL_COMMAND"
    refuse "this key runs borg for Borgfleet and nothing else"
    ;;
esac
name=${SSH_ORIGINAL_COMMAND%% *}
name=${name#borgfleet-}
unset SSH_ORIGINAL_COMMAND # borg would take options from it
case $name in
probe) exec "$BORGFLEET_PYTHON" -I "$state/fence/fence.py" probe ;;
'' | *[!0-9a-f-]*)
    note command "borgfleet-$name"
    refuse "not a repository"
    ;;
esac
grant=$state/grants/$server.${name%-*}
path=
{ read -r _ _ _ path <"$grant"; } 2>/dev/null # or the shell tells the client a path of the node
[ -n "$path" ] || {
    note repository "${name%-*}" # of a late client of its own, or another server's: who has the records judges
    refuse "the lease of this repository is not current"
}
exec "$BORGFLEET_PYTHON" -I "$state/fence/fence.py" "$grant" "${name##*-}" \
    serve --append-only --umask=077 --restrict-to-repository "$path"
