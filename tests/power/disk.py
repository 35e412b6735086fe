# tests/power/disk.py
"""A disk that remembers: one file on a FUSE file system of our own, which logs every write and every flush.

A loop device over that file turns what a file system sends to its disk into calls of ours: a block that is written
arrives as WRITE, a flush of the disk's cache as FSYNC. The server answers one request at a time and logs it before it
answers, so the log is in the order in which the disk was asked, and everything that the disk promised by a flush stands
before that flush.

The server speaks the protocol of /dev/fuse itself (linux/fuse.h, 7.31): a directory with one file, `disk`. Reads and
writes bypass the page cache (FOPEN_DIRECT_IO), so nothing is merged or delayed between the loop device and the log.
Needs root. Standard library only.
"""

import ctypes
import errno
import os
import struct
import threading

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 1, 2, 3, 4, 14, 15, 16, 17, 18, 20
FLUSH, INIT, OPENDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = 25, 26, 27, 29, 36, 38, 42
BIG_WRITES, MAX_PAGES = 1 << 5, 1 << 22
DIRECT_IO = 1
TOP, DISK = 1, 2
LARGEST = 1 << 20

libc = ctypes.CDLL(None, use_errno=True)


def alone():
    """Takes this process into a mount namespace of its own, so that nobody else's namespace keeps what it mounts."""
    private, everywhere = 1 << 18, 1 << 14
    if libc.unshare(0x20000) != 0 or libc.mount(None, b"/", None, private | everywhere, None) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a mount namespace")


class Disk:
    """A disk image whose writes and flushes are logged: `log` holds (offset, bytes) for a write, None for a flush."""

    def __init__(self, image, place):
        self.place = place
        self.path = os.path.join(place, "disk")
        self.log = []
        self.image = os.open(image, os.O_RDWR)
        self.size = os.fstat(self.image).st_size
        self.device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,max_read={LARGEST}"
        if libc.mount(b"power", place.encode(), b"fuse.power", 0, options.encode()) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot mount a FUSE file system: {os.strerror(number)}")
        self.server = threading.Thread(target=self.serve, daemon=True)
        self.server.start()

    def close(self):
        """Takes the file system away; the image stays."""
        if libc.umount2(self.place.encode(), 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot unmount the FUSE file system")
        self.server.join()
        os.close(self.device)
        os.close(self.image)

    def serve(self):
        """Answers requests until the file system is unmounted."""
        try:
            while True:
                try:
                    request = os.read(self.device, LARGEST + 4096)
                except OSError as error:
                    if error.errno == errno.ENODEV:
                        return
                    if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                        continue
                    raise
                _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
                if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
                    continue
                try:
                    answer = self.answer(opcode, node, memoryview(request)[40:])
                    failure = 0
                except OSError as error:
                    answer, failure = b"", -error.errno
                try:
                    os.write(self.device, struct.pack("<IiQ", 16 + len(answer), failure, unique) + answer)
                except FileNotFoundError:
                    pass  # Nobody waits for this answer any more.
        except BaseException as error:  # Whoever waits for this disk would wait for ever.
            print(f"the disk's server failed: {error!r}", flush=True)
            os._exit(3)

    def answer(self, opcode, node, body):
        """Carries out one request and returns what follows the header of the answer."""
        if opcode == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            data = bytes(body[40 : 40 + size])
            os.pwrite(self.image, data, offset)
            self.log.append((offset, data))
            return struct.pack("<II", size, 0)
        if opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return os.pread(self.image, size, offset)
        if opcode == FSYNC:
            self.log.append(None)
            return b""
        if opcode in (GETATTR, SETATTR):
            return struct.pack("<QII", 3600, 0, 0) + self.attributes(node)
        if opcode == LOOKUP:
            if bytes(body).rstrip(b"\0") != b"disk":
                raise OSError(errno.ENOENT, "")
            return struct.pack("<QQQQII", DISK, 0, 3600, 3600, 0, 0) + self.attributes(DISK)
        if opcode in (OPEN, OPENDIR):
            return struct.pack("<QIi", 0, DIRECT_IO if opcode == OPEN else 0, 0)
        if opcode == INIT:
            _, _, readahead, _ = struct.unpack_from("<IIII", body)
            head = struct.pack("<IIIIHHIIHH", 7, 31, readahead, BIG_WRITES | MAX_PAGES, 16, 12, LARGEST, 1, LARGEST >> 12, 0)
            return head + bytes(64 - len(head))
        if opcode == STATFS:
            return struct.pack("<QQQQQIII", self.size >> 12, 0, 0, 2, 0, 4096, 255, 4096) + bytes(28)
        if opcode in (RELEASE, RELEASEDIR, FLUSH, DESTROY):
            return b""
        raise OSError(errno.ENOSYS, "")

    def attributes(self, node):
        """What stat shows of the directory or of the file."""
        size, mode = (self.size, 0o100600) if node == DISK else (0, 0o40700)
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, size >> 9, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
