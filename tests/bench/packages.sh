#!/bin/bash
# tests/bench/packages.sh
# Times writing and importing a package against tar and zstd on the same tree, in interleaved pairs (pairs.py):
# the section "Packages" of docs/performance.md.
#
#   tests/bench/packages.sh [TREE]...    without a name: 5,000 files with 100 MB, picked from /usr
#
# Builds `store/examples/store.rs` unless $STORE names the program. Everything is written below one temporary directory
# on the file system of $TMPDIR. Writing: nobody syncs. Import: Conary syncs what it does, and behind tar comes
# `sync -f`. Sizes: payload against a solid tar at the same level.
set -euo pipefail
cd "$(dirname "$0")/../.."
pairs="$PWD/tests/bench/pairs.py"
if [ -z "${STORE:-}" ]; then
  cargo build --quiet --release -p conary-store --example store
  STORE=$(realpath "${CARGO_TARGET_DIR:-target}/release/examples/store")
fi
count=${PAIRS:-11}
level=${LEVEL:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Moved away and deleted at the end: ext4 is slow to make files while others were deleted within the last five seconds.
mkdir "$work/old"
aside="f() { ! test -e \$1 || mv \$1 $work/old/\$(date +%s%N); }; f"

say() { printf '\n== %s\n' "$*"; }

# Real files of all kinds, the same ones each time on one machine: by digest of their paths until both sums are reached.
pick() {
  python3 - "$1" <<'P'
import hashlib, os, shutil, sys
found = []
for top in ("/usr/bin", "/usr/include", "/usr/lib", "/usr/share"):
    for directory, _, names in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                found.append((hashlib.sha256(os.fsencode(path)).digest(), path))
files, total = 0, 0
for _, path in sorted(found):
    size = os.path.getsize(path)
    if total + size > 20_000 * (files + 1) + 4_000_000:
        continue
    files, total = files + 1, total + size
    target = sys.argv[1] + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copy(path, target)
    if files == 5000:
        break
print(f"{files} files, {total} bytes")
P
}

compare() {
  local tree=$1
  rm -rf "$work/store"
  local id
  id=$("$STORE" ingest "$work/store" "$tree")
  say "size at level $level: package, then a solid tar"
  "$STORE" write "$work/store" "$id" "$work/p.ccs" "$level"
  tar -C "$tree" --sort=name -cf - . | zstd -q -T0 "-$level" >"$work/p.tar.zst"
  stat -c '%s bytes solid' "$work/p.tar.zst"
  say "write: A = package, B = tar | zstd -T0 -$level; nobody syncs"
  "$pairs" -n "$count" "$STORE write $work/store $id $work/a.ccs $level" \
    "tar -C $tree --sort=name -cf - . | zstd -q -f -T0 -$level -o $work/b.tar.zst"
  local threads
  for threads in 2 1; do
    say "import, $threads threads: A = package into an empty store, which syncs; B = tar -I zstd -x, then sync -f"
    "$pairs" -n "$count" --prepare-a "$aside $work/into; sync" --prepare-b "$aside $work/plain; mkdir $work/plain; sync" \
      "env RAYON_NUM_THREADS=$threads $STORE import $work/into $work/p.ccs" \
      "tar -C $work/plain -I zstd -xf $work/p.tar.zst && sync -f $work/plain"
  done
  say "import of what is there already (B is nothing)"
  "$STORE" import "$work/into" "$work/p.ccs" >/dev/null
  "$pairs" -n "$count" "$STORE import $work/into $work/p.ccs" "true"
}

if [ $# = 0 ]; then
  say "5,000 files with 100 MB"
  pick "$work/tree"
  compare "$work/tree"
fi
for tree in "$@"; do
  say "$tree"
  compare "$tree"
done
