#!/usr/bin/env bash
# Wrong guess: JSON that Python's json and JavaScript write and read is JSON for everybody.
# True: a text that was cut in the middle of an emoji is written as "\ud83d" by both, which RFC 8259 allows. Python's
#   json, simplejson 4.1.1 and ujson 6.1.0 read it, into a str that can't be encoded again; orjson 3.13.0, msgspec
#   0.23.0 and python-rapidjson 1.23 refuse the whole document.
# Why it matters: contact names and text messages are cut to a length by phones, carriers and CRMs. The event of a
#   call then stops at the first strict reader, for a name that is not used. With a tolerant reader it fails later, at
#   the database or the socket.
# What to do: on a parse error replace lone surrogate escapes with \ufffd and parse again; never answer 4xx for it.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    \
    orjson==3.13.0 ujson==6.1.0 msgspec==0.23.0 simplejson==4.1.1 python-rapidjson==1.23
written=$(node -e 'console.log(JSON.stringify({ text: "Call me 📞".slice(0, 9) }))')
WRITTEN="$written" PYTHONPATH="$work/lib" python3 - <<'PY'
import importlib.metadata as meta, json, os
import msgspec, orjson, rapidjson, simplejson, ujson
written = os.environ['WRITTEN']
print('JavaScript writes', written, '| Python writes', json.dumps({'text': json.loads(written)['text']}))
assert written == '{"text":"Call me \\ud83d"}' == json.dumps({'text': json.loads(written)['text']}, separators=(',', ':'))
readers = {'json': json.loads, 'simplejson': simplejson.loads, 'ujson': ujson.loads, 'orjson': orjson.loads,
           'msgspec': msgspec.json.decode, 'python-rapidjson': rapidjson.loads}
tolerant = []
for name, read in readers.items():
    version = '' if name == 'json' else ' ' + meta.version(name)
    try: value = read(written)
    except Exception as error:
        print(f'{name}{version}: refuses: {type(error).__name__}: {error}')
        continue
    tolerant.append(name)
    try: value['text'].encode(); after = 'and encodes it again'
    except UnicodeEncodeError as error: after = f'then .encode() fails: {error.reason}'
    print(f'{name}{version}: reads {ascii(value)}, {after}')
assert tolerant == ['json', 'simplejson', 'ujson'], 'no longer so'
print('still so')
PY
