#!/usr/bin/env python3
"""A second reader of CCS packages and bundles, written from docs/design/ccs.md and from nothing else.

usage: second_reader.py [--list] PACKAGE|BUNDLE...

Checks every header, every rule of the layout and every digest, and prints one line for each package:
its trove id, then how many components, entries, objects, frames and signatures it has; for a bundle one line, and
one for each trove. Exits 1 at the first file that is not as specified. Standard library only; zstd comes from Python 3.14, the zstandard module or the program `zstd`,
BLAKE3 is below.
"""

import array
import hashlib
import json
import os
import re
import struct
import subprocess
import sys

BLOCK = 512
FRAME = 8 << 20
LIMITS = {
    "manifest bytes": 16 << 20,
    "script bytes": 1 << 20,
    "components": 64,
    "tree bytes": 256 << 20,
    "entries": 1_000_000,
    "path depth": 256,
    "path bytes": 4095,
    "name bytes": 255,
    "owner bytes": 255,
    "attribute bytes": 65536,
    "attributes of an entry": 64,
    "attribute bytes of an entry": 131072,
    "index bytes": 4_080_056,
    "frames": 10_000,
    "frame bytes": FRAME,
    "stored frame bytes": 8_421_376,
    "compression ratio": 1000,
    "signatures": 64,
    "troves": 10_000,
    "bundle bytes": 2 << 20,
}


class Refused(Exception):
    """The package is not as specified."""


def need(condition, message):
    if not condition:
        raise Refused(message)


def limit(name, actual):
    need(actual <= LIMITS[name], f"{actual} {name}, more than {LIMITS[name]}")
    return actual


# --- BLAKE3 -----------------------------------------------------------------------------------------------------
# Many chunks at once: a Python integer holds one 32-bit word of each chunk in slots of 64 bits, so that one
# addition, xor or shift works on all of them.

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
MIXES = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
LANES = 1024


def spread(values):
    """Puts one number into each slot."""
    return int.from_bytes(array.array("Q", values).tobytes(), "little")


def gather(number, lanes):
    """Takes the numbers out of the slots."""
    slots = array.array("Q")
    slots.frombytes(number.to_bytes(8 * lanes, "little"))
    return slots


def compress(chaining, words, counters, length, flags, lanes):
    """The compression function on all lanes; returns eight words."""
    ones = spread([1] * lanes)
    mask = ones * 0xFFFFFFFF
    low = spread(counter & 0xFFFFFFFF for counter in counters)
    high = spread(counter >> 32 for counter in counters)
    v = list(chaining) + [ones * word for word in IV[:4]] + [low, high, ones * length, ones * flags]
    words = list(words)
    for turn in range(7):
        for mix, (a, b, c, d) in enumerate(MIXES):
            va, vb, vc, vd = v[a], v[b], v[c], v[d]
            va = (va + vb + words[2 * mix]) & mask
            vd ^= va
            vd = (vd >> 16 | vd << 16) & mask
            vc = (vc + vd) & mask
            vb ^= vc
            vb = (vb >> 12 | vb << 20) & mask
            va = (va + vb + words[2 * mix + 1]) & mask
            vd ^= va
            vd = (vd >> 8 | vd << 24) & mask
            vc = (vc + vd) & mask
            vb ^= vc
            vb = (vb >> 7 | vb << 25) & mask
            v[a], v[b], v[c], v[d] = va, vb, vc, vd
        if turn < 6:
            words = [words[place] for place in PERMUTATION]
    return [v[place] ^ v[place + 8] for place in range(8)]


def words_of(data):
    words = array.array("I")
    words.frombytes(data)
    if sys.byteorder == "big":
        words.byteswap()
    return words


def chunk_values(data, first):
    """Chaining values of whole chunks of 1024 bytes, as tuples."""
    lanes = len(data) // 1024
    words = words_of(data)
    chaining = [spread([word] * lanes) for word in IV]
    counters = range(first, first + lanes)
    for block in range(16):
        flags = (CHUNK_START if block == 0 else 0) | (CHUNK_END if block == 15 else 0)
        message = [spread(words[16 * block + word :: 256]) for word in range(16)]
        chaining = compress(chaining, message, counters, 64, flags, lanes)
    return list(zip(*(gather(word, lanes) for word in chaining)))


