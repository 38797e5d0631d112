#!/usr/bin/env bash
# Wrong guess: the ports of Google's libphonenumber read the same text as the same number.
# True: "+1-800-FLOWERS" is +18003569377 for phonenumbers 9.0.43 (Python) and awesome-phonenumber 7.8.0 (npm). libphonenumber-js 1.13.16
#   (npm, the usual one) drops the letters: +1800, without an error.
# Why it matters: contact data has such numbers. The browser's click-to-dial and the backend's contact search then disagree, and the
#   dialled number is a wrong one, not an error.
# What to do: check isPossible() before dialling; normalise on one side only.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" phonenumbers==9.0.43
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund libphonenumber-js@1.13.16 awesome-phonenumber@7.8.0
python=$(PYTHONPATH="$work/lib" python3 -c '
import phonenumbers as library
print(library.format_number(library.parse("+1-800-FLOWERS"), library.PhoneNumberFormat.E164))')
node - "$python" <<'JS'
const { parsePhoneNumber } = require('libphonenumber-js');
const awesome = require('awesome-phonenumber');
const seen = { phonenumbers: process.argv[2], 'awesome-phonenumber': awesome.parsePhoneNumber('+1-800-FLOWERS').number.e164,
  'libphonenumber-js': parsePhoneNumber('+1-800-FLOWERS').number };
console.log(seen, 'possible for libphonenumber-js:', parsePhoneNumber('+1-800-FLOWERS').isPossible());
const so = seen.phonenumbers === '+18003569377' && seen['awesome-phonenumber'] === '+18003569377' && seen['libphonenumber-js'] === '+1800';
console.log(so ? 'still so' : 'no longer so');
process.exit(so ? 0 : 1);
JS
npm ls --depth=0
