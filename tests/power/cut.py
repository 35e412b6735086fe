#!/usr/bin/env python3
# tests/power/cut.py
"""Pulls the plug: replays what a disk had at the moment of a power cut, and asks Conary what is left.

    cut.py CONARY FILE_SYSTEM CUTS [SEED] [DIRECTORY]

1. Record. A file system (ext4, xfs, btrfs) lies on a disk that logs writes and flushes (disk.py). Conary cooks,
   installs, upgrades, rolls back, removes, exports, imports, moves a store and collects garbage on it. Each line that it
   prints is noted with the length of the log at that moment. This is done twice: as it is, and with somebody who calls
   syncfs all the time, so that states between Conary's own syncs reach the disk too.
2. Cut. A power cut leaves everything up to some flush, and of what was written between that flush and the next one any
   part, in any order: here whole writes are kept or lost, or torn at sectors, by dice from the seed.
3. Look. The image is mounted, so that the kernel replays its journal, and Conary's next command recovers. Then:
   every object in the databases is whole; what was printed before the cut is there; the root is exactly as it was after
   one of the steps that the moment allows; recovering again changes nothing; garbage collection leaves a store without a
   fault; and the next install goes through.

A line counts as printed before the cut when it came before the next flush ended: the latest moment that leaves this disk.
Needs root, loop devices and /dev/fuse. Prints what went wrong with the seed and number of the cut; exits with 1 then.
"""

import hashlib
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from disk import Disk, alone  # noqa: E402

MEBIBYTE = 1 << 20
# Size, how it is made, the disk's sector: the smallest piece that a cut leaves whole. xfs and btrfs keep a checksum of each block of
# 4 KiB, and give the file system up where recovery finds one of which a part was written.
FILE_SYSTEMS = {
    "ext4": (96 * MEBIBYTE, ["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0"], 512),
    "xfs": (320 * MEBIBYTE, ["mkfs.xfs", "-q", "-f", "-K", "-s", "size=4096"], 4096),
    "btrfs": (256 * MEBIBYTE, ["mkfs.btrfs", "-q", "-f", "-K"], 4096),
}

ONE = """
[package]
name = "one"
version = "{version}"
[build]
install = '''
d="$DESTDIR"; mkdir -p "$d/usr/bin" "$d/etc" "$d/usr/share/one/v{version}" "$d/usr/share/one/empty"
echo "program {version}" > "$d/usr/bin/one"; chmod 755 "$d/usr/bin/one"; ln "$d/usr/bin/one" "$d/usr/bin/one-{version}"
ln -s one "$d/usr/bin/uno-{version}"; echo "setting {version}" > "$d/etc/one.conf"
head -c {large} /dev/zero | tr '\\0' {letter} > "$d/usr/share/one/large"
i=0; while [ $i -lt 12 ]; do echo "{version} $i" > "$d/usr/share/one/v{version}/$i"; echo "same $i" > "$d/usr/share/one/$i"; i=$((i+1)); done
{turn}
'''
"""
MANY = """
[package]
name = "many"
version = "{version}"
[build]
install = '''
i=0; while [ $i -lt 400 ]; do
  d="$DESTDIR/usr/share/many/$((i % 80))"; mkdir -p "$d"; echo "{version} $i" > "$d/f$i"; echo "same $i" > "$d/s$i"; i=$((i+1)); done
'''
"""
SOURCE = "what somebody brought\n" * 4000
SOURCED = """
[package]
name = "sourced"
version = "1"
[source]
archive = "https://nowhere.invalid/sourced-1.tar.gz"
checksum = "sha256:{digest}"
[build]
install = "true"
"""


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as out:
        out.write(text)