def last_chunk(data, counter, root):
    """Chaining value of one chunk of at most 1024 bytes."""
    blocks = [data[start : start + 64] for start in range(0, len(data), 64)] or [b""]
    chaining = IV
    for number, block in enumerate(blocks):
        flags = CHUNK_START if number == 0 else 0
        if number == len(blocks) - 1:
            flags |= CHUNK_END | (ROOT if root else 0)
        message = words_of(block.ljust(64, b"\0"))
        chaining = compress(chaining, message, [counter], len(block), flags, 1)
    return tuple(chaining)


def parents(values, root=False):
    """Chaining values of the parents of pairs."""
    pairs = [left + right for left, right in zip(values[::2], values[1::2])]
    lanes = len(pairs)
    message = [spread(words) for words in zip(*pairs)]
    chaining = [spread([word] * lanes) for word in IV]
    flags = PARENT | (ROOT if root else 0)
    made = compress(chaining, message, [0] * lanes, 64, flags, lanes)
    return list(zip(*(gather(word, lanes) for word in made)))


def blake3(data):
    """The 32 bytes of BLAKE3."""
    if len(data) <= 1024:
        return struct.pack("<8I", *last_chunk(data, 0, True))
    data = memoryview(data)
    whole = (len(data) - 1) // 1024
    values = []
    for first in range(0, whole, LANES):
        until = min(first + LANES, whole)
        values += chunk_values(data[1024 * first : 1024 * until], first)
    values.append(last_chunk(bytes(data[1024 * whole :]), whole, False))
    # Level by level; what is left over without a partner moves up, which gives the largest powers of two on the left.
    while len(values) > 2:
        values = parents(values[: len(values) & ~1]) + values[len(values) & ~1 :]
    return struct.pack("<8I", *parents(values, root=True)[0])


