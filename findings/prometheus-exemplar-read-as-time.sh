#!/usr/bin/env bash
# Wrong guess: a parser of the Prometheus text format either understands an exemplar or refuses the line.
# True: prometheus-client 0.26.0 for Python reads the last number of the exemplar as the sample's time: a bucket's
#   value gets the time 0.001 s after 1970, without an error. Prometheus 2.42 itself refuses the whole page for the
#   same line.
# Why it matters: exporters of call latencies attach the trace of a slow call as an exemplar. Sent as text/plain (an
#   old scraper, a proxy that drops Accept), one line loses all metrics at Prometheus, while a script or gateway with
#   the Python parser stores them in 1970.
# What to do: exemplars only in application/openmetrics-text; read that with prometheus_client.openmetrics.parser.
# Needs a Debian 12 system for Prometheus's own reader (apt-get download; nothing is installed).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    prometheus-client==0.26.0
cd "$work"
apt-get download prometheus >/dev/null 2>&1
dpkg -x prometheus_*.deb root
cat > page.txt <<'TXT'
# HELP webhook_seconds Time to acknowledge a webhook.
# TYPE webhook_seconds histogram
webhook_seconds_bucket{le="0.1"} 41 # {trace_id="4bf92f35"} 0.05 1.0
webhook_seconds_bucket{le="+Inf"} 42
webhook_seconds_sum 3.5
webhook_seconds_count 42
TXT
root/usr/bin/promtool --version | head -1
if root/usr/bin/promtool check metrics <page.txt 2>refused; then echo 'no longer so: Prometheus reads it'; exit 1; fi
cat refused
PYTHONPATH="$work/lib" python3 - <<'PY'
import importlib.metadata as meta
from prometheus_client.parser import text_string_to_metric_families as read
sample = next(iter(read(open('page.txt').read()))).samples[0]
print('prometheus-client', meta.version('prometheus-client'), sample)
assert sample.value == 41 and sample.exemplar is None and float(sample.timestamp) == 0.001, 'no longer so'
print('still so')
PY
