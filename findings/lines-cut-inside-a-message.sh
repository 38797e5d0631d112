#!/usr/bin/env bash
# Wrong guess: "read the stream line by line" is safe for server-sent events and for JSON per line: JSON text has no
#   raw line ends.
# True: requests 2.34.2 with iter_lines(decode_unicode=True) and httpx 0.28.1 with iter_lines() also cut at U+2028,
#   U+2029 and U+0085, which JSON may contain as they are. bytes lines of requests and aiohttp's line reader are
#   right.
# Why it matters: text messages and transcripts that were pasted from a word processor have these characters. The
#   consumer loses or chokes on exactly that message, and works for all others.
# What to do: split bytes at \n (and \r), then decode; or use a library for the format.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    \
    requests==2.34.2 httpx==0.28.1
PYTHONPATH="$work/lib" python3 - <<'PY'
import http.server, json, threading
import httpx, requests
message = json.dumps({'type': 'message.received', 'text': 'one\u2028two\u2029three\u0085four'}, ensure_ascii=False)
class Feed(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream; charset=utf-8')
        self.end_headers()
        self.wfile.write(f'id: 1\ndata: {message}\n\n'.encode())
feed = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Feed)
threading.Thread(target=feed.serve_forever, daemon=True).start()
url = f'http://127.0.0.1:{feed.server_port}/'
def by_httpx():
    with httpx.stream('GET', url, trust_env=False) as response: return list(response.iter_lines())
readers = {f'requests {requests.__version__} iter_lines(decode_unicode=True)': lambda: list(requests.get(url, stream=True).iter_lines(decode_unicode=True)),
           f'requests {requests.__version__} iter_lines()': lambda: [line.decode() for line in requests.get(url, stream=True).iter_lines()],
           f'httpx {httpx.__version__} iter_lines()': by_httpx}
whole = []
for name, read in readers.items():
    data = next(line[6:] for line in read() if line.startswith('data: '))
    try: json.loads(data); whole.append(name); outcome = 'whole'
    except json.JSONDecodeError as error: outcome = f'cut to {data!r}: {error}'
    print(f'{name}: {outcome}')
assert len(whole) == 1 and whole[0].endswith('iter_lines()') and whole[0].startswith('requests'), 'no longer so'
print('still so')
PY
