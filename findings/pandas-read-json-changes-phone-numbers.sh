#!/usr/bin/env bash
# Wrong guess: pandas.read_json leaves JSON strings as strings.
# True: pandas 3.1.1 turns a column of strings that look like numbers into numbers: "+14155550101" becomes
#   14155550101, the CRM's user "007" becomes 7, an id that was sent as a string on purpose becomes a number again. A
#   column of ids with one null becomes float64, where 9007199254740993 is 9007199254740992.
# Why it matters: call lists and event feeds are read like this for every report. The join with the CRM on the phone
#   number finds nothing, and ids that were protected from JavaScript's numbers are not protected from pandas.
# What to do: read_json(…, dtype=False) or DataFrame(json.loads(text)); nullable ids as "Int64" or string.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    pandas==3.1.1
PYTHONPATH="$work/lib" python3 - <<'PY'
import io, json
import pandas
calls = [{'call_id': '4700000000000001', 'from_number': '+14155550101', 'crm_user_id': '007', 'dialpad_user_id': 9007199254740993},
         {'call_id': '9007199254740993', 'from_number': '+14155550102', 'crm_user_id': '012', 'dialpad_user_id': None}]
table = pandas.read_json(io.StringIO(json.dumps(calls)))
first = table.iloc[0]
print(f'pandas {pandas.__version__}:', {name: str(kind) for name, kind in table.dtypes.items()})
print('sent: ', calls[0])
print('read: ', table.to_dict('records')[0])
assert table['from_number'].tolist()[0] == 14155550101 and table['crm_user_id'].tolist() == [7, 12]
assert table['call_id'].dtype == 'int64' and table['dialpad_user_id'].tolist()[0] == 9007199254740992.0
kept = pandas.read_json(io.StringIO(json.dumps(calls)), dtype=False)
assert kept['from_number'].tolist()[0] == '+14155550101' and kept['crm_user_id'].tolist()[0] == '007'
print('still so; dtype=False keeps the strings')
PY
