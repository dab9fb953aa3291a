# SPDX-License-Identifier: Apache-2.0
"""Load: HTTP with one connection per request, UDP datagrams, and long connections."""

import collections
import errno
import hashlib
import itertools
import random
import select
import socket
import threading
import time

from .core import setns

KEEP_ALIVE = b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n"
ERRORS = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset", errno.EPIPE: "reset",
          errno.ETIMEDOUT: "timeout", errno.EHOSTUNREACH: "unreachable",
          errno.ENETUNREACH: "unreachable", errno.EADDRNOTAVAIL: "no port"}

# One request: when it began (time.monotonic, s), how long it took (s), "" or the error, who
# answered, and from where it was sent.
Record = collections.namedtuple("Record", "start took error group pod source")


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tuples(client, seed, count, addresses=5000, family=4):
    """count different (address, port) of a client's pool, always the same for a seed."""
    chosen = random.Random(seed)
    seen = set()
    while len(seen) < count:
        pair = client.address(chosen.randrange(addresses), family), chosen.randrange(1024, 61000)
        if pair not in seen:
            seen.add(pair)
            yield pair


class Tally:
    """Records, summed up."""

    def __init__(self, records):
        self.records = records
        self.n = len(records)
        self.errors = collections.Counter(r.error for r in records if r.error)
        self.groups = collections.Counter(r.group for r in records if not r.error)
        self.pods = collections.Counter(r.pod for r in records if not r.error)

    def since(self, moment):
        return Tally([r for r in self.records if r.start >= moment])

    def between(self, begin, end):
        return Tally([r for r in self.records if begin <= r.start < end])

    def share(self, group):
        return self.groups[group] / max(1, sum(self.groups.values()))

    def slowest(self):
        return max((r.took for r in self.records), default=0.0)

    def __repr__(self):
        return f"<{self.n} requests, {dict(self.groups)}, errors {dict(self.errors)}>"


class HttpLoad:
    """Requests in a thread of their own, inside the client's namespace.

    total:       stop after so many; None: until stop()
    rate:        connections a second; None: as fast as `concurrency` allows
    sources:     (address, port) to send from, in order; None: the kernel's choice
    path:        what is asked for; an answer that is an error counts by its code, "500"
    """

    def __init__(self, client, address, port=80, *, total=None, rate=None, concurrency=48,
                 sources=None, timeout=4.0, path="/"):
        self.request = f"GET {path} HTTP/1.0\r\n\r\n".encode()
        self.client, self.target = client, (address, port)
        self.family = family_of(address)
        self.total, self.rate, self.concurrency, self.timeout = total, rate, concurrency, timeout
        self.sources = iter(sources) if sources is not None else itertools.repeat(None)
        self.records = []
        self._open = {}  # fd -> [socket, start, data, source]
        self._stop = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._main, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        """No new connections; returns when the open ones are done."""
        self._stop.set()
        return self.wait()

    def wait(self):
        self._thread.join()
        if self._failure:
            raise self._failure
        return Tally(self.records)

    def tally(self):
        """What has been answered until now, while it runs."""
        return Tally(list(self.records))

    def _main(self):
        try:
            setns(self.client.host.path)
            self._poll = select.epoll()
            self._loop()
        except Exception as e:  # handed to wait(): a thread has nobody else to tell
            self._failure = e

    def _loop(self):
        begun, made, checked = time.monotonic(), 0, 0.0
        exhausted = False
        while not exhausted or self._open:
            now = time.monotonic()
            while not exhausted and len(self._open) < self.concurrency:
                if self._stop.is_set() or (self.total is not None and made >= self.total):
                    exhausted = True
                elif self.rate and made > (now - begun) * self.rate:
                    break
                else:
                    source = next(self.sources, False)
                    if source is False:
                        exhausted = True
                    else:
                        self._connect(source)
                        made += 1
            wait = 0.05
            if self.rate and not exhausted and len(self._open) < self.concurrency:
                wait = min(wait, max(0.0, begun + made / self.rate - now))
            for fd, _ in self._poll.poll(wait, 256):
                self._progress(fd)
            if now - checked > 0.1:
                checked = now
                self._expire(now)

    def _connect(self, source):
        sock = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        start = time.monotonic()
        try:
            if source:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(source)
            error = sock.connect_ex(self.target)
            source = source or sock.getsockname()[:2]
        except OSError as e:
            error = e.errno
        if error not in (0, errno.EINPROGRESS):
            self._record(sock, start, name_of(error), source)
            return
        self._open[sock.fileno()] = [sock, start, None, source]
        self._poll.register(sock.fileno(), select.EPOLLOUT)

    def _progress(self, fd):
        entry = self._open[fd]
        sock, start, data, source = entry
        try:
            if data is None:
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, "")
                sock.send(self.request)
                entry[2] = b""
                self._poll.modify(fd, select.EPOLLIN)
                return
            chunk = sock.recv(4096)
            entry[2] = data + chunk
            if not chunk:
                self._finish(fd, "" if b"\r\n\r\n" in entry[2] else "eof")
        except BlockingIOError:
            pass
        except OSError as e:
            self._finish(fd, name_of(e.errno))

    def _finish(self, fd, error):
        sock, start, data, source = self._open.pop(fd)
        self._record(sock, start, error, source, data)

    def _record(self, sock, start, error, source, data=None):
        sock.close()
        group = pod = ""
        if not error and int(data[9:12]) >= 400:
            error = data[9:12].decode()
        if not error:
            group, pod = data.split(b"\r\n\r\n", 1)[1].decode().split()
        self.records.append(Record(start, time.monotonic() - start, error, group, pod, source))

    def _expire(self, now):
        for fd in [fd for fd, entry in self._open.items() if now - entry[1] > self.timeout]:
            self._finish(fd, "timeout")


