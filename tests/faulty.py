"A server on raw sockets, for answers that no library would send: cut, reset, silent, slow."
import re
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from radiogal.fetch import Fetcher, FetchError, Limits, Manifest, Wanted, hash_file


class Request(NamedTuple):
    "What a client asked, and when (s, of this machine's clock that is never set back)."
    time: float
    method: str
    target: str
    body: bytes


def say(body=b"", status="200 OK", **headers):
    "An answer. Its length is announced unless `Content_Length` says otherwise: another number, or None."
    headers = {"Content-Length": len(body)} | {k.replace("_", "-"): v for k, v in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{k}: {v}" for k, v in headers.items() if v is not None), "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def reset(data):
    "Send something, then break the connection off instead of closing it."
    def answer(conn, request, over):
        conn.sendall(data)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return answer


def hang(data=b"", until=None):
    "Send something, then nothing more until an event, or the server's end."
    def answer(conn, request, over):
        conn.sendall(data)
        (until or over).wait(60)
    return answer


def drip(data, pieces, pause):
    "Send something, then a piece now and then."
    def answer(conn, request, over):
        conn.sendall(data)
        for piece in pieces:
            if over.wait(pause): return
            conn.sendall(piece)
    return answer


class Server:
    "Answers by path: the first request with the first answer, and so on; the last answer stays."
    def __init__(self):
        self.answers, self.requests, self.over, self.lock = {}, [], threading.Event(), threading.Lock()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host = f"127.0.0.1:{self.socket.getsockname()[1]}"

    def answer(self, path, *answers):
        "Bytes, or functions of connection, request and the event of the server's end. Returns the URL."
        self.answers[path] = answers
        return f"http://{self.host}{path}"

    def times(self, path):
        "When a path was asked for."
        return [r.time for r in self.requests if r.target == path]

    def hits(self, path): return len(self.times(path))

    def run(self):
        while True:
            try: conn, _ = self.socket.accept()
            except OSError: return
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        with conn, suppress(OSError):  # a client may leave, which is its right
            if not (request := read_request(conn)): return
            with self.lock:
                n = self.hits(request.target)
                self.requests.append(request)
            answers = self.answers.get(request.target, (say(status="404 Not Found"),))
            answer = answers[min(n, len(answers) - 1)]
            if callable(answer): answer(conn, request, self.over)
            else: conn.sendall(answer)


class Service(dict):
    "Answers of a server to any path, by a function of it."
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def get(self, path, _): return (self.answer(path),)


def read_request(conn):
    "A whole request, or None where the client left."
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := conn.recv(65536)): return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE)
    while length and len(body) < int(length[1]): body += conn.recv(65536)
    method, target, _ = head.split(b"\r\n")[0].decode("latin-1").split(" ")
    return Request(time.monotonic(), method, target, body)


@contextmanager
def serve():
    "A server that ends with the block; its threads end with the process in any case."
    server = Server()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try: yield server
    finally:
        server.over.set()
        server.socket.shutdown(socket.SHUT_RDWR)
        server.socket.close()
        thread.join()


@dataclass
class Case:
    "A server, and a folder with a manifest and the files got."
    server: Server
    folder: Path

    def open_fetcher(self, *more_hosts, **limits):
        "A fetcher of little patience."
        quick = dict(connect_s=5, read_s=20, total_s=40, tries=3, wait_s=0.01, max_wait_s=0.1, failures=100)
        return Fetcher(Manifest(self.folder/"manifest.sqlite"), (self.server.host, *more_hosts),
                       Limits(**quick | limits), 0)

    def want(self, url, **more):
        "A file that is to lie in the folder under the last part of its URL."
        return Wanted(url, self.folder/"files"/url.rpartition("/")[2], **more)

    def list_files(self):
        "All that was left on disk, hidden or not, besides the manifest and its locks."
        return sorted(str(p.relative_to(self.folder/"files")) for p in (self.folder/"files").rglob("*") if p.is_file())

    def fail(self, fetcher, wanted):
        "A file that cannot be had: the state and reason raised are in the manifest, and nothing new is on disk."
        before = {name: hash_file(self.folder/"files"/name) for name in self.list_files()}
        try: fetcher.get_file(wanted)
        except FetchError as e: error = e
        else: raise AssertionError(f"{wanted.url} was accepted")
        row = fetcher.manifest.read(wanted.key)
        assert (row.state, row.reason, row.path, row.sha256) == (error.state, error.reason, "", "")
        assert {name: hash_file(self.folder/"files"/name) for name in self.list_files()} == before
        return str(error)

    def get(self, fetcher, wanted, content):
        "A file that can be had: whole, as in the manifest, and with no temporary file beside it."
        path = fetcher.get_file(wanted)
        row = fetcher.manifest.read(wanted.key)
        assert path == wanted.path and path.read_bytes() == content
        assert (row.state, row.reason, row.n_bytes, row.sha256) == ("ok", "", len(content), hash_file(path))
        assert not [name for name in self.list_files() if name.endswith(".part")]
        return "ok"
