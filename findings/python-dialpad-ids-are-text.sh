#!/usr/bin/env bash
# Wrong guess: python-dialpad's types (call_id: int, date_started: int …) say what its methods return.
# True: python-dialpad 3.2.0 returns the reply's JSON as it is, and Dialpad's REST replies have 64-bit numbers as
#   text, as in its own OpenAPI examples. Type checkers accept `call['call_id'] == event['call_id']`, and it is false
#   for every call, because webhooks have numbers. `call['date_ended'] - call['date_started']` is a TypeError.
# Why it matters: looking a call up after its webhook, or filling gaps from the call list, never finds the row that
#   the webhook stored, and stores it a second time.
# What to do: int(…) on every id and time of a reply, or str(…) on both sides.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    python-dialpad==3.2.0
PYTHONPATH="$work/lib" python3 - <<'PY'
import http.server, importlib.metadata as meta, json, threading, typing
from dialpad import DialpadClient
from dialpad.schemas.call import CallProto

class Rest(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        body = json.dumps({'call_id': '4700000000000001', 'date_started': '1704110400000', 'date_ended': '1704110580000', 'duration': 180000.0}).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

rest = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Rest)
threading.Thread(target=rest.serve_forever, daemon=True).start()
client = DialpadClient('token', base_url=f'http://127.0.0.1:{rest.server_port}')
call = client.calls.get(4700000000000001)
declared = typing.get_type_hints(CallProto)['call_id']
webhook = json.loads('{"call_id":4700000000000001,"state":"hangup"}')
print('python-dialpad', meta.version('python-dialpad'), '| declared:', declared, '| returned:', repr(call['call_id']),
      '| equal to the webhook\'s:', call['call_id'] == webhook['call_id'])
assert declared is int and call['call_id'] == '4700000000000001' and call['call_id'] != webhook['call_id'], 'no longer so'
try: call['date_ended'] - call['date_started']; raise SystemExit('no longer so')
except TypeError as error: print('date_ended - date_started:', error)
print('still so')
PY
