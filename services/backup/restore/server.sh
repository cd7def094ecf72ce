# What a restore does on a server: `$1` is the verb, `$2` the job's id, `$3` the parent of the place, `$4` its name.
# Everything runs from a directory that only root can look into, entered without following a symbolic link of anybody's.
# Ends with 3 and one line `code: text` on stderr where it refuses; POSIX sh, GNU or busybox.
verb=$1 job=$2 parent=$3 name=$4
shift 4
umask 077
LC_ALL=C
export LC_ALL
staging=.borgfleet-restore-$job
refuse() {
    printf '%s: %s\n' "$1" "$2" >&2
    exit 3
}
# enter PATH make|stay: goes there part by part; each part must lead exactly to where it says.
enter() {
    cd / || exit 1
    rest=${1#/} gone=
    while [ -n "$rest" ]; do
        part=${rest%%/*}
        case $rest in
        */*) rest=${rest#*/} ;;
        *) rest= ;;
        esac
        [ -n "$part" ] || continue
        gone=$gone/$part
        if [ ! -e "./$part" ] && [ ! -L "./$part" ]; then
            [ "$2" = make ] || return 1
            mkdir -m 0755 "./$part" || refuse target_refused "the directory $gone cannot be made"
        fi
        [ -d "./$part" ] || refuse target_refused "$gone is no directory"
        cd -P "./$part" || refuse target_refused "$gone cannot be entered"
        here=$(pwd -P)
        [ "$here" = "$gone" ] || refuse parent_symlink "$gone leads to $here; give the path without symbolic links"
    done
}
owned() {
    set -- $(stat -c '%u %a' .)
    [ "$1" = 0 ] && [ "$2" = 700 ] || refuse staging_exists "$PWD is not this restore's own"
}
mine() {
    before=$(pwd -P)
    cd -P "./$staging" 2>/dev/null || return 1
    [ "$(pwd -P)" = "${before%/}/$staging" ] || refuse staging_exists "$staging in $before is a symbolic link"
    owned
    [ "$(cat ./job 2>/dev/null)" = "$job" ] || refuse staging_exists "$PWD was made by somebody else"
}
# tidy: removes the staging directory that it is called in, but for what was set aside, which is nobody's to remove.
tidy() {
    rm -rf ./tree ./result ./result.new ./placing ./swapped ./swapped.new
    for one in ./previous*; do
        [ ! -e "$one" ] || return 0
    done
    rm -f ./job && rmdir "$PWD"
}
# begun: in place, something was placed or set aside, and the job does not know of it yet.
begun() {
    [ -e ./placing ] || return 1
    for one in ./swapped ./previous*; do
        [ ! -e "$one" ] || return 0
    done
    return 1
}
# note BYTES: keeps stdin as ./result once all of it has come, so that half of one takes the place of nothing.
note() {
    cat >./result.new || refuse target_full "$parent has no room"
    if [ "$(wc -c <./result.new | tr -dc 0-9)" != "$1" ]; then
        echo "what is to be told of it did not come in whole" >&2
        exit 1
    fi
    sync && mv -f ./result.new ./result || refuse target_full "$parent has no room"
}
empty() { [ -z "$(ls -A "$1" 2>/dev/null | head -n 1)" ]; }
case $verb in
probe)
    # Says what is there: who, which tar, whether the place is free, room, and whether an earlier attempt placed it.
    echo "user $(id -u)"
    if tar --version 2>/dev/null | head -n 1 | grep -q GNU && tar --help 2>/dev/null | grep -q -e --xattrs; then
        echo "tar gnu"
    elif command -v tar >/dev/null; then
        echo "tar other"
    else
        echo "tar none"
    fi
    echo "python $(python3 -I -c 'import sys; print(int(sys.version_info >= (3, 7)))' 2>/dev/null)"
    at=$parent
    while [ ! -d "$at/." ]; do
        at=${at%/*}
        [ -n "$at" ] || at=/
        [ "$at" = / ] && break
    done
    echo "bytes $(df -P -k "$at/." | awk 'NR==2 {printf "%.0f", $4 * 1024}')"
    echo "inodes $(df -P -i "$at/." 2>/dev/null | awk 'NR==2 {print $2 == 0 ? "-" : $4}')"
    echo "system $(df -P "$at/." | awk 'NR==2 {print $NF}')"
    if enter "$parent" stay; then
        [ -w . ] || echo "place read-only"
        if [ -L "./$name" ]; then
            echo "place link"
        elif [ -d "./$name" ]; then
            [ "$(stat -c %d .)" = "$(stat -c %d "./$name")" ] || echo "place mount"
            empty "./$name" && echo "place empty" || echo "place full"
        elif [ -e "./$name" ]; then
            echo "place file"
        fi
        at=$(stat -c %i "./$name" 2>/dev/null)
        if mine && [ -n "$at" ] && [ "$(cat ./placing 2>/dev/null)" = "$at" ]; then
            echo "placed $(cat ./result)"
        fi
    fi
    exit 0
    ;;
stage)
    # Makes the staging directory; what an earlier attempt of the same job left is removed first.
    enter "$parent" make
    if [ -e "./$staging" ] || [ -L "./$staging" ]; then
        (mine) || exit $?
        (mine && tidy) || refuse target_refused "what an earlier attempt left in $parent cannot be removed"
    fi
    if (mine 2>/dev/null); then
        mine # it holds what an earlier run set aside
    else
        mkdir -m 0700 "./$staging" || refuse target_refused "no directory can be made in $parent"
        cd -P "./$staging" && [ "$(pwd -P)" = "${parent%/}/$staging" ] && owned && empty . || refuse staging_exists "$parent/$staging is not this restore's own"
    fi
    printf '%s\n' "$job" >./job && mkdir -m 0700 ./tree || refuse target_full "$parent has no room"
    ;;
unpack)
    enter "$parent" stay && mine && cd -P ./tree && owned || refuse staging_gone "the staging directory is gone"
    if [ "$1" = gnu ]; then
        shift
        exec tar -xpf - --xattrs --xattrs-include='*' --acls --delay-directory-restore --warning=no-unknown-keyword "$@"
    fi
    shift
    exec tar -xpf - "$@"
    ;;
measure)
    # Names that are no directories; regular files by inode and their bytes.
    enter "$parent" stay && mine && cd -P ./tree || refuse staging_gone "the staging directory is gone"
    echo "names $(find . ! -type d -print0 | tr -dc '\0' | wc -c | tr -dc 0-9)"
    find . -type f -exec stat -c '%i %s' {} + | sort -u | awk '{n++; s += $2} END {printf "files %d\nbytes %.0f\n", n, s}'
    ;;
hashes)
    # As `hash`, in one process: what GNU can; a file that cannot be read is left out, and then `hash` has to tell.
    enter "$parent" stay && mine && cd -P ./tree || refuse staging_gone "the staging directory is gone"
    sha256sum --help 2>/dev/null | grep -q -e --zero || exit 0
    while IFS= read -r line; do printf './%b\0' "$line"; done | xargs -0 sha256sum -z -- 2>/dev/null | cut -z -c 1-64 | tr '\0' '\n'
    ;;
hash)
    # Reads names as printf writes them, one a line; answers a hash a line, in their order, `-` where there is none.
    enter "$parent" stay && mine && cd -P ./tree || refuse staging_gone "the staging directory is gone"
    while IFS= read -r line; do
        file=$(printf '%b.' "$line")
        file=./${file%.}
        if [ -f "$file" ] && [ ! -L "$file" ]; then
            set -- $(sha256sum <"$file")
            echo "${1:--}"
        else
            echo -
        fi
    done
    ;;
place)
    # One rename; its inode is noted before it, so that a later attempt knows whether it happened. `$1`: what of the
    # tree becomes the place, as printf writes it; empty for all. stdin: what is to be told of it then, of `$2` bytes.
    # Both directories are named by their open descriptors: who owns the parent may put a link in any path's way.
    enter "$parent" stay && exec 7<. && mine || refuse staging_gone "the staging directory is gone"
    note "$2"
    at=$(pwd -P)/tree
    base=$(printf '%b.' "$1")
    base=${base%.}
    if [ -z "$base" ]; then
        base=tree
    else
        case $base in
        */*) cd -P "./tree/${base%/*}" && at=$at/${base%/*} ;;
        *) cd -P ./tree ;;
        esac
        [ "$(pwd -P)" = "$at" ] || refuse hostile_archive "what was restored leads out of the staging directory"
        base=${base##*/}
    fi
    [ -d "./$base" ] && [ ! -L "./$base" ] && exec 8<. || refuse staging_gone "what was restored is no directory"
    id=$(stat -c %i "./$base")
    to=/proc/self/fd/7
    (cd -P $to/ && mine && printf '%s\n' "$id" >./placing && sync) || refuse target_full "$parent has no room"
    if [ -e "$to/$name" ] || [ -L "$to/$name" ]; then
        [ ! -L "$to/$name" ] && rmdir "$to/$name" 2>/dev/null || refuse target_exists "$parent/$name is there and not empty"
    fi
    mv -n -T "/proc/self/fd/8/$base" "$to/$name" || refuse target_refused "$parent/$name could not be made"
    [ "$(stat -c %i "$to/$name")" = "$id" ] || refuse target_exists "$parent/$name was made by somebody else meanwhile"
    ;;
