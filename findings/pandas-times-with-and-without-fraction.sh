#!/usr/bin/env bash
# Wrong guess: pandas.to_datetime reads a column of RFC 3339 times.
# True: pandas 3.1.1 takes the format from the first value. A column with "…:03Z" and "…:03.250311Z" raises
#   ValueError, or, with the usual errors="coerce", becomes NaT for all values of the other form, without a warning.
# Why it matters: many APIs write a fraction only where there is one, and Go, Java and JavaScript drop trailing zeros
#   or a zero fraction. Whether a report of calls loses 1 row in 1000 or all but the first depends on the first call
#   of the day.
# What to do: to_datetime(column, format="ISO8601", utc=True).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    pandas==3.1.1
PYTHONPATH="$work/lib" python3 - <<'PY'
import pandas
whole, part = '2024-01-01T12:00:03Z', '2024-01-01T12:00:03.250311Z'
print('pandas', pandas.__version__)
for column in ([whole, part, part], [part, whole, whole]):
    try: pandas.to_datetime(column); raise SystemExit('no longer so: read')
    except ValueError as error: print(column[0], 'first: ValueError:', str(error).splitlines()[0])
    lost = int(pandas.to_datetime(column, errors='coerce').isna().sum())
    print(f'    errors="coerce": {lost} of 3 are NaT')
    assert lost == 2, 'no longer so'
    assert not pandas.to_datetime(column, format='ISO8601', utc=True).isna().any()
print('still so; format="ISO8601" reads both')
PY
