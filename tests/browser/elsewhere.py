"""Another site than EmoStream's, with pages that have the tag <emostream-reactions>."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from emostream_lab.processes.servers import HOST


class Pages:
    """Another site: each page that a test writes has an address of its own, and its headers."""

    def __init__(self) -> None:
        self._pages: list[tuple[str, dict[str, str]]] = []
        pages = self._pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                number = self.path.strip("/")
                html, headers = pages[int(number)] if number.isdigit() else ("", {})
                self.send_response(200 if html else 204)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(html.encode())

            def log_message(self, *_: object) -> None:
                """Keep the tests' output to the tests."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def add(self, html: str, headers: dict[str, str] | None = None) -> str:
        """Return the address of a page with this body."""
        self._pages.append((f'<!doctype html><html lang="en"><title>A page</title>{html}', headers or {}))
        return f"http://{HOST}:{self._server.server_address[1]}/{len(self._pages) - 1}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def page_of_ten_lines(url: str) -> str:
    """The body of a page with the tag of the registry at this address, which ends without a slash."""
    return f"""
        <body>
          <h1>The final</h1>
          <div style="position: relative; width: 640px; height: 360px; background: #264">
            <emostream-reactions src="{url}"></emostream-reactions>
          </div>
          <script type="module" src="{url}/emostream-reactions.js"></script>
        </body>
        """
