#!/bin/sh
# Runs the freshly built program and compares what it says with what it should say.
set -eu

expect() {
    wanted=$1
    shift
    got=$("$@")
    if [ "$got" != "$wanted" ]; then
        echo "FAIL: $*: wanted '$wanted', got '$got'" >&2
        exit 1
    fi
    echo "ok: $*"
}

expect "Hello, world!" ./hello
expect "Hello, cook!" ./hello cook
expect "hello $VERSION" ./hello --version

if ./hello --wrong 2>/dev/null; then
    echo "FAIL: an unknown option was accepted" >&2
    exit 1
fi
echo "ok: an unknown option is refused"

if ./hello 2>/dev/null >/dev/full; then
    echo "FAIL: a full disk went unnoticed" >&2
    exit 1
fi
echo "ok: a full disk is noticed"
