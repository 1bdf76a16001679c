#!/bin/sh
# Run once, when the volume of PostgreSQL is empty: the pipeline's role owns its database and is no superuser.
set -eu
psql --username="$POSTGRES_USER" --dbname=postgres --set=ON_ERROR_STOP=1 --set=password="$POSTGRES_PASSWORD" <<'SQL'
CREATE ROLE market LOGIN PASSWORD :'password';
CREATE DATABASE market OWNER market;
SQL
