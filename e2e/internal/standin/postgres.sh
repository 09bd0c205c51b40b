#!/bin/sh
# The entry point of the stand-in for the official postgres image: what its documentation promises, as far as
# docker-compose.yml uses it. The first argument is the command; options alone are options of postgres.
set -eu

case "${1:-postgres}" in
-*) set -- postgres "$@" ;;
esac
[ "${1:-postgres}" = postgres ] || exec "$@"

# secret NAME: the value of $NAME, or of the file that $NAME_FILE names.
secret() {
	eval "value=\${$1:-} file=\${$1_FILE:-}"
	if [ -n "$value" ] && [ -n "$file" ]; then
		echo "$1 and $1_FILE are both set" >&2
		exit 1
	fi
	[ -z "$file" ] || value=$(cat "$file")
	printf %s "$value"
}

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
	password=$(secret POSTGRES_PASSWORD)
	if [ -z "$password" ] && [ "$method" != trust ]; then
		echo "POSTGRES_PASSWORD, or a file of it, is not set" >&2
		exit 1
	fi
	mkdir -p "$PGDATA"
	chmod 0700 "$PGDATA"
	(umask 077 && printf '%s\n' "$password" >/tmp/pwfile)
	# shellcheck disable=SC2086 # a list of options
	initdb -D "$PGDATA" --username "$user" --pwfile /tmp/pwfile --auth-local trust --auth-host scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
	rm /tmp/pwfile
	printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
	printf "\nlisten_addresses = '*'\n" >>"$PGDATA/postgresql.conf"
	# For what comes first the server listens on its socket only, so that nobody takes it for ready.
	pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=''" start
	[ "$database" = postgres ] || psql -v ON_ERROR_STOP=1 -U "$user" -d postgres -c "CREATE DATABASE \"$database\""
	for f in /docker-entrypoint-initdb.d/*; do
		case "$f" in
		*.sql) psql -v ON_ERROR_STOP=1 -U "$user" -d "$database" -f "$f" ;;
		*.sh) . "$f" ;;
		esac
	done
	pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@" -D "$PGDATA"
