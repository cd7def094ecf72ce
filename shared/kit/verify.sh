#!/bin/sh
# Says of each repository of this kit that is on this machine whether the kit opens it. It changes nothing:
# the repository's own config is not used, but a copy of it with the key of the kit.
# Needs borg, and a directory for temporary files that holds the repositories' small files. Status 0: all were opened.
cd "$(dirname "$0")" || exit 2
umask 077
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
export BORG_BASE_DIR="$scratch/borg" BORG_RELOCATED_REPO_ACCESS_IS_OK=yes
status=0
seen=0

while IFS= read -r line; do
    case $line in '$ ID='*) ;; *) continue ;; esac
    eval "${line#??}"
    if [ ! -d "$REPOSITORY/data" ]; then
        echo "not here   $REPOSITORY"
        continue
    fi
    seen=$((seen + 1))
    view=$scratch/$ID
    mkdir "$view" "$view/data"
    # Links to the segments, one by one, so that borg can take away nothing but a link; own copies of all else.
    for directory in "$REPOSITORY"/data/*; do
        mkdir "$view/data/${directory##*/}"
        ln -s "$directory"/* "$view/data/${directory##*/}/"
    done
    for entry in "$REPOSITORY"/*; do
        case ${entry##*/} in
        config | lock.*) ;;
        hints.* | index.* | integrity.* | nonce | README) cp "$entry" "$view/" ;;
        esac
    done
    cp "config.templates/$ID" "$view/config"
    export BORG_PASSCOMMAND="cat '$PWD/passphrases/$ID'"
    if { [ ! -e "keys/$ID.key" ] || borg key import "$view" "keys/$ID.key"; } 2>"$scratch/said" &&
        borg list --bypass-lock --short --last 1 "$view" >/dev/null 2>"$scratch/said"; then
        echo "opened     $REPOSITORY"
    else
        echo "NOT OPENED $REPOSITORY"
        sed 's/^/           /' "$scratch/said"
        status=1
    fi
    rm -rf "$view"
done <README.txt

echo "$seen repositories of this kit are on this machine"
exit $status
