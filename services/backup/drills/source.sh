# Hashes files that were not changed since they were backed up. stdin: a line for each, `<size> <seconds> <path>`, the
# path as printf writes it. Answers a line for each: `<size> <time of change> <SHA-256>`, or `-` where there is nothing to
# compare. A file that is read while it changes is none.
LC_ALL=C
export LC_ALL
look() { stat -c '%s %.9Y %f' -- "$1" 2>/dev/null; }
while IFS=' ' read -r size seconds line; do
    file=$(printf '%b.' "$line")
    file=/${file%.}
    before=$(look "$file")
    set -- $before
    if [ "${1:-}" != "$size" ] || [ "${2%%.*}" != "$seconds" ] || [ -L "$file" ] || [ ! -f "$file" ]; then
        echo -
        continue
    fi
    hash=$(sha256sum <"$file" 2>/dev/null) || hash=
    if [ -n "$hash" ] && [ "$(look "$file")" = "$before" ]; then
        echo "$1 $2 ${hash%% *}"
    else
        echo -
    fi
done