def prepare(work, conary):
    """Writes the recipes and cooks the packages that all recordings install."""
    for version, turn, large, letter in [
        ("1", 'mkdir "$d/usr/share/one/turns"; echo x > "$d/usr/share/one/turns/x"', 3300000, "a"),
        ("2", 'echo file > "$d/usr/share/one/turns"', 2200000, "b"),
    ]:
        write(f"{work}/one-{version}/recipe.toml", ONE.format(version=version, turn=turn, large=large, letter=letter))
        write(f"{work}/many-{version}/recipe.toml", MANY.format(version=version))
    write(f"{work}/source.bin", SOURCE)
    write(f"{work}/sourced/recipe.toml", SOURCED.format(digest=hashlib.sha256(SOURCE.encode()).hexdigest()))
    for name in ["one-1", "one-2", "many-1", "many-2"]:
        run([conary, "cook", f"{work}/{name}", "--store", f"{work}/store", "--output", f"{work}/packages"], work)
    packages = {}
    for entry in os.listdir(f"{work}/packages"):
        name, version = re.match(r"([a-z]+)-(\d)-", entry).groups()
        packages[f"{name}-{version}"] = f"{work}/packages/{entry}"
    return packages


def environment(work):
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": work, "LANG": "C.UTF-8", "TMPDIR": work}


def run(command, work, check=True, timeout=120):
    result = subprocess.run(
        command, env=environment(work), cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
    )
    if check and result.returncode != 0:
        raise Fault(f"{' '.join(command)}: exit {result.returncode}\n{result.stdout}{result.stderr}")
    return result


# What a root without a package says, whether it has a database already or not.
NOTHING = "nothing"


class Fault(Exception):
    """Something that must not be after a power cut."""


def attach(command):
    """Attaches a loop device; tries again when somebody else took the free one in between."""
    for _ in range(20):
        attached = subprocess.run(command, capture_output=True, text=True)
        if attached.returncode == 0:
            return attached.stdout.strip()
        time.sleep(0.1)
    raise RuntimeError(f"no loop device: {attached.stderr}")


