# SPDX-License-Identifier: Apache-2.0
"""What runs in the pods: real nginx, and small TCP and UDP echo servers.

The echo servers are sockets in the pods' namespaces, served by one asyncio thread of this
process: they greet with "GROUP POD\n" and send back what they get.
"""

import asyncio
import os
import socket
import struct
import threading

from .core import LabError, wait_for

CONFIG = """
daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 4096; }}
http {{
	log_format short '$remote_addr $remote_port $connection $status';
	access_log {dir}/access.log short;
	client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
	uwsgi_temp_path {dir}; scgi_temp_path {dir};
	keepalive_requests 1000000;
	# At /judged some requests of each connection fail, always the same ones; of the group "worse"
	# more of them do, and it answers 400 times a second.
	split_clients $connection_requests $luck {{ 5% bad; 20% middling; * good; }}
	map "{group} $luck" $fails {{ "~ bad$" 1; "worse middling" 1; default 0; }}
	map "{group}" $slow {{ worse 1; default ""; }}
	limit_req_zone $slow zone=slow:1m rate=400r/s;
	split_clients $request_id $forty {{ 40% 500; * 200; }}
	limit_req_zone $server_port zone=one_by_one:32k rate=20r/s;
	server {{
		listen {port} backlog=4096; listen [::]:{port} backlog=4096;
		listen {h2} http2; listen [::]:{h2} http2;
		default_type text/plain;
		location / {{ return 200 "{group} {name}\\n"; }}
		location = /204 {{ return 204; }}
		location = /302 {{ return 302 /; }}
		location = /404 {{ return 404; }}
		location = /500 {{ return 500; }}
		location = /503 {{ return 503; }}
		location = /judged {{
			limit_req zone=slow burst=1000;
			if ($fails) {{ return 503; }}
			alias {dir}/nginx.conf;
		}}
		location = /fate {{
			set $code 200;
			if (-f {dir}/fate-500) {{ set $code 500; }}
			if (-f {dir}/fate-502) {{ set $code 502; }}
			if (-f {dir}/fate-forty) {{ set $code $forty; }}
			if ($code = 500) {{ return 500; }}
			if ($code = 502) {{ return 502; }}
			if (-f {dir}/fate-slow) {{ rewrite ^ /slow last; }}
			return 200 "{group} {name}\n";
		}}
		location = /slow {{ limit_req zone=one_by_one burst=1000; alias {dir}/name; }}
		location /files/ {{ access_log off; alias {files}/; }}
	}}
}}
"""


H2_PORT = 8082  # the same, by HTTP/2 with prior knowledge


class Nginx:
    """One nginx process; wait() returns when it serves."""

    def __init__(self, lab, pod, port=8080):
        self.pod, self.port = pod, port
        self.directory = lab.path("nginx", pod.name, "x")[:-2]
        config = f"{self.directory}/nginx.conf"
        with open(config, "w") as f:
            f.write(CONFIG.format(dir=self.directory, port=port, h2=H2_PORT, group=pod.group, name=pod.name,
                                  files=lab.path("files", "x")[:-2]))
        self.config = config
        with open(f"{self.directory}/name", "w") as f:
            f.write(f"{pod.group} {pod.name}\n")
        self.start()

    def start(self):
        with open(f"{self.directory}/stderr.log", "a") as log:
            self.process = self.pod.host.popen("nginx", "-c", self.config, "-p", self.directory,
                                               "-e", f"{self.directory}/error.log", stderr=log)

    def wait(self):
        wait_for(self._serves, 10, f"nginx of {self.pod.name}")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def _serves(self):
        if self.process.poll() is not None:
            raise LabError(f"nginx of {self.pod.name} ended; see {self.directory}/error.log")
        with self.pod.host.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def fate(self, word=None):
        """What GET /fate meets from now on: "500", "502", "forty" (of a hundred get 500), "slow"
        (one after the other, 50 ms each), or None: all is well."""
        for name in os.listdir(self.directory):
            if name.startswith("fate-"):
                os.unlink(f"{self.directory}/{name}")
        if word:
            with open(f"{self.directory}/fate-{word}", "w"):
                pass

    def accesses(self):
        with open(f"{self.directory}/access.log", "rb") as f:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: f.read(1 << 20), b""))


class HangUp:
    """A server on a pod's port that reads a little and resets the connection."""

    def __init__(self, pod, port=8080):
        self.listener = pod.host.socket(socket.AF_INET6)
        self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("::", port))
        self.listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(5)
            connection.recv(10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Echoes:
    """TCP and UDP echo servers of many pods."""

    def __init__(self, lab):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        lab.closers.append(self._close)

    def tcp(self, pod, port):
        self._call(self._serve_tcp(pod, _bound(pod, socket.SOCK_STREAM, port)))

    def udp(self, pod, port):
        """Answers each datagram with "GROUP POD " and itself. One socket for each family."""
        for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            sock = pod.host.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((any_address, port))
            sock.setblocking(False)
            self._call(self._serve_udp(pod, sock))

    async def _serve_tcp(self, pod, sock):
        greeting = f"{pod.group} {pod.name}\n".encode()

        async def serve(reader, writer):
            try:
                writer.write(greeting)
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            except ConnectionError:
                pass
            finally:
                writer.close()

        await asyncio.start_server(serve, sock=sock)

    async def _serve_udp(self, pod, sock):
        greeting = f"{pod.group} {pod.name} ".encode()

        class Protocol(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, data, addr):
                self.transport.sendto(greeting + data, addr)

        await self._loop.create_datagram_endpoint(Protocol, sock=sock)

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def _close(self):
        self._call(self._cancel())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _cancel(self):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _bound(pod, kind, port):
    sock = pod.host.socket(socket.AF_INET6, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", port))
    sock.listen(1024)
    sock.setblocking(False)
    return sock
