"""A target that misbehaves on demand: `stand_in_agent.py PORT [MODE]`, and GET /hog, /child_hog, /escape, /exit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOG = "x = b'x' * 400_000_000; import time; time.sleep(600)"
SLEEPER = "import time; time.sleep(600)"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer: object = "ok"
        match self.path:
            case "/hog":
                self.server.hogged = b"x" * 400_000_000  # type: ignore[attr-defined]
            case "/child_hog":
                subprocess.Popen([sys.executable, "-c", HOG])
            case "/escape":
                # An orphan in a session of its own, as a careless daemon makes it.
                starter = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], "
                starter += "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True).pid)"
                answer = int(subprocess.run([sys.executable, "-c", starter], capture_output=True, check=True).stdout)
            case "/exit":
                print("I am leaving", flush=True)
                threading.Timer(0.05, os._exit, (3,)).start()
            case "/environment":
                answer = dict(os.environ)
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


port, mode = int(sys.argv[1]), (sys.argv[2] if len(sys.argv) > 2 else "")
print(f"starting in mode {mode!r}", flush=True)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "dies":
    print("no module named 'brain'", file=sys.stderr)
    sys.exit(5)
if mode == "silent":
    time.sleep(600)
print("listening", file=sys.stderr, flush=True)
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
