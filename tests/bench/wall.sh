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
  # The same configure, once to count its calls and once to count its processor time.
  cp -r "$work/hello" "$work/counted"
  (cd "$work/counted" && FORCE_UNSAFE_CONFIGURE=1 strace -f -c -e trace=uname,sched_getaffinity,chown,fchownat ./configure -q 2>&1 >/dev/null |
    awk '/uname|affinity|chown/ { print "calls of configure:", $NF, $4 } /total/ { print "calls of configure: all", $3 }')
  command time -f 'processor seconds of configure in the wall: %U + %S' \
    "$conary" sandbox --rw "$work/hello" -- env FORCE_UNSAFE_CONFIGURE=1 ./configure -q >/dev/null
}

root() {
  say "a root of 100,000 files: import, first checkout, later starts"
  mkdir -p "$work/big/usr/bin" "$work/big/usr/share" "$work/x"
  ln -s usr/bin "$work/big/bin"
  cc -static -O1 -o "$work/big/usr/bin/true" -x c - <<<'int main(void) { return 0; }'
  cp "$(command -v busybox || command -v bash)" "$work/big/usr/bin/sh"
  for library in $(ldd "$work/big/usr/bin/sh" 2>/dev/null | grep -o '/[^ )]*'); do
    mkdir -p "$work/big$(dirname "$library")"
    cp -L "$library" "$work/big$library"
  done
  (cd "$work/big/usr/share" && for directory in $(seq 100); do mkdir "$directory" && (cd "$directory" && seq 1000 | split -l 1 -a 4); done)
  printf '[package]\nname = "x"\nversion = "1"\n[build]\ninstall = "echo x > $DESTDIR/x"\n' >"$work/x/recipe.toml"
  export HOME=$work
  local cook="$conary cook $work/x --hermetic --seed big --force --store $work/store --output $work/dist"
  command time -f 'import: %e s' "$conary" seed import big "$work/big" --store "$work/store" >/dev/null
  command time -f 'first cook, with the checkout: %e s' $cook >/dev/null 2>&1 || $cook
  say "a later cook in that root, against the same in the host's /usr"
  "$work/pairs.py" -n "$count" "$cook" "$conary cook $work/x --force --store $work/store --output $work/dist"
  "$conary" show x --cooked --store "$work/store" | tail -n 2
}

[ $# -gt 0 ] || set -- start supervisor root
for what in "$@"; do
  "$what"
done