assert blake3(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


# --- zstd -------------------------------------------------------------------------------------------------------

def decoder():
    try:
        from compression import zstd

        return zstd.decompress
    except ImportError:
        pass
    try:
        import zstandard

        return lambda frame: zstandard.ZstdDecompressor().decompress(frame, max_output_size=FRAME)
    except ImportError:
        return decode_with_program


def decode_with_program(frame):
    # Frames are single-segment and their header was checked, so this gives at most FRAME bytes.
    done = subprocess.run(["zstd", "-dcq", "--no-check"], input=frame, capture_output=True)
    need(done.returncode == 0, "a frame does not decode: " + done.stderr.decode(errors="replace").strip())
    return done.stdout


def frame_header(size):
    magic = b"\x28\xb5\x2f\xfd"
    if size < 256:
        return magic + b"\x20" + struct.pack("<B", size)
    if size < 65792:
        return magic + b"\x60" + struct.pack("<H", size - 256)
    return magic + b"\xa0" + struct.pack("<I", size)


def check_frame(stored, size):
    """One frame, one segment, no checksum, ending where the member does."""
    header = frame_header(size)
    need(stored.startswith(header), "a frame does not begin as its size demands")
    place = len(header)
    while True:
        need(place + 3 <= len(stored), "a frame ends too early")
        block = int.from_bytes(stored[place : place + 3], "little")
        kind, length = block >> 1 & 3, block >> 3
        need(kind < 3, "a frame has a reserved block")
        place += 3 + (1 if kind == 1 else length)
        if block & 1:
            break
    need(place == len(stored), "a frame does not end where its member does")


# --- the archive ------------------------------------------------------------------------------------------------

def header(name, size):
    block = bytearray(BLOCK)

    def put(offset, data):
        block[offset : offset + len(data)] = data

    put(0, name.encode())
    put(100, b"0000644\0")
    put(108, b"0000000\0")
    put(116, b"0000000\0")
    put(124, b"%011o\0" % size)
    put(136, b"02263773600\0")
    put(148, b"        ")
    put(156, b"0")
    put(257, b"ustar\0" + b"00")
    put(265, b"root")
    put(297, b"root")
    put(329, b"0000000\0")
    put(337, b"0000000\0")
    put(148, b"%06o\0 " % sum(block))
    return bytes(block)


class Archive:
    def __init__(self, file):
        self.file = file
        self.length = os.fstat(file.fileno()).st_size

    def take(self, size):
        need(self.file.tell() + size <= self.length, "the file ends too early")
        return self.file.read(size)

    def next_name(self):
        """The name in the next header, whatever else that is."""
        block = self.take(BLOCK)
        self.file.seek(-len(block), os.SEEK_CUR)
        return block[:100].split(b"\0")[0]

    def member_size(self, name):
        block = self.take(BLOCK)
        digits = block[124:135]
        need(re.fullmatch(rb"[0-7]{11}", digits), f"no member `{name}`")
        size = int(digits, 8)
        need(block == header(name, size), f"no member `{name}`")
        return size

    def content(self, size):
        content = self.take(size)
        need(not self.take(-size % BLOCK).strip(b"\0"), "bytes between members")
        return content


# --- manifest and trees -----------------------------------------------------------------------------------------

TOP = (
    "format name version arch flavor label summary description homepage license components requires "
    "recommends provides conflicts replaces"
).split()
# Each stands there only when it holds something.
LATER = "config groups suggests scripts hooks".split()
SCRIPTS = "pre-install post-install pre-upgrade post-upgrade pre-remove post-remove".split()
COMPONENT = "tree files size_bytes provides requires".split()


def unique(pairs):
    keys = [key for key, _ in pairs]
    need(len(keys) == len(set(keys)), "the manifest has a key twice")
    return dict(pairs)


def no_number(text):
    raise Refused(f"the manifest has the number {text}")


def read_json(data):
    try:
        hooks = {"object_pairs_hook": unique, "parse_float": no_number, "parse_constant": no_number}
        return json.loads(data.decode(), **hooks)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the first member is no JSON: {error}") from None


def read_manifest(data):
    manifest = read_json(data)
    need(isinstance(manifest, dict) and list(manifest)[:1] == ["format"], "the manifest has no format")
    need(manifest["format"] == 1 and manifest["format"] is not True, "the manifest has another format")
    later = [field for field in LATER if field in manifest]
    need(list(manifest) == TOP + later, "the manifest has other fields")
    need(all(manifest[field] for field in later), "the manifest has a field that holds nothing")
    config = manifest.get("config", {"files": [], "noreplace": []})
    need(list(config) == ["files", "noreplace"], "config has other fields")
    for paths in config.values():
        need(paths == sorted(set(paths), key=str.encode) and all(path[:1] == "/" for path in paths), "paths of config")
    groups = manifest.get("groups", [])
    need(groups == sorted(set(groups), key=str.encode), "groups are not sorted")
    for group in groups:
        need(1 <= len(group.encode()) <= 100 and not re.search(r"[\s/\x00-\x1f\x7f-\x9f]|^[-@]", group), f"group {group!r}")
    for text in manifest.get("suggests", []):
        need(isinstance(text, str) and text, "an empty suggestion")
    scripts = manifest.get("scripts", {})
    need(list(scripts) == [name for name in SCRIPTS if name in scripts], "scripts that are none")
    for name, text in scripts.items():
        limit("script bytes", len(text.encode()))
        need("\0" not in text, f"script {name}")
    components = manifest["components"]
    need(isinstance(components, dict), "components is no object")
    limit("components", len(components))
    need(list(components) == sorted(components, key=str.encode), "components are not sorted")
    for name, component in components.items():
        need(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name), f"component {name!r}")
        need(isinstance(component, dict) and list(component) == COMPONENT, f"fields of {name}")
        need(re.fullmatch(r"blake3:[0-9a-f]{64}", str(component["tree"])), f"tree of {name}")
    # Python writes JSON as the specification has it.
    text = json.dumps(manifest, ensure_ascii=False, separators=(",", ":"))
    need(text.encode() == data, "the manifest is not in its canonical form")
    return manifest


