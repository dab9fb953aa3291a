# SPDX-License-Identifier: Apache-2.0
"""Makes the initramfs of a test machine: a cpio archive (newc), without root, without cpio."""

import lzma
import os
import re
import stat
import subprocess

MODULES = """veth bridge dummy sch_ingress cls_bpf cls_u32 act_bpf sch_fq
    nf_conntrack nf_tables nft_ct nft_objref crc32c_generic crc32c-cryptoapi""".split()


class Archive:
    """A cpio archive in memory."""

    def __init__(self):
        self.parts, self.names = [], set()

    def entry(self, name, mode, data=b"", device=(0, 0)):
        name = name.lstrip("/")
        if name in self.names:
            return
        self.names.add(name)
        if os.path.dirname(name):
            self.entry(os.path.dirname(name), stat.S_IFDIR | 0o755)
        encoded = name.encode() + b"\0"
        fields = [len(self.names), mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0]
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        self.parts += [pad(head), pad(data)]

    def file(self, name, data, mode=0o755):
        self.entry(name, stat.S_IFREG | mode, data)

    def bytes(self):
        self.entry("TRAILER!!!", 0)
        return b"".join(self.parts)


def pad(data):
    return data + b"\0" * (-len(data) % 4)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def libraries(programs):
    """The shared libraries of programs, and their loader, by the path that they are sought at."""
    listing = subprocess.run(["ldd", *programs], capture_output=True, text=True).stdout
    return sorted(set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", listing, re.M)))


def stripped(path):
    """A program without debugging information, which is most of it."""
    out = subprocess.run(["objcopy", "-g", path, "/dev/stdout"], capture_output=True)
    return out.stdout if not out.returncode and out.stdout else read(path)


def system(programs, tools, texts):
    """What all machines share.

    programs: {path in the machine: path here}, built by us; tools: {path there: path here} of
    the host; texts: {path: content}. Returns an archive's bytes.
    """
    archive = Archive()
    archive.entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.entry("etc", stat.S_IFDIR | 0o755)
    for name, path in programs.items():
        archive.file(name, stripped(path))
    for name, path in tools.items():
        archive.file(name, read(path))
    for path in libraries([*programs.values(), *tools.values()]):
        archive.file(path, read(path))
    for name, text in texts.items():
        archive.file(name, text.encode())
    return archive.bytes()


def file(name, text):
    """An archive of one file: archives may follow each other."""
    archive = Archive()
    archive.file(name, text.encode())
    return archive.bytes()


def unpacked(path):
    if path.endswith(".xz"):
        return lzma.decompress(read(path))
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
    return read(path)


def modules(root):
    """The modules that the tests need, of the kernel unpacked at root, in the order to load."""
    found, ordered = {}, {}
    for folder, _, names in os.walk(root):
        for name in names:
            known = re.match(r"([\w-]+)\.ko(\.xz|\.zst)?$", name)
            if known:
                found[known.group(1).replace("-", "_")] = os.path.join(folder, name)

    def add(name):
        name = name.replace("-", "_")
        if name in ordered or name not in found:  # built in, or this kernel has another
            return
        data = unpacked(found[name])
        for needed in re.findall(rb"\0(?:depends=|softdep=pre: ?)([\w,\- ]*)", data):
            for other in re.split(rb"[, ]", needed):
                if other and b":" not in other:
                    add(other.decode())
        ordered[name] = data

    # Others ask for crc32c by its algorithm, which no dependency names.
    for name in sorted(MODULES, key=lambda name: "crc32c" not in name):
        add(name)
    archive = Archive()
    for name, data in ordered.items():
        archive.file(f"modules/{name}.ko", data)
    archive.file("modules/list", "".join(f"{name}.ko\n" for name in ordered).encode())
    return archive.bytes()
