#!/usr/bin/env python3
"""tests/bench/pkgbuilds.py: how long PKGBUILDs take to be read and written as recipes, and in how much memory.

  CONARY=target/release/conary python3 tests/bench/pkgbuilds.py [FILES] [SINGLE] [MAKEPKG]

FILES (20,000) files of 1 to 6 KB are made from those of converters/tests/corpus, each with functions of its own behind them, and converted
by one `conary convert pkgbuild`; then SINGLE (300) of them by a process each; then MAKEPKG (3) of the latter are read by makepkg, as an
ordinary user. Exits with 1 if a limit is missed: 60 s and 200 MiB for 20,000 on two processors, 5 ms for one.
"""

import os, random, shutil, statistics, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
CONARY = os.path.realpath(os.environ.get("CONARY", HERE / "target/release/conary"))
FILES, SINGLE, MAKEPKG = (int(given) for given in sys.argv[1:4] + ["20000", "300", "3"][len(sys.argv) - 1:])
LINES = [
    'cd "$srcdir/$pkgname-$pkgver"',
    "./configure --prefix=/usr --sysconfdir=/etc --localstatedir=/var --disable-static",
    'make ${MAKEFLAGS:--j1} CFLAGS="$CFLAGS -DNDEBUG" all',
    'make DESTDIR="$pkgdir" install',
    'install -Dm644 LICENSE "$pkgdir/usr/share/licenses/$pkgname/LICENSE"',
    "for _file in *.conf; do [ -f \"$_file\" ] && install -Dm644 \"$_file\" -t \"$pkgdir/etc/$pkgname\"; done",
    "sed -i 's|/usr/local|/usr|g' Makefile || return 1",
    "# what upstream leaves behind, \"quoted\" and it's here",
]


def environment(home):
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8"}


def write(directory, texts):
    choice = random.Random(20000)
    for at in range(FILES):
        text = texts[at % len(texts)]
        size, own = choice.randint(1000, 6000), 0
        while len(text) < size:
            own += 1
            text += f"\n_own_{at}_{own}() {{\n" + "".join(f"  {line}\n" for line in choice.choices(LINES, k=8)) + "}\n"
        place = directory / f"{at:05}"
        place.mkdir()
        (place / "PKGBUILD").write_text(text)


def timed(command, home):
    """Seconds, the peak of memory in MiB, and seconds of processors."""
    start = time.monotonic()
    process = subprocess.Popen(command, env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    return time.monotonic() - start, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def main():
    scratch = Path(tempfile.mkdtemp(prefix="pkgbuilds-"))
    scratch.chmod(0o755)
    try:
        texts = [path.read_text() for path in sorted((HERE / "converters/tests/corpus").glob("*/PKGBUILD"))]
        (scratch / "in").mkdir()
        write(scratch / "in", texts)
        seconds, peak, cpu = timed([CONARY, "convert", "pkgbuild", str(scratch / "in"), "-o", str(scratch / "out")], scratch)
        written = len(list((scratch / "out").glob("*/recipe.toml")))
        each = 1000 * cpu / FILES
        print(f"{FILES} files: {seconds:.1f} s, {cpu:.1f} s of processors ({each:.2f} ms each), {peak:.0f} MiB, {written} recipes")
        one = []
        for at in range(SINGLE):
            file = scratch / "in" / f"{at * FILES // SINGLE:05}"
            one.append(1000 * timed([CONARY, "convert", "pkgbuild", str(file), "-o", str(scratch / "one")], scratch)[0])
        print(f"one at a time, with the start of the process: median {statistics.median(one):.1f} ms, worst {max(one):.1f} ms")
        theirs = []
        user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] if os.getuid() == 0 else []
        for at in range(MAKEPKG):
            place = scratch / f"makepkg{at}"
            place.mkdir()
            place.chmod(0o777)
            (place / "PKGBUILD").write_text("pkgname=x\npkgver=1\npkgrel=1\narch=(any)\nlicense=(MIT)\nsource=(https://e.example/x.tar.gz)\nsha256sums=(SKIP)\npackage() { :; }\n")
            start = time.monotonic()
            subprocess.run(user + ["makepkg", "--printsrcinfo"], cwd=place, env=environment(place), check=True, capture_output=True)
            theirs.append(1000 * (time.monotonic() - start))
        if theirs:
            ratio = statistics.median(theirs) / statistics.median(one)
            print(f"makepkg --printsrcinfo: median {statistics.median(theirs):.0f} ms, {ratio:.0f} times as long")
        missed = seconds > 60 * FILES / 20000 or peak > 200 or statistics.median(one) > 5 or written < FILES * 0.99
        sys.exit(int(missed))
    finally:
        shutil.rmtree(scratch)


main()
