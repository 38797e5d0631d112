"""The Python example of docs/api.md, as it is there, against a live server."""

import hashlib
import hmac
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
SERVER = os.environ.get("CTI_SERVER", str(ROOT / "target/debug/cti-server"))
ADMIN, WEBHOOK = "the-admin-secret-of-the-tests", "the-webhook-secret-of-the-tests"


def example(language):
    """Returns the example of docs/api.md that is marked with this word."""
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    return re.search(rf"<!-- example: {language} -->\n```\w+\n(.*?)```", page, re.S).group(1)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class EventStream(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()
        self.app = self.post("/internal/apps", {"name": "CRM"}, {"authorization": f"Bearer {ADMIN}"})

    def tearDown(self):
        self.stop()
        self.folder.cleanup()

    def start(self):
        settings = {"PORT": str(self.port), "DATABASE_URL": f"sqlite://{self.folder.name}/cti.db",
                    "INTERNAL_API_SECRET": ADMIN, "DIALPAD_WEBHOOK_SECRET": WEBHOOK}
        with open(f"{self.folder.name}/log", "ab") as log:
            self.server = subprocess.Popen([SERVER, "serve"], env={**os.environ, **settings}, stdout=log, stderr=log)
        self.wait(lambda: urllib.request.urlopen(f"{self.url}/health").status == 200)

    def stop(self):
        self.server.terminate()
        self.server.wait(timeout=30)

    def wait(self, condition, seconds=60):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        self.fail("timed out")

    def post(self, path, body, headers):
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json", **headers})
        return json.load(urllib.request.urlopen(request))

    def ring(self, call):
        body = {"event_type": "call.ring", "call_id": call, "direction": "inbound", "from_number": "+14155551234",
                "to_number": "+14155555678", "dialpad_user_id": 555, "timestamp": 1704110400}
        mac = hmac.new(WEBHOOK.encode(), json.dumps(body).encode(), hashlib.sha256).hexdigest()
        self.post(f"/webhooks/{self.app['app_id']}", body, {"x-dialpad-signature": mac})

    def test_the_example_misses_nothing_and_gets_no_empty_message(self):
        names = {}
        exec(compile(example("python"), "docs/api.md", "exec"), names)
        heard = []
        thread = threading.Thread(
            target=names["follow"], args=(self.url, self.app["api_key"], heard.append), daemon=True)
        thread.start()
        for call in (1, 2):
            self.ring(call)
        self.wait(lambda: len(heard) == 2)
        # A quiet stream sends keep-alives, which are no messages.
        time.sleep(11)
        self.stop()
        self.start()
        self.ring(3)
        self.wait(lambda: len(heard) >= 3)
        self.assertEqual([(event["type"], event["seq"]) for event in heard],
                         [("call.ring", 1), ("call.ring", 2), ("call.ring", 3)])
        self.assertTrue(thread.is_alive(), "the example stopped")
        self.post(f"/internal/apps/{self.app['app_id']}/api-key/revoke", {}, {"authorization": f"Bearer {ADMIN}"})
        thread.join(timeout=30)
        self.assertFalse(thread.is_alive(), "the example ends with its key")

    def test_only_filtered_events_make_blocks_without_data(self):
        import httpx
        from httpx_sse import connect_sse

        with httpx.Client(timeout=httpx.Timeout(5, read=15)) as client:
            headers = {"x-api-key": self.app["api_key"]}
            with connect_sse(client, "GET", f"{self.url}/api/events/stream", headers=headers) as source:
                blocks = source.iter_sse()
                first = next(blocks)
                self.assertEqual((first.event, json.loads(first.data)["type"]), ("connected", "connected"))
                self.assertTrue(1000 <= first.retry <= 3000, first.retry)
                threading.Timer(11, self.ring, (1,)).start()
                second = next(blocks)
                self.assertEqual((second.event, second.id), ("call.ring", "1"), "a keep-alive is no message")


if __name__ == "__main__":
    unittest.main()
