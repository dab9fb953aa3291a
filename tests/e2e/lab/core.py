# SPDX-License-Identifier: Apache-2.0
"""Namespaces, processes and files of one laboratory, and their removal."""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time

BASE = "/run/shunt-lab"
NETNS = "/run/netns"
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """The laboratory itself failed; says nothing about the product."""


def wait_for(condition, timeout, what="condition", interval=0.01):
    """Calls condition() until it is true; returns its value. Raises LabError after timeout (s)."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout} s for: {what}")
        time.sleep(interval)


def run(command, check=True, **options):
    """subprocess.run with text and captured output; its words are in the exception."""
    options.setdefault("stdin", subprocess.DEVNULL if "input" not in options else None)
    if "input" in options:
        options.pop("stdin")
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if check and done.returncode:
        raise LabError(f"{' '.join(map(str, command))}: exit {done.returncode}\n"
                       f"{done.stdout}{done.stderr}")
    return done


def setns(path):
    """Moves the calling thread into the network namespace at path."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {path}")
    finally:
        os.close(fd)


class Host:
    """One network namespace."""

    def __init__(self, lab, role):
        self.lab = lab
        self.role = role
        self.name = f"shunt-{lab.id}-{role}"
        self.path = f"{NETNS}/{self.name}"

    def run(self, *command, **options):
        return run(["nsenter", f"--net={self.path}", "--", *map(str, command)], **options)

    def popen(self, *command, **options):
        process = subprocess.Popen(["nsenter", f"--net={self.path}", "--", *map(str, command)],
                                   stdin=subprocess.DEVNULL, **options)
        self.lab.processes.append(process)
        return process

    def ip(self, *lines):
        """Runs several `ip` commands at once."""
        run(["ip", "-n", self.name, "-batch", "-"], input="\n".join(lines) + "\n")

    def nft(self, text):
        self.run("nft", "-f", "-", input=text)

    def nft_packets(self, table, counter):
        """What a named counter of an inet table has counted."""
        text = self.run("nft", "list", "counter", "inet", table, counter).stdout
        return int(text.split("packets")[1].split()[0])

    @contextlib.contextmanager
    def entered(self):
        """The calling thread is in this namespace meanwhile; sockets made there stay there."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(self.path)
            yield
        finally:
            if _libc.setns(before, CLONE_NEWNET):
                os._exit(70)  # in a namespace that we cannot leave nothing is true any more
            os.close(before)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, proto=0):
        with self.entered():
            return socket.socket(family, kind, proto)

    def sysctl(self, **values):
        """net__ipv4__ip_forward=1: names below /proc/sys with __ for each slash."""
        with self.entered():
            for name, value in values.items():
                path = "/proc/sys/" + name.replace("__", "/")
                with open(path, "w") as f:
                    f.write(str(value))

    def has_link(self, ifname):
        with self.entered():
            try:
                return socket.if_nametoindex(ifname)
            except OSError:
                return 0


class Lab:
    """The owner of everything: namespaces, processes, files and a bpffs of its own."""

    def __init__(self, name):
        os.makedirs(BASE, exist_ok=True)
        self.id = hashlib.sha1(f"{name} {os.getpid()} {time.time_ns()}".encode()).hexdigest()[:6]
        self.dir = f"{BASE}/{self.id}"
        self.bpffs = f"{self.dir}/bpffs"
        self.hosts = {}
        self.processes = []
        self.closers = []
        self.keep = None  # where logs are copied at the end, if anywhere
        with _base_lock():
            sweep()
            os.mkdir(self.dir)
            self._lock = open(f"{self.dir}/lock", "w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            os.mkdir(self.bpffs)
            run(["mount", "-t", "bpf", "bpf", self.bpffs])
        except BaseException:
            self.close()
            raise

    def add_hosts(self, *roles):
        hosts = [Host(self, role) for role in roles]
        run(["ip", "-batch", "-"], input="".join(f"netns add {h.name}\n" for h in hosts))
        for host in hosts:
            self.hosts[host.role] = host
            host.ip("link set lo up")
        return hosts

    def add_host(self, role):
        return self.add_hosts(role)[0]

    def remove_host(self, host):
        _kill(_pids({_inode(host.path)}))
        run(["ip", "netns", "del", host.name])
        del self.hosts[host.role]

    def veths(self, *pairs):
        """Makes pairs of devices: (host, device, its MAC, peer host, peer device, its MAC)."""
        run(["ip", "-batch", "-"], input="".join(
            f"link add {dev} netns {a.name} address {mac} type veth "
            f"peer name {peer} netns {b.name} address {peer_mac}\n"
            for a, dev, mac, b, peer, peer_mac in pairs))

    def program(self, name):
        """A BPF object that was built for the tests."""
        build = os.environ.get("SHUNT_BUILD", "build")
        return os.path.join(os.path.abspath(build), "tests", "e2e", name)

    def path(self, *parts):
        """A path in the laboratory's directory, whose folder exists."""
        path = os.path.join(self.dir, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def close(self):
        for closer in reversed(self.closers):
            closer()
        self.closers.clear()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
        for process in self.processes:
            process.wait()
        if self.keep:
            _copy_logs(self.dir, self.keep)
        with _base_lock():
            _destroy(self.id)
            self._lock.close()


@contextlib.contextmanager
def _base_lock():
    with open(f"{BASE}/.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sweep():
    """Removes the laboratories of runs that are dead; the caller holds the base lock."""
    for lab_id in os.listdir(BASE):
        path = f"{BASE}/{lab_id}/lock"
        if lab_id == ".lock":
            continue
        try:
            lock = open(path)
        except FileNotFoundError:
            _destroy(lab_id)
            continue
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its owner lives
            _destroy(lab_id)


def _destroy(lab_id):
    prefix = f"shunt-{lab_id}-"
    names = [n for n in os.listdir(NETNS) if n.startswith(prefix)] if os.path.isdir(NETNS) else []
    _kill(_pids({_inode(f"{NETNS}/{name}") for name in names}))
    if names:
        run(["ip", "-force", "-batch", "-"], check=False,
            input="".join(f"netns del {name}\n" for name in names))
    run(["umount", "-l", f"{BASE}/{lab_id}/bpffs"], check=False)
    shutil.rmtree(f"{BASE}/{lab_id}", ignore_errors=True)


def _inode(path):
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _pids(inodes):
    """Processes in these network namespaces, but never our own."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid() and \
           _inode(f"/proc/{entry}/ns/net") in inodes:
            found.append(int(entry))
    return found


def _kill(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(_runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.005)


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def _copy_logs(source, target):
    os.makedirs(target, exist_ok=True)
    for directory, folders, files in os.walk(source):
        folders[:] = [f for f in folders if f != "bpffs"]
        for name in files:
            if name.endswith((".log", ".yaml", ".json", ".jsonl")):
                path = os.path.join(directory, name)
                shutil.copy(path, os.path.join(target,
                                               os.path.relpath(path, source).replace("/", "_")))
