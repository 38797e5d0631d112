#!/usr/bin/env bash
# Wrong guess: a method that is declared `-> None` does not read a body.
# True: python-dialpad 3.2.0 parses JSON out of every success but 204. calls.hangup_call(id) is declared `-> None`,
#   and Dialpad's specification gives it 200 without a body: the call is hung up, and JSONDecodeError is raised.
# Why it matters: code that retries or compensates on an exception hangs up twice, shows the agent "failed", or leaves
#   its own record live.
# What to do: catch requests.exceptions.JSONDecodeError around such methods and take it as success.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    python-dialpad==3.2.0
PYTHONPATH="$work/lib" python3 - <<'PY'
import http.server, importlib.metadata as meta, inspect, threading
import requests
from dialpad import DialpadClient
hung_up = []
class Rest(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_PUT(self):
        hung_up.append(self.path)
        self.send_response(204 if 'no-content' in self.path else 200)
        self.send_header('Content-Length', '0')
        self.end_headers()
rest = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Rest)
threading.Thread(target=rest.serve_forever, daemon=True).start()
client = DialpadClient('token', base_url=f'http://127.0.0.1:{rest.server_port}')
print('python-dialpad', meta.version('python-dialpad'), inspect.signature(client.calls.hangup_call))
try: client.calls.hangup_call(4700000000000001); raise SystemExit('no longer so: nothing was raised')
except requests.exceptions.JSONDecodeError as error: print('hung up:', hung_up, '| raised:', type(error).__name__, error)
assert len(hung_up) == 1 and client.request(method='PUT', sub_path='/no-content') is None
print('still so; 204 raises nothing')
PY
