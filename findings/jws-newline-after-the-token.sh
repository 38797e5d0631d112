#!/usr/bin/env bash
# Wrong guess: whether a webhook body "TOKEN\n" is authentic is the same in every JWS library.
# True: (npm) jose 6.2.18 verifies it, and even a token with a space inside the signature, because its base64 reader skips
#   white space. jsonwebtoken 9.0.3, jws 4.0.1 and fast-jwt 6.3.6 do not.
# Why it matters: Dialpad sends the token as the whole body. A relay, a file (`curl --data-binary @event.jwt`) or a text field adds
#   the line end: one receiver of the same team takes the event, the other answers 401, after which Dialpad never repeats it.
#   And with jose two different bodies are the same event: a duplicate check on the raw bytes does not see it.
# What to do: trim the body before verifying; compare claims, not bytes, for duplicates.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund jose@6.2.18 jsonwebtoken@9.0.3 jws@4.0.1 fast-jwt@6.3.6
cat > run.mjs <<'JS'
import crypto from 'node:crypto';
import * as jose from 'jose';
import jsonwebtoken from 'jsonwebtoken';
import jws from 'jws';
import { createVerifier } from 'fast-jwt';
const secret = '0123456789abcdef0123456789abcdef';
const text = (value) => Buffer.from(value).toString('base64url');
const signed = `${text('{"alg":"HS256"}')}.${text('{"call_id":1,"state":"ringing"}')}`;
const token = `${signed}.${crypto.createHmac('sha256', secret).update(signed).digest('base64url')}`;
const bodies = { 'as sent': token, 'newline after': `${token}\n`, 'space in the signature': `${token.slice(0, -5)} ${token.slice(-5)}` };
const readers = {
  jose: (body) => jose.compactVerify(body, new TextEncoder().encode(secret)),
  jsonwebtoken: (body) => jsonwebtoken.verify(body, secret, { algorithms: ['HS256'] }),
  jws: (body) => jws.verify(body, 'HS256', secret) || Promise.reject(new Error('false')),
  'fast-jwt': (body) => createVerifier({ key: secret, algorithms: ['HS256'] })(body),
};
const seen = {};
for (const [name, read] of Object.entries(readers)) for (const [what, body] of Object.entries(bodies)) {
  (seen[name] ??= {})[what] = await (async () => read(body))().then(() => 'verified', (error) => error.code ?? error.message);
}
console.table(seen);
const others = ['jsonwebtoken', 'jws', 'fast-jwt'];
const so = Object.values(seen.jose).every((outcome) => outcome === 'verified')
  && others.every((name) => seen[name]['as sent'] === 'verified' && seen[name]['newline after'] !== 'verified');
console.log(so ? 'still so' : 'no longer so');
process.exit(so ? 0 : 1);
JS
node run.mjs
npm ls --depth=0
