"""A simulator as a child process, a receiver of its webhooks, and waiting for a condition."""

import base64
import json
import os
import re
import subprocess
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

API_KEY = 'the-key-of-this-run'
USER = 5_100_000_000_000_000
COLLEAGUE = 5_100_000_000_000_001
DOCUMENTED_USER = 555
CUSTOMER = '+14155551234'


def eventually(what, ask):
    """Asks until there is a true answer, and returns it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f'timed out: {what}')


class Simulator:
    def __init__(self):
        command = [os.environ['CTI_SERVER'], 'simulate', '--listen', '127.0.0.1:0', '--api-key', API_KEY, '--seed', '7']
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = re.search(r'http://[\d.:]+', self._process.stdout.readline()).group()

    def stop(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def control(self, method, path, body):
        """Sends a request to the simulator's own controls."""
        request = urllib.request.Request(
            f'{self.url}/simulator{path}', json.dumps(body).encode(), {'content-type': 'application/json'}, method=method
        )
        with urllib.request.urlopen(request) as response:
            return json.loads(response.read() or 'null')

    def play(self, flow, calls=1):
        """Plays calls of a flow without delays, to their end."""
        run_id = self.control('POST', '/flows', {'flow': flow, 'calls': calls, 'rate': 1000, 'pace': 0})['run_id']

        def is_done():
            with urllib.request.urlopen(f'{self.url}/simulator/flows/{run_id}') as response:
                return json.load(response)['done']

        eventually(f'{flow} has ended', is_done)


class Receiver:
    """Receives webhooks, and keeps their claims."""

    def __init__(self):
        self.received = received = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers['content-length']))
                claims = body.split(b'.')[1]
                received.append(json.loads(base64.urlsafe_b64decode(claims + b'=' * (-len(claims) % 4))))
                self.send_response(200)
                self.send_header('content-length', '0')
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self._server.server_port}/webhooks'
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def states_of(self, call_id):
        return [event['state'] for event in self.received if str(event.get('call_id')) == str(call_id)]

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
