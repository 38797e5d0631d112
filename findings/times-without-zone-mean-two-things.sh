#!/usr/bin/env bash
# Wrong guess: within one language a time without a zone means the same moment to every library.
# True: for "2024-07-01T12:00:03", datetime.fromisoformat(…).timestamp() and dateutil 2.9.0 take the machine's zone;
#   pandas 3.1.1, numpy 2.4.6, pendulum 3.3.0 and arrow 1.4.0 take UTC. On a machine in Los Angeles that is seven
#   hours apart, on one in UTC nothing is seen.
# Why it matters: the lines of Dialpad's transcripts have such times ("time" is ISO without a zone). A transcript that
#   is matched with the call's times is right in the container and on the server, and wrong on the developer's
#   machine, or the other way round.
# What to do: attach the zone when parsing: datetime.fromisoformat(text).replace(tzinfo=timezone.utc).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    pandas==3.1.1 pendulum==3.3.0 arrow==1.4.0 python-dateutil==2.9.0.post0 tzdata
TZ=America/Los_Angeles PYTHONPATH="$work/lib" python3 - <<'PY'
from datetime import datetime
import importlib.metadata as meta
import arrow, numpy, pandas, pendulum
from dateutil import parser
text = '2024-07-01T12:00:03'
seen = {'datetime': datetime.fromisoformat(text).timestamp(), 'python-dateutil': parser.parse(text).timestamp(),
        'pandas': pandas.Timestamp(text).timestamp(), 'numpy': float(numpy.datetime64(text).astype('int64')),
        'pendulum': pendulum.parse(text).timestamp(), 'arrow': arrow.get(text).timestamp()}
utc = 1719835203.0
for name, at in seen.items():
    version = '' if name == 'datetime' else ' ' + meta.version(name)
    print(f'{name}{version}: {at:.0f} ({"UTC" if at == utc else f"{(at - utc) / 3600:+.0f} h: the local zone"})')
assert [name for name, at in seen.items() if at != utc] == ['datetime', 'python-dateutil'] and seen['datetime'] == utc + 7 * 3600, 'no longer so'
print('still so')
PY
