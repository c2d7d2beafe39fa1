"""The least that the supervisor needs of upstreams: addresses, epochs, a flush. Notes every call.

`--then exit` ends after the first epoch, `--then fail` before it is ready, `--then babble` says nonsense.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
        with (options.record / "control.jsonl").open("a") as notes:
            notes.write(json.dumps({"path": self.path, "body": body}) + "\n")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
        if options.then == "exit":
            self.wfile.flush()
            print("upstreams: cannot go on", file=sys.stderr, flush=True)
            os._exit(7)

    def log_message(self, *_args: object) -> None:
        pass


parser = argparse.ArgumentParser()
parser.add_argument("--port")
parser.add_argument("--record", type=Path)
parser.add_argument("--seed")
parser.add_argument("--then")
options = parser.parse_args()
if options.then == "fail":
    print("Port 8089 is in use: choose another one with --port.", file=sys.stderr)
    sys.exit(2)
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
url = f"http://127.0.0.1:{server.server_address[1]}"
names = ("openai", "tts", "emotion", "weather", "news", "time", "fortune")
addresses = json.dumps({"control": url, "upstreams": {name: f"{url}/{name}" for name in names}})
print("hello" if options.then == "babble" else addresses, flush=True)
server.serve_forever()
