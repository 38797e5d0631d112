#!/usr/bin/env bash
# Wrong guess: `await ws.receive(timeout=2)` of aiohttp raises TimeoutError after 2 s without a message.
# True: aiohttp 3.14.5 starts the time anew with every ping and pong, which the application never sees. With a
#   `heartbeat` shorter than the timeout, or a server that pings often, the timeout never comes on a quiet connection.
# Why it matters: a CRM consumer that uses the timeout to flush a batch, or to notice that no event came, waits for
#   ever as soon as somebody adds a heartbeat.
# What to do: `async with asyncio.timeout(2): await ws.receive()`.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    aiohttp==3.14.5
PYTHONPATH="$work/lib" python3 - <<'PY'
import asyncio, time
import aiohttp
from aiohttp import web

async def quiet(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for _ in socket: pass
    return socket

async def wait(url, heartbeat):
    async with aiohttp.ClientSession() as session, session.ws_connect(url, heartbeat=heartbeat) as socket:
        began = time.monotonic()
        try:
            await asyncio.wait_for(socket.receive(timeout=2), 7)
        except TimeoutError:
            pass
        return round(time.monotonic() - began, 1)

async def main():
    app = web.Application()
    app.router.add_get('/', quiet)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, '127.0.0.1', 0)
    await site.start()
    url = f'http://127.0.0.1:{runner.addresses[0][1]}/'
    without, with_heartbeat = await asyncio.gather(wait(url, None), wait(url, 1))
    print(f'aiohttp {aiohttp.__version__}: receive(timeout=2) without a heartbeat ended after {without} s,'
          f' with heartbeat=1 not within {with_heartbeat} s')
    assert 1.8 <= without < 4 and with_heartbeat >= 6.5, 'no longer so'
    await runner.cleanup()

asyncio.run(main())
print('still so')
PY
