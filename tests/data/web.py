"""A web server on this machine that behaves, or misbehaves, as a test asks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Web:
    """What the server holds, how it answers, and which ranges were asked for.

    Attributes:
        files: content by path.
        ranges: whether it can give a part.
        version: the ETag of every file, empty for none.
        cut_after: bytes after which each of the next connections ends early.
        answers: status codes for the next requests; 0 for a proper answer.
        html: whether it gives a page in place of the file.
        redirects: path to path.
        asked: the Range header of each request.
    """

    files: dict[str, bytes]
    url: str = ""
    ranges: bool = True
    version: str = '"one"'
    cut_after: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    html: bool = False
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Web]:
    web = Web(files)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            web.asked.append(wanted)
            status = web.answers.pop(0) if web.answers else 0
            path = self.path.partition("?")[0].lstrip("/")
            if path in web.redirects:
                self.send_response(302)
                self.send_header("Location", web.redirects[path])
                self.end_headers()
                return
            if status or path not in web.files:
                self.send_error(status or 404)
                return
            content = web.files[path]
            start = 0
            changed = self.headers.get("If-Range") not in (None, web.version)
            if wanted and web.ranges and not changed:
                start = int(wanted.removeprefix("bytes=").partition("-")[0])
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.end_headers()
                    return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("Content-Type", "text/html" if web.html else "application/octet-stream")
            if web.version:
                self.send_header("ETag", web.version)
            self.end_headers()
            end = start + web.cut_after.pop(0) if web.cut_after else len(content)
            with suppress(ConnectionError):  # a client that has seen enough
                self.wfile.write(content[start:end])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
