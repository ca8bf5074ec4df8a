"""A small hub on this machine, with one data set, that answers as the real one is documented to."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class SmallHub:
    """Has the data set acme/clocks. `moved` is where its files are said to be."""

    def __init__(self, files: dict[str, bytes], status: int = 200, moved: str = "") -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                if path == "/api/datasets/acme/clocks" and query == "blobs=true":
                    told = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
                    self._answer(status, json.dumps({"sha": "abc123", "siblings": told}).encode())
                elif moved and path.startswith("/datasets/"):
                    self._answer(302, b"", {"Location": path.replace("/datasets/", moved)})
                else:
                    name = path.split("/resolve/abc123/")[-1]
                    self._answer(200 if name in files else 404, files.get(name, b""))

            def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """From now on nobody answers at `url`. May be called again."""
        self._server.shutdown()
        self._server.server_close()