class Bytes:
    def __init__(self, data):
        self.data, self.place = data, 0

    def take(self, size):
        need(self.place + size <= len(self.data), "a tree ends too early")
        self.place += size
        return self.data[self.place - size : self.place]

    def number(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                need(byte or not shift, "a number is longer than it must be")
                need(value < 1 << 64, "a number is too large")
                return value
            shift += 7
            need(shift < 64, "a number is too long")

    def counted(self):
        return self.take(self.number())


def read_tree(data):
    source = Bytes(data)
    magic = b"conary-tree 1\n"
    need(source.take(len(magic)) == magic, "no tree of format 1")
    entries, last = {}, None
    for _ in range(limit("entries", source.number())):
        kind = source.take(1)
        path = source.counted()
        need(last is None or last < path, "a tree is out of order")
        last = path
        limit("path bytes", len(path))
        parts = path.split(b"/")
        limit("path depth", len(parts))
        for part in parts:
            limit("name bytes", len(part))
            need(part not in (b"", b".", b"..") and b"\0" not in part, f"the path {path!r}")
        parent = b"/".join(parts[:-1])
        need(len(parts) == 1 or entries.get(parent, (b"",))[0] == b"d", f"{path!r} has no directory")
        mode = source.number()
        need(mode <= 0o7777, f"the mode of {path!r}")
        owners = source.counted(), source.counted()
        for owner in owners:
            limit("owner bytes", len(owner))
            text = owner.decode(errors="surrogateescape")
            text.encode()
            bad = not text or text[0] in "-+~" or re.search(r"[/:\s\x00-\x1f\x7f-\x9f]", text)
            need(not bad, f"an owner of {path!r}")
        attributes, before, total = [], None, 0
        for _ in range(limit("attributes of an entry", source.number())):
            name, value = source.counted(), source.counted()
            need(name and b"\0" not in name and (before is None or before < name), f"attributes of {path!r}")
            limit("name bytes", len(name))
            limit("attribute bytes", len(value))
            before, total = name, total + len(name) + len(value)
            attributes.append((name, value))
        limit("attribute bytes of an entry", total)
        metadata = (mode, owners, attributes)
        if kind == b"d":
            body = None
        elif kind == b"f":
            body = source.take(32), source.number()
        elif kind == b"h":
            body = source.counted()
            first = entries.get(body)
            need(first is not None and first[0] == b"f", f"{path!r} is a link to nothing")
            need(first[1] == metadata, f"{path!r} differs from what it is a link to")
        elif kind == b"l":
            body = source.counted()
            need(body and b"\0" not in body and mode == 0o777, f"the link {path!r}")
            limit("path bytes", len(body))
        else:
            raise Refused(f"an entry of kind {kind!r}")
        entries[path] = (kind, metadata, body)
    need(source.place == len(data), "bytes behind a tree")
    return entries


def merge(trees):
    """Components share directories and contradict each other nowhere."""
    merged = {}
    for tree in trees.values():
        for path, entry in tree.items():
            other = merged.setdefault(path, entry)
            need(other == entry or other[0] == entry[0] == b"d", f"{path!r} is two things")
    for path in merged:
        parent, slash, _ = path.rpartition(b"/")
        need(not slash or merged[parent][0] == b"d", f"{path!r} lies below something else")


# --- Ed25519, RFC 8032 --------------------------------------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def point(data):
    """Decodes a point in extended coordinates; refuses what is not its one encoding."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    need(y < P, "a second encoding of a point")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    need((x * x - square) % P == 0, "no point of the curve")
    need(x or not sign, "a second encoding of a point")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def add(one, other):
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number, base):
    result = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = add(result, base)
        base = add(base, base)
        number >>= 1
    return result


def equal(one, other):
    return (one[0] * other[2] - other[0] * one[2]) % P == 0 and (one[1] * other[2] - other[1] * one[2]) % P == 0


BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
NEUTRAL = (0, 1, 1, 0)


def signed(key, signature, message):
    """Says whether a signature is valid, strictly."""
    try:
        public, commitment = point(key), point(signature[:32])
    except Refused:
        return False
    scalar = int.from_bytes(signature[32:], "little")
    if scalar >= ORDER or equal(times(8, public), NEUTRAL) or equal(times(8, commitment), NEUTRAL):
        return False
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    challenge = int.from_bytes(digest, "little") % ORDER
    return equal(times(scalar, BASE), add(commitment, times(challenge, public)))


def read_signatures(data, identity):
    """Returns how many signatures there are; all must be valid."""
    need(len(data) > 16 and data[:8] == b"CCSSIGNS", "no signatures")
    version, count = struct.unpack_from("<2I", data, 8)
    need(version == 1, "signatures of another version")
    limit("signatures", count)
    need(count > 0 and len(data) == 16 + 96 * count, "signatures of a wrong length")
    rows = [(data[at : at + 32], data[at + 32 : at + 96]) for at in range(16, len(data), 96)]
    need(all(one[0] < other[0] for one, other in zip(rows, rows[1:])), "signatures out of order")
    for key, signature in rows:
        need(signed(key, signature, b"conary trove signature 1\n" + identity), f"the signature by {key.hex()}")
    return count


# --- the package ------------------------------------------------------------------------------------------------

def objects_of(trees):
    """Digest to size of every content but the empty one."""
    sizes = {}
    empty = blake3(b"")
    for tree in trees.values():
        for kind, _, body in tree.values():
            if kind == b"f":
                digest, size = body
                need((digest == empty) == (size == 0), "a size that no content has")
                need(sizes.setdefault(digest, size) == size, "one content with two sizes")
    sizes.pop(empty, None)
    return sizes


def positions(sizes, frames):
    """For each object in payload order: its first frame, its place there and its frames' count."""
    places, frame, filled = [], 0, 0
    for size in sizes:
        count = -(-size // FRAME)
        if count > 1:
            need(filled == 0, "a large object does not begin a frame")
            for piece in range(count):
                need(frame + piece < len(frames), "too few frames")
                need(frames[frame + piece] == min(FRAME, size - piece * FRAME), "a piece of a wrong size")
            places.append((frame, 0, count))
            frame += count
            continue
        need(frame < len(frames), "too few frames")
        places.append((frame, filled, 1))
        filled += size
        need(filled <= frames[frame], "an object crosses the end of its frame")
        if filled == frames[frame]:
            frame, filled = frame + 1, 0
    need(frame == len(frames) and filled == 0, "a frame holds more than its objects")
    return places


def read_index(archive, identity):
    """The rows of the frames, the order of the objects and the blocks before the payload."""
    index = archive.content(limit("index bytes", archive.member_size("index")))
    need(len(index) >= 56 and index[:8] == b"CCSINDEX", "no index")
    version, frames, count, blocks = struct.unpack_from("<4I", index, 8)
    need(version == 1, "an index of another version")
    limit("frames", frames)
    need(len(index) == 56 + 8 * frames + 4 * count, "an index of a wrong length")
    need(index[24:56] == identity, "another first member than the index names")
    rows = [struct.unpack_from("<2I", index, 56 + 8 * number) for number in range(frames)]
    order = struct.unpack_from(f"<{count}I", index, 56 + 8 * frames)
    need(sorted(order) == list(range(count)), "an order that is none")
    for stored, size in rows:
        limit("stored frame bytes", stored)
        limit("frame bytes", size)
        need(size > 0, "an empty frame")
    beyond = sum(size for _, size in rows) - (1 << 30)
    need(beyond <= 1000 * sum(stored for stored, _ in rows), "compression ratio")
    payload = sum(BLOCK * (1 - (-stored // BLOCK)) for stored, _ in rows)
    need(archive.file.tell() + blocks * BLOCK + payload + 2 * BLOCK == archive.length, "a file of another length")
    return rows, order, archive.file.tell() + blocks * BLOCK


def read_trees(archive, prefix, manifest, total):
    """The trees of a trove by component, and how many bytes of trees there are now."""
    trees = {}
    for name, component in manifest["components"].items():
        size = archive.member_size(f"{prefix}trees/{name}")
        total += size
        limit("tree bytes", total)
        data = archive.content(size)
        need("blake3:" + blake3(data).hex() == component["tree"], f"the tree of {name} is damaged")
        tree = trees[name] = read_tree(data)
        files = sum(kind != b"d" for kind, _, _ in tree.values())
        size = sum(body[1] for kind, _, body in tree.values() if kind == b"f")
        need((files, size) == (component["files"], component["size_bytes"]), f"counts of {name}")
    merge(trees)
    return trees, total


def read_signed(archive, prefix, identity):
    size = archive.member_size(f"{prefix}signatures")
    need(size <= 16 + 96 * LIMITS["signatures"], "signatures")
    return read_signatures(archive.content(size), identity)


def read_payload(archive, rows, order, trees):
    """Decodes every frame, checks every object, and finds the end."""
    sizes = objects_of(trees)
    need(len(sizes) == len(order), "an index of other objects")
    digests = sorted(sizes)
    digests = [digests[number] for number in order]
    places = positions([sizes[digest] for digest in digests], [size for _, size in rows])

    decode = decoder()
    contents = {}
    waiting = list(zip(digests, places))
    waiting.reverse()
    for number, (stored, size) in enumerate(rows):
        need(archive.member_size(f"payload/{number:04}.zst") == stored, "a frame of another length")
        frame = archive.content(stored)
        check_frame(frame, size)
        contents[number] = decode(frame)
        need(len(contents[number]) == size, "a frame that holds more or less than it should")
        while waiting and waiting[-1][1][0] + waiting[-1][1][2] - 1 <= number:
            digest, (first, place, pieces) = waiting.pop()
            if pieces > 1:
                content = b"".join(contents[first + piece] for piece in range(pieces))
            else:
                content = contents[first][place : place + sizes[digest]]
            need(blake3(content) == digest, f"an object of frame {first} is damaged")
        oldest = waiting[-1][1][0] if waiting else number + 1
        contents = {kept: content for kept, content in contents.items() if kept >= oldest}
    need(archive.take(2 * BLOCK) == bytes(2 * BLOCK), "no end of the archive")
    need(archive.file.tell() == archive.length, "bytes behind the end of the archive")


def read_package(archive):
    data = archive.content(limit("manifest bytes", archive.member_size("manifest.json")))
    identity = blake3(data)
    manifest = read_manifest(data)
    signed = archive.next_name() == b"signatures"
    signatures = read_signed(archive, "", identity) if signed else 0
    rows, order, payload_at = read_index(archive, identity)
    trees, _ = read_trees(archive, "", manifest, 0)
    need(archive.file.tell() == payload_at, "trees of another length")
    entries = limit("entries", sum(map(len, trees.values())))
    read_payload(archive, rows, order, trees)
    words = f"{len(trees)} components {entries} entries {len(order)} objects {len(rows)} frames"
    print(f"blake3:{identity.hex()} {words} {signatures} signatures")
    return trees


def read_bundle(archive):
    data = archive.content(limit("bundle bytes", archive.member_size("bundle.json")))
    listed = read_json(data)
    need(isinstance(listed, dict) and list(listed) == ["format", "troves"], "fields of the bundle")
    need(listed["format"] == 1 and listed["format"] is not True, "a bundle of another format")
    troves = listed["troves"]
    need(isinstance(troves, list) and troves, "a bundle of nothing")
    limit("troves", len(troves))
    for row in troves:
        need(isinstance(row, dict) and list(row) == ["trove", "signatures"], "fields of a trove")
        need(re.fullmatch(r"blake3:[0-9a-f]{64}", str(row["trove"])), "an id")
        need(type(row["signatures"]) is int and row["signatures"] >= 0, "a number of signatures")
    need(json.dumps(listed, separators=(",", ":")).encode() == data, "the list is not in its canonical form")
    need(all(one["trove"] < other["trove"] for one, other in zip(troves, troves[1:])), "troves out of order")

    rows, order, payload_at = read_index(archive, blake3(data))
    trees, total, entries, lines = {}, 0, 0, []
    for number, row in enumerate(troves):
        prefix = f"{number:04}/"
        data = archive.content(limit("manifest bytes", archive.member_size(f"{prefix}manifest.json")))
        identity = blake3(data)
        need(f"blake3:{identity.hex()}" == row["trove"], f"the manifest of trove {number}")
        manifest = read_manifest(data)
        signatures = read_signed(archive, prefix, identity) if row["signatures"] else 0
        need(signatures == row["signatures"], f"the signatures of trove {number}")
        own, total = read_trees(archive, prefix, manifest, total)
        objects_of(own)
        entries = limit("entries", entries + sum(map(len, own.values())))
        trees.update({prefix + name: tree for name, tree in own.items()})
        lines.append(f"{row['trove']} {len(own)} components {signatures} signatures")
    need(archive.file.tell() == payload_at, "troves of another length")
    read_payload(archive, rows, order, trees)
    print(f"bundle of {len(troves)} troves {entries} entries {len(order)} objects {len(rows)} frames")
    print("\n".join(lines))
    return trees


def read(path, listing):
    with open(path, "rb") as file:
        archive = Archive(file)
        trees = read_bundle(archive) if archive.next_name() == b"bundle.json" else read_package(archive)
    if listing:
        for name, tree in trees.items():
            for entry, (kind, (mode, _, _), body) in tree.items():
                print(f"  {name} {kind.decode()} {mode:04o} {entry!r} {body if kind in (b'h', b'l') else ''}")


def main(arguments):
    listing = arguments[:1] == ["--list"]
    paths = arguments[listing:]
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    for path in paths:
        try:
            read(path, listing)
        except (Refused, OSError) as error:
            print(f"second_reader: {path}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
