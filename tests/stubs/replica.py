"""A scripted replica: reports and serves like a real one, and misbehaves as the variable STUB asks.

STUB: "", "dies-early", "fails", "deaf" (SIGTERM has no effect), "exits" (ends by itself once ready).
GET /crash kills it by SIGKILL, GET /pid tells its process id, POST echoes the body.
"""

import argparse
import http.server
import json
import os
import signal
import socket
import sys
import threading

from modelapp import lifeline


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/crash":
            os.kill(os.getpid(), signal.SIGKILL)
        self._answer(json.dumps({"pid": os.getpid(), "environment": dict(os.environ), "argv": sys.argv}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self._answer(
            json.dumps({"path": self.path, "type": self.headers["content-type"], "body": body.decode()}).encode()
        )

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    lifeline.attach()
    parser = argparse.ArgumentParser()
    parser.add_argument("--app")
    parser.add_argument("--fd", type=int)
    parser.add_argument("--events", type=int)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    mode = os.environ.get("STUB", "")

    def tell(event: str, **facts: object) -> None:
        os.write(options.events, json.dumps({"event": event, **facts}).encode() + b"\n")

    print("a line of its own", flush=True)
    tell("loading", model="m")
    if mode == "dies-early":
        print("it went wrong", file=sys.stderr)
        sys.exit(3)
    if mode == "fails":
        tell("failed", model="m", reason="no such file", help="make one")
        sys.exit(5)
    tell("loaded", model="m", seconds=0.25, device="cpu", notes=["runs one by one"])
    server = http.server.ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
    server.socket = socket.socket(fileno=options.fd)
    server.server_name, server.server_port = "stub", 0
    if mode == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    tell("ready", release="0123456789abcdef")
    if mode == "exits":
        sys.exit(0)
    server.serve_forever()
    tell("draining")
    tell("stopped")


main()
