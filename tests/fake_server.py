"""A server as vLLM is one to us: a process that answers /health, with a helper of its own that outlives it.

    python -m tests.fake_server HOST PORT [--dies-at-start TEXT]

Prints the pids of both.
"""

import http.server
import os
import subprocess
import sys


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def main(host: str, port: int, *options: str) -> None:
    helper = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1000)"])
    print(f"pids {os.getpid()} {helper.pid}", flush=True)
    if options:
        print(f"Traceback …\nValueError: {options[1]}\nRuntimeError: the engine failed", flush=True)
        os._exit(1)
    http.server.ThreadingHTTPServer((host, port), Health).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