def http(client, address, port=80, total=100, **options):
    """total requests; returns their Tally."""
    return HttpLoad(client, address, port, total=total, **options).start().wait()


def udp(client, address, port, sources, timeout=1.0, datagrams=1):
    """One flow from each of sources; the Tally says who answered the last datagram."""
    records, family = [], family_of(address)
    for source in sources:
        sock = client.host.socket(family, socket.SOCK_DGRAM)
        sock.settimeout(timeout)
        start, error, group, pod = time.monotonic(), "", "", ""
        try:
            sock.bind(source)
            sock.connect((address, port))
            for n in range(datagrams):
                sock.send(b"%d" % n)
                group, pod, echoed = sock.recv(2048).decode().split()
                if int(echoed) != n:
                    error = "wrong echo"
        except socket.timeout:
            error = "timeout"
        except OSError as e:
            error = name_of(e.errno)
        finally:
            sock.close()
        records.append(Record(start, time.monotonic() - start, error, group, pod, source))
    return Tally(records)


class Long:
    """Long connections to an echo server: opened once, pinged now and then."""

    def __init__(self, client, address, port, count, timeout=3.0, sources=None):
        self.sockets = []
        self.groups = collections.Counter()
        self.pods = []
        sources = iter(sources) if sources is not None else itertools.repeat(None)
        for _ in range(count):
            sock = client.host.socket(family_of(address))
            sock.settimeout(timeout)
            source = next(sources)
            if source:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(source)
            sock.connect((address, port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            group, pod = self._greeting(sock).split()
            self.sockets.append(sock)
            self.groups[group] += 1
            self.pods.append(pod)

    def _greeting(self, sock):
        return _line(sock)

    def _ask(self, sock):
        sock.sendall(b"ping\n")

    def _check(self, sock, pod):
        return _line(sock) == "ping"

    def ping(self):
        """Sends on each and waits for the answer; returns the failures: Counter by kind."""
        failures = collections.Counter()
        asked = []
        for sock, pod in zip(self.sockets, self.pods):
            try:
                self._ask(sock)
                asked.append((sock, pod))
            except OSError as e:
                failures[name_of(e.errno)] += 1
        for sock, pod in asked:
            try:
                if not self._check(sock, pod):
                    failures["wrong answer"] += 1
            except socket.timeout:
                failures["timeout"] += 1
            except OSError as e:
                failures[name_of(e.errno)] += 1
        return failures

    def close(self):
        for sock in self.sockets:
            sock.close()
        self.sockets.clear()


class KeepAlive(Long):
    """Long HTTP connections: a ping is a request, answered by the pod that had the first."""

    def _greeting(self, sock):
        sock.sendall(KEEP_ALIVE)
        return _answer(sock)

    def _ask(self, sock):
        sock.sendall(KEEP_ALIVE)

    def _check(self, sock, pod):
        return _answer(sock).split()[1] == pod


def _answer(sock):
    """The body of one HTTP answer."""
    data = b""
    while b"\r\n\r\n" not in data or not data.endswith(b"\n"):
        chunk = sock.recv(4096)
        if not chunk:
            raise ConnectionResetError(errno.ECONNRESET, "closed")
        data += chunk
    return data.split(b"\r\n\r\n", 1)[1].decode()


def _line(sock):
    data = b""
    while not data.endswith(b"\n"):
        chunk = sock.recv(4096)
        if not chunk:
            raise ConnectionResetError(errno.ECONNRESET, "closed")
        data += chunk
    return data.decode().strip()


def is_echoed(sock, data):
    """Sends data to an echo server while reading it back: is it the same?"""
    received = hashlib.sha256()

    def read():
        left = len(data)
        while left:
            chunk = sock.recv(min(left, 1 << 20))
            if not chunk:
                return
            received.update(chunk)
            left -= len(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    sock.sendall(data)
    reader.join(60)
    return received.digest() == hashlib.sha256(data).digest()


def name_of(number):
    return ERRORS.get(number, errno.errorcode.get(number, str(number)))