class Image:
    """A mounted file system on an image or a disk."""

    def __init__(self, backing, kind, place):
        sector = ["--sector-size", "4096"] if FILE_SYSTEMS[kind][2] == 4096 else []
        self.place = place
        self.loop = attach(["losetup", "--find", "--show", *sector, backing])
        mounted = subprocess.run(["mount", "-t", kind, self.loop, place], capture_output=True, text=True)
        if mounted.returncode != 0:
            subprocess.run(["losetup", "--detach", self.loop], check=True)
            raise Fault(f"the file system cannot be mounted: {mounted.stderr}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for _ in range(50):
            if subprocess.run(["umount", self.place], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            raise RuntimeError(f"{self.place} stays busy")
        subprocess.run(["losetup", "--detach", self.loop], check=True)
        attached = f"/sys/block/{os.path.basename(self.loop)}/loop/backing_file"
        for _ in range(100):
            if not os.path.exists(attached):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.loop} stays attached")


def tree(top):
    """Everything below a directory but Conary's own state and the directories that hold it: one line for each path."""
    lines = []
    for directory, names, files in os.walk(top):
        below = os.path.relpath(directory, top)
        if below == "var/lib":
            names[:] = [name for name in names if name != "conary"]
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            found = os.lstat(path)
            if os.path.normpath(os.path.join(below, name)) in ("var", "var/lib"):
                continue
            line = f"{os.path.join(below, name)} {found.st_mode:o} {found.st_uid}:{found.st_gid}"
            if stat.S_ISLNK(found.st_mode):
                line += f" -> {os.readlink(path)}"
            elif stat.S_ISREG(found.st_mode):
                with open(path, "rb") as file:
                    line += f" {hashlib.sha256(file.read()).hexdigest()}"
            lines.append(line)
    return sorted(lines)


class Looker:
    """Asks what is on the mounted file system."""

    def __init__(self, conary, work, place):
        self.conary, self.work, self.place = conary, work, place
        self.root = f"{place}/root"

    def ask(self, *arguments, check=True):
        return run([self.conary, *arguments], self.work, check)

    def stores(self):
        """The stores that there are: the root's first, then the cook's."""
        places = [f"{self.root}/var/lib/conary", f"{self.place}/store"]
        return [path for path in places if os.path.exists(f"{path}/store.db")]

    def troves(self):
        """The troves of all stores."""
        found = set()
        for store in self.stores():
            rows = json.loads(self.ask("store", "list", "--json", "--store", store).stdout)["troves"]
            found |= {(os.path.relpath(store, self.place), row["spec"], row["trove"]) for row in rows}
        return found

    def packages(self):
        """The package files that cooks wrote; each must be whole."""
        top = f"{self.place}/dist"
        found = {name for name in os.listdir(top) if not name.startswith(".")} if os.path.isdir(top) else set()
        for name in sorted(found):
            self.ask("ccs", "verify", f"{top}/{name}")
        return found

    def source(self):
        """The source that somebody brought, if it is there."""
        command = ["cook", "--fetch-only", "--offline", f"{self.work}/sourced", "--store", f"{self.place}/store"]
        is_here = f"{self.place}/store" in self.stores() and self.ask(*command, check=False).returncode == 0
        return {"source"} if is_here else set()

    def recover(self):
        """Runs commands that may write to the stores and the root, which recovers them, if they are there."""
        for store in self.stores():
            self.ask("gc", "--dry-run", "--store", store)
        if os.path.exists(f"{self.root}/var/lib/conary/root.db"):
            self.ask("trigger", "run", "--root", self.root)

    def state(self):
        """All that a step may change."""
        return {**self.changing(), "packages": self.packages(), "source": self.source()}

    def changing(self):
        """What a recovery may change."""
        of_root = lambda command: self.ask(command, "--json", "--root", self.root, check=False).stdout
        installed = of_root("list") if os.path.exists(f"{self.root}/var/lib/conary/root.db") else NOTHING
        if installed != NOTHING and not json.loads(installed)["troves"]:
            installed = NOTHING
        return {
            "root": tree(self.root),
            "installed": installed,
            "verified": of_root("verify") if installed != NOTHING else NOTHING,
            "troves": self.troves(),
        }


def scenario(conary, work, place, packages):
    """The steps that are recorded: (name, command or function, the line that promises its result)."""
    root, store = ["--root", f"{place}/root", "--yes"], ["--store", f"{place}/store"]
    cook = lambda name: [conary, "cook", f"{work}/{name}", *store, "--output", f"{place}/dist"]

    def edit():
        write(f"{place}/edited", "what the user wrote\n")
        for path in (f"{place}/edited", place):
            sync(path)
        os.rename(f"{place}/edited", f"{place}/root/etc/one.conf")
        sync(f"{place}/root/etc")
        sync(place)

    return [
        ("source add", [conary, "source", "add", f"{work}/source.bin", *store], r"sha256:|Added"),
        ("cook", cook("one-1"), r"^one=1-1"),
        ("cook many", cook("many-1"), r"^many=1-1"),
        ("install", [conary, "install", packages["one-1"], *root], r"Installed one"),
        ("edit", edit, None),
        ("install many", [conary, "install", packages["many-1"], *root], r"Installed many"),
        ("upgrade", [conary, "install", packages["one-2"], *root], r"Replaced one"),
        ("rollback", [conary, "rollback", *root], r"Replaced one"),
        ("cook again", cook("one-2"), r"^one=2-1"),
        ("gc", [conary, "gc", *store], None),
        ("upgrade both", [conary, "install", packages["one-2"], packages["many-2"], *root], r"Replaced one"),
        ("remove", [conary, "remove", "many", *root], r"Removed many"),
        ("gc of the root", [conary, "gc", "--store", f"{place}/root/var/lib/conary"], None),
    ]


def sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


class Nervous:
    """Somebody who has the file system synced all the time, at moments that nobody can foresee."""

    def __init__(self, place, seed):
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.work, args=(place, random.Random(seed)))
        self.thread.start()

    def work(self, place, dice):
        while not self.stop.wait(dice.uniform(0.001, 0.03)):
            subprocess.run(["sync", "--file-system", place], check=True)

    def close(self):
        self.stop.set()
        self.thread.join()


