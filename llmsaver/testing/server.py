"""The fake on a real socket: HTTP/1.1 over 127.0.0.1 with chunked bodies and connections that really break."""

import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from llmsaver.testing.reply import Reply

Receive: TypeAlias = Callable[[str, str, Mapping[str, str], bytes], Reply]


@contextmanager
def loopback(receive: Receive) -> Iterator[str]:
    """Serve until the block ends, then close every connection; gives `http://127.0.0.1:<port>`."""
    server = _Server(receive)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.stopping.set()
        server.shutdown()
        server.drop_connections()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.stopping = threading.Event()
        self.resets: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        if request in self.resets:
            # An orderly shutdown would send FIN before the RST.
            self.resets.discard(request)
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def drop_connections(self) -> None:
        """Wake the threads that wait for a request that will not come."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients that leave are what the fake is for."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_args: Any) -> None:
        """Stay silent on standard error."""

    def _exchange(self) -> None:
        url = f"http://{self.headers.get('host', '127.0.0.1')}{self.path}"
        reply = self.server.receive(self.command, url, dict(self.headers.items()), self._read_body())
        try:
            self._send(reply)
        except OSError:
            self.close_connection = True
        finally:
            reply.settle()

    def __getattr__(self, name: str) -> Any:
        """Serve every method alike; the base class looks for `do_<METHOD>`."""
        if name.startswith("do_"):
            return self._exchange
        raise AttributeError(name)

    def _read_body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, reply: Reply) -> None:
        self.server.stopping.wait(reply.delivery.delay)
        if reply.early:
            self._break(reply)
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        chunked = reply.headers.get("transfer-encoding") == "chunked"
        for chunk in reply.chunks():
            self.server.stopping.wait(reply.delivery.pause)
            self._check_client()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
        if reply.drop is not None:
            self._break(reply)
        elif chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _check_client(self) -> None:
        """Notice a client that has closed its side; writing alone would fill buffers first."""
        # Not select.select(), which takes no descriptor from 1024 on.
        with selectors.DefaultSelector() as watched:
            watched.register(self.connection, selectors.EVENT_READ)
            readable = watched.select(0)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            raise ConnectionResetError

    def _break(self, reply: Reply) -> None:
        self.close_connection = True
        if reply.drop == "read timeout":
            while not self.server.stopping.is_set():
                self._check_client()
                time.sleep(0.01)
        elif reply.drop == "reset":
            # With a linger of zero seconds, close sends RST where it would have sent FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.server.resets.add(self.connection)
