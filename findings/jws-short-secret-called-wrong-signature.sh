#!/usr/bin/env bash
# Wrong guess: "invalid signature" from a JWS library means that the secret or the bytes are wrong.
# True: jwcrypto 1.6.1 reports InvalidJWSSignature for a right HS256 signature whose secret is shorter than 32 bytes,
#   and says nothing about the length. PyJWT 2.15.1 verifies it with a warning, python-jose 3.5.0 and joserfc 1.8.0
#   and
#   (npm) jose, jsonwebtoken without a word.
# Why it matters: Dialpad's API names no length for a webhook secret, and people type short ones. The same delivery is
#   then authentic for one receiver and "forged" for another; a receiver that answers 401 loses it for good, since
#   Dialpad does not repeat after a 4xx.
# What to do: secrets of 32 bytes or more (openssl rand -hex 32).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    \
    pyjwt==2.15.1 python-jose==3.5.0 joserfc==1.8.0 jwcrypto==1.6.1
PYTHONPATH="$work/lib" python3 -W ignore - <<'PY'
import base64, hashlib, hmac, importlib.metadata as meta, json
import joserfc.jwk, joserfc.jws, jwt
from jose import jws as python_jose
from jwcrypto import jwk, jws

def text(raw): return base64.urlsafe_b64encode(raw).rstrip(b'=').decode()
def sign(secret):
    signed = text(b'{"alg":"HS256"}') + '.' + text(json.dumps({'call_id': 1, 'state': 'ringing'}).encode())
    return signed + '.' + text(hmac.new(secret, signed.encode(), hashlib.sha256).digest())
def with_jwcrypto(token, secret):
    reader = jws.JWS()
    reader.deserialize(token, jwk.JWK(kty='oct', k=text(secret)))
readers = {
    'PyJWT': lambda token, secret: jwt.decode(token, secret, algorithms=['HS256']),
    'python-jose': lambda token, secret: python_jose.verify(token, secret.decode(), ['HS256']),
    'joserfc': lambda token, secret: joserfc.jws.deserialize_compact(token, joserfc.jwk.OctKey.import_key(secret)),
    'jwcrypto': with_jwcrypto,
}
seen = {}
for secret in (b'dialpad-hook', b'0123456789abcdef0123456789abcdef'):
    for name, read in readers.items():
        try: read(sign(secret), secret); outcome = 'verified'
        except Exception as error: outcome = f'{type(error).__name__}: {error}'
        seen[len(secret), name] = outcome
        print(f'secret of {len(secret)} bytes, {name} {meta.version(name)}: {outcome}')
assert all(seen[length, name] == 'verified' for length, name in seen if (length, name) != (12, 'jwcrypto'))
assert seen[12, 'jwcrypto'].startswith('InvalidJWSSignature'), 'no longer so'
print('still so')
PY
