#!/usr/bin/env bash
# Runs pgTAP files against the server of PGHOST/PGPORT, in a database of its own.
set -eu
cd "$(dirname "$0")/.."
export PGDATABASE=tide_pgtap
psql -XqAt -d postgres -c "SET client_min_messages = warning" -c "DROP DATABASE IF EXISTS $PGDATABASE" -c "CREATE DATABASE $PGDATABASE"
psql -XqAt -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION pg_tide'
PERL5LIB="$PWD/test/perl${PERL5LIB:+:$PERL5LIB}" pg_prove ${TEST_FORMATTER:-} "$@"
