#!/bin/bash
# tests/bench/wall.sh
# Times the wall: its start against bubblewrap's, the supervisor on a configure, a root of 100,000 files.
#
#   tests/bench/wall.sh [start|supervisor|root]...      all of them without a name
#
# Needs a release build ($CONARY, default target/release/conary), bwrap, a C compiler; `supervisor` wants strace and the release tarball of
# GNU hello in $DISTFILES. Run by root, `start` measures as root and as an ordinary user. PAIRS is the number of interleaved pairs.
set -euo pipefail
cd "$(dirname "$0")/../.."
pairs="$PWD/tests/bench/pairs.py"
count=${PAIRS:-41}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
install -m 755 "$(realpath "${CONARY:-target/release/conary}")" "$work/conary"
install -m 755 "$pairs" "$work/pairs.py"
conary=$work/conary
mkdir "$work/tmp" && chmod 1777 "$work/tmp"

say() { printf '\n== %s\n' "$*"; }

start() {
  local wall="$conary sandbox -- /bin/true"
  local bwrap="bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev /bin/true"
  say "a whole wall around /bin/true, against bwrap, as $(id -un)"
  "$work/pairs.py" -n "$count" "$wall" "$bwrap"
  if [ "$(id -u)" = 0 ]; then
    local user=nobody
    id tester >/dev/null 2>&1 && user=tester
    say "the same as $user"
    setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups env -i PATH=/usr/bin:/bin HOME=/tmp TMPDIR="$work/tmp" \
      "$work/pairs.py" -n "$count" "$wall" "$bwrap"
  fi
}

supervisor() {
  say "the supervisor on configure of GNU hello: calls answered, and what one costs"
  cat >"$work/calls.c" <<'C'
#include <stdio.h>
#include <sys/utsname.h>
#include <time.h>
int main(void) {
    struct utsname names;
    struct timespec one, other;
    clock_gettime(CLOCK_MONOTONIC, &one);
    for (int number = 0; number < 20000; number++) uname(&names);
    clock_gettime(CLOCK_MONOTONIC, &other);
    printf("%.2f\n", ((other.tv_sec - one.tv_sec) * 1e9 + other.tv_nsec - one.tv_nsec) / 20000e3);
    return 0;
}
C
  mkdir -p "$work/hello"
  cc -O1 -o "$work/hello/calls" "$work/calls.c"
  echo "microseconds a call, answered by the kernel:     $("$work/hello/calls")"
  echo "microseconds a call, answered by the supervisor: $("$conary" sandbox --rw "$work/hello" -- ./calls)"
  local tarball
  tarball=$(find "${DISTFILES:?the directory with the tarball of GNU hello}" -name 'hello-2.*.tar.gz' | sort | tail -n 1)
  tar -C "$work/hello" --strip-components=1 -xf "$tarball"
  mkdir "$work/hello/counted" "$work/hello/out"
  (cd "$work/hello/counted" && FORCE_UNSAFE_CONFIGURE=1 strace -f -c -e trace=uname,sched_getaffinity -o "$work/calls" ../configure -q &&
    awk '/uname|affinity/ { print "calls of configure that the supervisor answers:", $NF, $4 }' "$work/calls")
  # The same command in the wall and without one: what differs is more than the supervisor. (bwrap does not account for its children.)
  local run="sh -c 'cd out && FORCE_UNSAFE_CONFIGURE=1 ../configure -q CFLAGS=-O2'"
  local bare="env -i -C $work/hello PATH=/usr/bin:/bin LC_ALL=C.UTF-8"
  local wall="$conary sandbox --rw $work/hello --"
  say "configure of GNU hello, in the wall against none, which is more than the supervisor: CPU counts"
  "$work/pairs.py" -n "$count" "$wall $run" "$bare $run"
  say "its compilation"
  run="sh -c 'cd out && make -s clean && make -s'"
  "$work/pairs.py" -n "$count" "$wall $run" "$bare $run"
}

root() {
  say "a root of 100,000 files: import, first checkout, later starts"
  mkdir -p "$work/big/usr/bin" "$work/big/usr/share" "$work/x"
  ln -s usr/bin "$work/big/bin"
  ln -s usr/lib "$work/big/lib"
  ln -s usr/lib64 "$work/big/lib64"
  mkdir -p "$work/big/usr/lib" "$work/big/usr/lib64"
  local shell
  shell=$(command -v dash || command -v bash)
  cp "$shell" "$work/big/usr/bin/sh"
  for library in $(ldd "$shell" | grep -o '/[^ )]*'); do
    mkdir -p "$work/big$(dirname "$library")"
    cp -L "$library" "$work/big$library"
  done
  cp -r "$work/big" "$work/small"
  # No content twice: each file is an object of its own.
  (cd "$work/big/usr/share" && for number in $(seq 100); do
    mkdir "$number" && (cd "$number" && seq "${number}0000" "${number}0999" | split -l 1 -a 3 -d)
  done)
  printf '[package]\nname = "x"\nversion = "1"\n[build]\ninstall = "echo x > $DESTDIR/x"\n' >"$work/x/recipe.toml"
  export HOME=$work
  local cook="$conary cook $work/x --force --store $work/store --output $work/dist --hermetic --seed"
  "$conary" seed import small "$work/small" --store "$work/store" >/dev/null
  command time -f 'import: %e s' "$conary" seed import big "$work/big" --store "$work/store" >/dev/null
  # Both must lay 100,000 names out on the same file system; neither syncs them.
  sync -f "$work"
  command time -f 'first cook, with the checkout: %e s, %U + %S s of processor' $cook big >"$work/said" 2>"$work/errors" || { cat "$work/errors"; exit 1; }
  tail -n 1 "$work/errors"
  sync -f "$work"
  command time -f 'cp -al of the same files: %e s, %U + %S s of processor' cp -al "$work/store/roots/$(ls -S "$work/store/roots" | head -n 1)" "$work/copy" 2>"$work/errors" || true
  tail -n 1 "$work/errors"
  say "a later cook in that root, against one in a root of a few files"
  "$work/pairs.py" -n "$count" "$cook big" "$cook small"
  for _ in 1 2 3 4 5; do
    $cook big >/dev/null 2>&1
    "$conary" show x --cooked --json --store "$work/store" | grep -o '"wall_ms":[ 0-9]*' | head -n 1
  done | sort -V | sed -n '3s/.*:/milliseconds of the one step in it, its start included (median of 5): /p'
}

[ $# -gt 0 ] || set -- start supervisor root
for what in "$@"; do
  "$what"
done
