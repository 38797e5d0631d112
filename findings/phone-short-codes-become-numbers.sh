#!/usr/bin/env bash
# Wrong guess: formatting as E.164 fails for what is no phone number, so what comes out can be stored and dialled.
# True: phonenumbers 9.0.43 and (npm) libphonenumber-js 1.13.16 format the sender of a bank's text message, 22395, as
#   +122395, and 911 as +1911, without an error; only is_valid_number says no. The caller id +266696687, which is
#   "ANONYMOUS" on a keypad and which carriers put in for a hidden number, is given the region LS (Lesotho).
# Why it matters: a CRM that normalises sender and caller to E.164 files text messages under numbers that do not
#   exist, merges contacts by them, offers to call +1911, and shows all hidden callers as one customer from Lesotho.
# What to do: format only if is_valid_number; keep short codes as they came; treat +266696687 as "no number".
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    phonenumbers==9.0.43
(cd "$work" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund libphonenumber-js@1.13.16)
PYTHONPATH="$work/lib" python3 - <<'PY'
import phonenumbers as library
print('phonenumbers', library.__version__)
for text, region, e164, place in (('22395', 'US', '+122395', None), ('911', 'US', '+1911', None), ('+266696687', None, '+266696687', 'LS')):
    number = library.parse(text, region)
    formatted = library.format_number(number, library.PhoneNumberFormat.E164)
    print(f'  {text} -> {formatted}, region {library.region_code_for_number(number)}, valid {library.is_valid_number(number)}')
    assert formatted == e164 and not library.is_valid_number(number) and library.region_code_for_number(number) == place, 'no longer so'
PY
cd "$work"
node -e '
const { parsePhoneNumber } = require("libphonenumber-js");
console.log("libphonenumber-js", require("libphonenumber-js/package.json").version);
for (const [text, region, e164, place] of [["22395", "US", "+122395", "US"], ["911", "US", "+1911", "US"], ["+266696687", undefined, "+266696687", "LS"]]) {
  const number = parsePhoneNumber(text, region);
  console.log(`  ${text} -> ${number.number}, country ${number.country}, valid ${number.isValid()}`);
  if (number.number !== e164 || number.country !== place || number.isValid()) { console.log("no longer so"); process.exit(1); }
}
console.log("still so");'
