"""A web server of our own on 127.0.0.1, and the authority that vouches for it."""

import ssl
import threading
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme

PIECE = 16 << 10
"""Bytes of one piece of a body that is sent without its length."""


class Authority:
    """A certificate authority that only those trust who are given its file."""

    def __init__(self, folder):
        self._authority = trustme.CA()
        self.path = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.path))

    def context(self, *names):
        """What a server of these names needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(context)
        return context


@dataclass(frozen=True)
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    sized: bool = True
    """Whether the size of the body is announced; else it comes in chunks."""
    etag: str | None = None
    """The validator: who has it is sent no body."""
    gate: threading.Barrier | None = None
    """What requests wait at: as many as it takes are answered together, and those that it gave up with status 504."""


def redirect(to, status=302):
    return Answer(status=status, headers={"Location": to})


class WebServer:
    """Answers as it is told: each path has its answers, of which the last one is given for ever."""

    def __init__(self, context=None):
        """With a TLS context it speaks https alone, else http alone."""
        self._answers = {}
        self._requests = []
        self._unmodified = []
        self._lock = threading.Lock()
        self._scheme = "https" if context else "http"
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.context = context
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="web", daemon=True)
        self._thread.start()

    def serve(self, path, *answers):
        """What is answered to `path` from now on; returns its URL. Earlier requests for it are forgotten."""
        with self._lock:
            self._answers[path] = list(answers)
            self._requests = [request for request in self._requests if request != path]
            self._unmodified = [request for request in self._unmodified if request != path]
        return self.url(path)

    def url(self, path, host="localhost"):
        return f"{self._scheme}://{host}:{self._server.server_port}{path}"

    def requests(self, path):
        """How often `path` was asked for, with whatever query."""
        with self._lock:
            return self._requests.count(path)

    def unmodified(self, path):
        """How often whoever asked for `path` was told that it is what it was."""
        with self._lock:
            return self._unmodified.count(path)

    def answer(self, target, known):
        path = target.partition("?")[0]
        with self._lock:
            self._requests.append(path)
            answers = self._answers.get(path, [Answer(status=404)])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if answer.etag is None:
                return answer
            headers = answer.headers | {"ETag": answer.etag}
            if answer.etag == known:
                self._unmodified.append(path)
                return Answer(status=304, headers=headers)
            return replace(answer, headers=headers)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    context = None

    def finish_request(self, request, client_address):
        # In the connection's own thread, so that a client that hesitates holds nobody up.
        if self.context is None:
            super().finish_request(request, client_address)
            return
        with self.context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request, client_address):
        """A client that hangs up, or does not trust us, is what some tests are about."""


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            answer = server.answer(self.path, self.headers.get("If-None-Match"))
            if answer.gate is not None:
                try:
                    answer.gate.wait()
                except threading.BrokenBarrierError:
                    answer = Answer(status=504)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.sized:
                self.send_header("Content-Length", str(len(answer.body)))
            else:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if answer.sized:
                self.wfile.write(answer.body)
                return
            for at in range(0, len(answer.body), PIECE):
                piece = answer.body[at : at + PIECE]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_):
            pass

    return Handler
