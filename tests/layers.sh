#!/bin/sh
# Arrows between folders: codec -> nothing, storage -> LMDB, index -> codec and storage (and CRoaring),
# server -> index. Each external library has one folder that may include it.
set -u
bad=0
complain() { echo "layers: $1"; bad=1; }

folders() { # folder, allowed folders as an extended regular expression
    grep -HnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$1"/*.[ch] 2>/dev/null |
        grep -vE "\"($2)/[a-z0-9_]+\.h\"" | while read -r line; do echo "$line"; done
}
library() { # header pattern, folder that may include it
    grep -HnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*<$1" codec/*.[ch] storage/*.[ch] index/*.[ch] \
        server/*.[ch] 2>/dev/null | grep -v "^$2/"
}
check() { # what, offending lines
    [ -z "$2" ] || { complain "$1"; echo "$2"; }
}
check "codec/ includes only codec/" "$(folders codec 'codec')"
check "storage/ includes only storage/" "$(folders storage 'storage')"
check "index/ includes only index/, codec/, storage/" "$(folders index 'index|codec|storage')"
check "server/ includes only server/ and index/" "$(folders server 'server|index')"
check "lmdb.h belongs to storage/" "$(library 'lmdb' storage)"
check "roaring belongs to index/" "$(library 'roaring' index)"
check "ICU belongs to index/" "$(library 'unicode/' index)"
check "libstemmer belongs to index/" "$(library 'libstemmer' index)"
for header in 'uv\.h' llhttp jansson 'zlib' 'zstd' openssl; do
    check "$header belongs to server/" "$(library "$header" server)"
done
[ "$bad" = 0 ] && echo "layers: the arrows hold"
exit "$bad"
