#!/usr/bin/env bash
# Wrong guess: an SSE library gives the application only events that have data, as the standard says
#   ("if the data buffer is an empty string … return"), so `json.loads(event.data)` is safe.
# True: httpx-sse 0.4.3 hands over every block that has any field, as an event "message" with data "": one with only
#   `retry:`, one with only `id:`, and, once an id has been seen, even a heartbeat comment
#   (florimondmanca/httpx-sse#35). sseclient-py 1.9.0 and requests-sse 0.5.3 skip such blocks.
# Why it matters: event feeds use id-only blocks to move the cursor past events that a filter skipped, and a lone
#   `retry:` at the start. A Python CRM that parses each event fails on the first block of such a feed.
# What to do: `if not event.data: continue`, but keep `event.id` as the cursor.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    httpx==0.28.1 httpx-sse==0.4.3 sseclient-py==1.9.0 requests==2.34.2 requests-sse==0.5.3
PYTHONPATH="$work/lib" python3 - <<'PY'
import http.server, importlib.metadata as meta, json, threading
import httpx, httpx_sse, requests, requests_sse, sseclient

STREAM = b'retry: 1500\n\nid: 41\nevent: call.ring\ndata: {"call_id":1}\n\nid: 57\n\n: quiet\n\nid: 58\nevent: call.ended\ndata: {"call_id":1}\n\n'

class Feed(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream')
        self.end_headers()
        self.wfile.write(STREAM)

server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Feed)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f'http://127.0.0.1:{server.server_port}/'

with httpx.Client(trust_env=False) as client, httpx_sse.connect_sse(client, 'GET', url) as source:
    by_httpx = [(e.event, e.id, e.data) for e in source.iter_sse()]
by_sseclient = [(e.event, e.id, e.data) for e in sseclient.SSEClient(requests.get(url, stream=True)).events()]
by_requests_sse = []
with requests_sse.EventSource(url, timeout=5) as source:
    for e in source:
        by_requests_sse.append((e.type, e.last_event_id, e.data))
        if len(by_requests_sse) == 2: break

for name, seen in (('httpx-sse', by_httpx), ('sseclient-py', by_sseclient), ('requests-sse', by_requests_sse)):
    print(f'{name} {meta.version(name)}: {seen}')
expected = [('call.ring', '41', '{"call_id":1}'), ('call.ended', '58', '{"call_id":1}')]
assert by_sseclient == expected and by_requests_sse == expected
empty = [e for e in by_httpx if e[2] == '']
assert by_httpx[0] == ('message', '', '') and ('message', '57', '') in empty, 'httpx-sse no longer hands over empty blocks'
try: json.loads(by_httpx[0][2]); raise SystemExit('parsed')
except json.JSONDecodeError as error: print('json.loads of the first one:', error)
print(f'still so: {len(empty)} of {len(by_httpx)} events of httpx-sse have no data')
PY
