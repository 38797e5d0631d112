#!/usr/bin/env bash
# Wrong guess: `params={'cursor': None, 'company_admin': True}` means the same to requests and to httpx.
# True: requests 2.34.2 leaves out None and writes True as `True`. httpx 0.28.1 writes None as an empty value, `cursor=`, and
#   True as `true`. Dialpad's SDK python-dialpad 3.2.0 has both: DialpadClient on requests, AsyncDialpadClient on httpx.
# Why it matters: a server that parses `cursor=` as a cursor, or knows `true` only, answers 400 to one of the two clients for
#   the same code. It is found in production, when somebody moves to asyncio.
# What to do: as a client, leave out what is None and write truth values as text. As a server that such clients ask, take an
#   empty value as absent, or say so in the error.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    requests==2.34.2 httpx==0.28.1
PYTHONPATH="$work/lib" python3 - <<'PY'
import httpx, requests

params = {'cursor': None, 'company_admin': True}
by_requests = requests.Request('GET', 'http://dialpad.example/', params=params).prepare().url
by_httpx = str(httpx.Request('GET', 'http://dialpad.example/', params=params).url)
print(f'requests {requests.__version__}: {by_requests}')
print(f'httpx {httpx.__version__}: {by_httpx}')
assert by_requests.endswith('?company_admin=True'), 'no longer so'
assert by_httpx.endswith('?cursor=&company_admin=true'), 'no longer so'
print('still so')
PY
