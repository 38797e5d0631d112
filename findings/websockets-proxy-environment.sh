#!/usr/bin/env bash
# Wrong guess: a WebSocket client connects straight to the address that it is given, at least on loopback.
# True: since version 15, `websockets` sends ws:// and wss:// through HTTP(S)_PROXY / ALL_PROXY; 14.2 did not.
#   websocket-client 1.9.2 does so too. aiohttp 3.14.5 does not, unless trust_env=True. Neither of the first two
#   spares 127.0.0.1 without NO_PROXY.
# Why it matters: a CRM backend in a company network has these variables for its calls to the outside. After an
#   upgrade of one library, or beside an aiohttp worker that works, its feed from the telephony server in the same
#   rack is refused or hangs.
# What to do: `proxy=None`, `http_no_proxy=["…"]`, or NO_PROXY with the feed's host.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/old" \
    websockets==14.2
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/new" \
    websockets==17.4 websocket-client==1.9.2 aiohttp==3.14.5
cat > "$work/run.py" <<'PY'
import asyncio, os, socket, sys, threading
with socket.socket() as closed:
    closed.bind(('127.0.0.1', 0)); dead_proxy = f'http://127.0.0.1:{closed.getsockname()[1]}'
for name in ('http_proxy', 'https_proxy', 'all_proxy'):
    os.environ[name] = os.environ[name.upper()] = dead_proxy
os.environ.pop('no_proxy', None); os.environ.pop('NO_PROXY', None)
import websockets
from websockets.sync import client, server
feed = server.serve(lambda peer: peer.send('call.ring'), '127.0.0.1', 0)
threading.Thread(target=feed.serve_forever, daemon=True).start()
url = f'ws://127.0.0.1:{feed.socket.getsockname()[1]}'
def outcome(connect):
    try: return connect()
    except OSError as error: return f'{type(error).__name__} (at the proxy)'
def with_aiohttp():
    import aiohttp
    async def go():
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as peer:
            return (await peer.receive()).data
    return asyncio.run(go())
def with_websocket_client():
    import websocket
    return websocket.create_connection(url, timeout=5).recv()
result = {f'websockets {websockets.__version__}': outcome(lambda: client.connect(url).recv())}
if len(sys.argv) > 1:
    import aiohttp, websocket
    result[f'websocket-client {websocket.__version__}'] = outcome(with_websocket_client)
    result[f'aiohttp {aiohttp.__version__}'] = outcome(with_aiohttp)
print(result)
straight = [name.split()[0] for name, got in result.items() if got == 'call.ring']
sys.exit(0 if straight == (['aiohttp'] if len(sys.argv) > 1 else ['websockets']) else 1)
PY
PYTHONPATH="$work/old" python3 -W ignore "$work/run.py"
PYTHONPATH="$work/new" python3 -W ignore "$work/run.py" all
echo 'still so'