class Recording:
    """What a disk was asked while the scenario ran on it."""

    def __init__(self, conary, kind, work, packages, nervous):
        self.kind, self.base = kind, f"{work}/base.img"
        size, make, _ = FILE_SYSTEMS[kind]
        image, place, fuse = f"{work}/disk.img", f"{work}/mnt", f"{work}/fuse"
        for directory in (place, fuse):
            os.makedirs(directory, exist_ok=True)
        with open(image, "wb") as file:
            file.truncate(size)
        disk = Disk(image, fuse)
        try:
            subprocess.run([*make, disk.path], check=True, stdout=subprocess.DEVNULL)
            disk.log.clear()
            shutil.copyfile(image, self.base)
            with Image(disk.path, kind, place):
                self.record(Looker(conary, work, place), disk, packages, nervous)
        finally:
            disk.close()
        os.unlink(image)
        self.log = disk.log
        self.flushes = [place for place, entry in enumerate(self.log) if entry is None]

    def record(self, looker, disk, packages, nervous):
        """Runs the scenario and notes what the log was at each step, and what is there after it."""
        self.states, self.steps = [looker.state()], []
        for name, action, promise in scenario(looker.conary, looker.work, looker.place, packages):
            begun, promised = len(disk.log), None
            if callable(action):
                action()
            else:
                shaker = Nervous(looker.place, name) if nervous else None
                try:
                    promised = self.listen(action, promise, looker.work, disk)
                finally:
                    if shaker:
                        shaker.close()
            self.steps.append((name, begun, promised))
            self.states.append(looker.state())

    @staticmethod
    def listen(command, promise, work, disk):
        """Runs a command; returns how long the log was when the promising line came."""
        process = subprocess.Popen(
            command, env=environment(work), cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        lines, promised = [], None
        for line in process.stdout:
            length = len(disk.log)
            lines.append(line.decode(errors="replace"))
            if promise and promised is None and re.search(promise, lines[-1].strip()):
                promised = length
        if process.wait() != 0 or (promise and promised is None):
            raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}, promise {promise}\n{''.join(lines)}")
        return promised

    def moments(self, wanted, half):
        """Which cuts to make: for each the entries behind its last flush, up to the next. Every step gets the same share."""
        count = len(self.steps)
        borders = [begun for _, begun, _ in self.steps[1:]] + [len(self.log)]
        starts = [0] + [place + 1 for place in self.flushes]
        pairs = list(zip(starts, self.flushes + [len(self.log)]))
        found = []
        for number, (_, begun, _) in enumerate(self.steps):
            inside = [pair for pair in pairs if begun <= pair[1] and pair[0] <= borders[number]]
            turn = (number + half) % count
            share = wanted * (turn + 1) // count - wanted * turn // count
            found += [inside[place * len(inside) // share] for place in range(share)]
        return sorted(found)

    def allowed(self, end):
        """Which states a cut before entry `end` may leave: from the last one promised to the last one begun."""
        first = last = 0
        for number, (_, begun, promised) in enumerate(self.steps):
            if promised is not None and promised <= end:
                first = number + 1
            if begun <= end:
                last = number + 1
        return first, last


def leave(recording, image, start, end, dice):
    """Writes to the image a part of what was written between two flushes: what a power cut may leave."""
    sector = FILE_SYSTEMS[recording.kind][2]
    keep = dice.choice([0, 0.1, 0.5, 0.9, 1])
    torn = dice.choice([0, 0.3])
    kept = 0
    for entry in recording.log[start:end]:
        if dice.random() >= keep:
            continue
        kept += 1
        offset, data = entry
        if dice.random() >= torn:
            os.pwrite(image, data, offset)
            continue
        for piece in range(0, len(data), sector):
            if dice.random() < 0.5:
                os.pwrite(image, data[piece : piece + sector], offset + piece)
    return kept, end - start


def check(recording, looker, end):
    """Recovers, and compares what is there with what must be."""
    first, last = recording.allowed(end)
    states = recording.states[first : last + 1]
    looker.recover()
    for store in looker.stores():
        verified = looker.ask("store", "verify", "--json", "--store", store, check=False)
        if verified.returncode not in (0, 7):
            raise Fault(f"{store} cannot be verified: {verified.stderr}")
        report = json.loads(verified.stdout)
        bad = [problem for problem in report["problems"] if not problem.endswith("belongs to no object")]
        if bad:
            raise Fault(f"{store} is damaged: {bad}")
    found = looker.state()
    for name in ("root", "installed", "verified"):
        if found[name] not in [state[name] for state in states]:
            raise Fault(f"{name} is neither old nor new (states {first} to {last}): {difference(found[name], states, name)}")
    # One step: the tree, the list and the comparison belong to the same state.
    whole = ("root", "installed", "verified")
    if not any(all(found[name] == state[name] for name in whole) for state in states):
        raise Fault("the files and the database do not agree")
    for name in ("troves", "packages", "source"):
        must = set.intersection(*(state[name] for state in states))
        may = set.union(*(state[name] for state in states))
        if not must <= found[name] <= may:
            raise Fault(f"{name} (states {first} to {last}): lost {must - found[name]}, came {found[name] - may}")
    looker.recover()
    if any(found[name] != again for name, again in looker.changing().items()):
        raise Fault("recovering again changed something")
    for store in looker.stores():
        looker.ask("gc", "--store", store)
        looker.ask("store", "verify", "--store", store)


def difference(found, states, name):
    """The lines that differ from the nearest state."""
    def lines(value):
        return set(value if isinstance(value, list) else value.splitlines())

    nearest = min((lines(state[name]) ^ lines(found) for state in states), key=len)
    return sorted(nearest)[:20]


def main():
    conary, kind, cuts = os.path.abspath(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    work = os.path.abspath(sys.argv[5]) if len(sys.argv) > 5 else f"/dev/shm/conary-power-{os.getpid()}"
    alone()
    os.makedirs(work)
    place = f"{work}/mnt"
    faults, moments = 0, {}
    try:
        packages = prepare(work, conary)
        for half, nervous in enumerate((False, True)):
            recording = Recording(conary, kind, work, packages, nervous)
            flushes = recording.flushes
            writes = len(recording.log) - len(flushes)
            print(f"{kind}: {writes} writes, {len(flushes)} flushes" + (", synced by others" if nervous else ""), flush=True)
            prefix, reached = f"{work}/prefix.img", 0
            os.rename(recording.base, prefix)
            for number, (start, end) in enumerate(recording.moments(cuts // 2, half)):
                name = f"{kind} seed {seed} cut {half}.{number}"
                descriptor = os.open(prefix, os.O_RDWR)
                for entry in recording.log[reached:start]:
                    if entry is not None:
                        os.pwrite(descriptor, entry[1], entry[0])
                os.close(descriptor)
                reached = start
                image = f"{work}/cut-{half}-{number}.img"
                subprocess.run(["cp", "--sparse=always", prefix, image], check=True)
                dice = random.Random(f"{seed} {half} {number}")
                descriptor = os.open(image, os.O_RDWR)
                kept, of = leave(recording, descriptor, start, end, dice)
                os.close(descriptor)
                step = [name for name, begun, _ in recording.steps if begun <= end][-1:] or ["begin"]
                moments[step[0]] = moments.get(step[0], 0) + 1
                try:
                    with Image(image, kind, place):
                        looker = Looker(conary, work, place)
                        check(recording, looker, end)
                        if number % 5 == 0:
                            both = [packages["one-2"], packages["many-2"]]
                            looker.ask("install", *both, "--root", looker.root, "--yes")
                except Fault as fault:
                    faults += 1
                    print(f"{name} (in {step[0]}, entry {start}, {kept} of {of} writes kept): {fault}", flush=True)
                    if "KEEP" in os.environ:
                        shutil.copyfile(image, f"{os.environ['KEEP']}/{kind}-{half}-{number}.img")
                os.unlink(image)
            os.unlink(prefix)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    told = ", ".join(f"{name} {number}" for name, number in moments.items())
    print(f"{kind}: {cuts // 2 * 2} cuts ({told}), {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
