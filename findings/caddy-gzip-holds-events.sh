#!/usr/bin/env bash
# Wrong guess: a reverse proxy either buffers server-sent events always (then the first test shows it) or never.
# True: Caddy 2.6.2 (Debian 12) with `encode gzip` passes a stream on at once as long as the first write is shorter
#   than 512 bytes, and holds everything back, until the stream ends, when it is longer. `flush_interval -1`,
#   `X-Accel-Buffering: no` and `Cache-Control: no-transform` change nothing. Without `Accept-Encoding: gzip` all is
#   well.
#   (caddyserver/caddy#6293 has the part about late headers.)
# Why it matters: a hand test with curl, or with a short event, works. Browsers and most HTTP clients offer gzip, and
#   a call event with all its fields is longer: the screen pop comes when the call is long over.
# What to do: `encode { gzip; match { not header Content-Type text/event-stream* } }`, or no `encode` on that path.
# Needs a Debian 12 system (apt-get download; nothing is installed).
set -euo pipefail
work=$(mktemp -d); trap 'kill ${pids:-} 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
apt-get download caddy=2.6.2-5 >/dev/null 2>&1
dpkg -x caddy_*.deb root
caddy=root/usr/bin/caddy
"$caddy" version
cat > run.py <<'PY'
import http.client, http.server, socket, subprocess, sys, threading, time, zlib

class Feed(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def do_GET(self):
        size = int(self.path[1:])
        self.send_response(200)
        for name, value in (('Content-Type', 'text/event-stream'), ('Cache-Control', 'no-cache, no-transform'),
                            ('X-Accel-Buffering', 'no'), ('Transfer-Encoding', 'chunked')):
            self.send_header(name, value)
        self.end_headers()
        for i in range(4):
            event = b'data: %d %s\n\n' % (i, b'x' * size)
            self.wfile.write(b'%x\r\n%s\r\n' % (len(event), event))
            self.wfile.flush()
            time.sleep(0.7)
        self.wfile.write(b'0\r\n\r\n')

feed = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Feed)
threading.Thread(target=feed.serve_forever, daemon=True).start()
with socket.socket() as s:
    s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
open('Caddyfile', 'w').write('{\n admin off\n auto_https off\n}\n'
    f'http://127.0.0.1:{port} {{\n encode gzip\n reverse_proxy 127.0.0.1:{feed.server_port} {{\n  flush_interval -1\n }}\n}}\n')
caddy = subprocess.Popen([sys.argv[1], 'run', '--config', 'Caddyfile', '--adapter', 'caddyfile'],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={'HOME': '.', 'PATH': '/usr/bin:/bin'})
try:
    for _ in range(100):
        try: socket.create_connection(('127.0.0.1', port)).close(); break
        except OSError: time.sleep(0.1)
    def arrivals(size, encoding):
        """Seconds from the request to each moment when text of an event became readable."""
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
        began = time.time()
        connection.request('GET', f'/{size}', headers={'Accept-Encoding': encoding})
        response = connection.getresponse()
        compressed = response.getheader('Content-Encoding') == 'gzip'
        unpack = zlib.decompressobj(31) if compressed else None
        seen = []
        while piece := response.read1(65536):
            if unpack.decompress(piece) if compressed else piece:
                seen.append(round(time.time() - began, 1))
        return seen, compressed
    small, large, plain = arrivals(20, 'gzip'), arrivals(600, 'gzip'), arrivals(600, 'identity')
finally:
    caddy.terminate(); caddy.wait()
print('short events, gzip offered:     (arrivals, compressed) =', small)
print('600-byte events, gzip offered:                           ', large)
print('600-byte events, gzip not offered:                       ', plain)
# 4 events, 0.7 s apart, the stream ends after 2.8 s.
assert small[0][0] < 1 and not small[1], 'short events no longer arrive at once'
assert plain[0][0] < 1, 'plain events no longer arrive at once'
assert large[1] and large[0][0] > 2.3, 'Caddy no longer holds long events back'
print('still so: nothing of the long events arrives before the stream ends')
PY
nice python3 run.py "$caddy"