clean)
    # `$1` is `unknown` where the job does not know of what was placed: a retry goes on with that.
    enter "$parent" stay || exit 0
    (mine) || exit 0
    [ "$1" = unknown ] && (mine && begun) && exit 0
    (mine && tidy)
    ;;
put)
    # What was restored goes to where it was, by placer.py in `$1`, with its plan in `$2`. stdin as for `place`, of `$3` bytes.
    enter "$parent" stay && exec 7<. && mine || refuse staging_gone "the staging directory is gone"
    if [ "$(cat ./placing 2>/dev/null)" = "$(stat -c %i .)" ]; then
        cat >/dev/null # an earlier attempt has begun, and its result is what is told
    else
        note "$3"
        stat -c %i . >./placing && sync || refuse target_full "$parent has no room"
    fi
    exec python3 -I -c "$1" put "$2"
    ;;
undo)
    # Gives back the names that a swap changed, by placer.py in `$1`, with its plan on stdin.
    command -v python3 >/dev/null || refuse merge_needs_python "there is no python3"
    enter "$parent" stay || refuse staging_gone "$parent is gone"
    exec python3 -I -c "$1" undo -
    ;;
existing)
    # Which of the names on stdin are there, by existing.py in `$1`; says nothing where not even their directory is.
    enter "$parent" stay || exit 0
    exec python3 -I -c "$1" "$2"
    ;;
esac
