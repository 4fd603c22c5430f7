-- The two database roles of the application, and how they log in. Part one of `multiaz bootstrap`.
--
-- Run as the master user of an RDS for PostgreSQL instance (16 or later), in the application's
-- database, in one transaction. The master user is no superuser: it has CREATEROLE and is a member of
-- rds_superuser, and nothing here needs more. Running it again changes nothing that is right already.
--
-- Names in braces are filled in and quoted by `multiaz bootstrap`; `multiaz bootstrap --print` shows the result.

-- Names below mean PostgreSQL's own objects, whatever anybody has put into the schema public.
SET LOCAL search_path = '';
-- GRANT waits for those who change the same table: better refused than kept waiting.
SET LOCAL lock_timeout = '10s';
-- Two at once would meet in "tuple concurrently updated".
SELECT pg_advisory_xact_lock(hashtext('multiaz bootstrap'));

-- Both log in themselves, without a password. No group roles in between: a role that is granted these,
-- directly or through others, is a member of rds_iam too and can no longer use its own password.
DO $bootstrap$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {writer_name}) THEN
        CREATE ROLE {writer};
        -- Shorter than the parameter group's: an order that takes longer has lost its customer.
        -- Only at creation: who tunes it later finds it as it was tuned.
        ALTER ROLE {writer} SET statement_timeout = '10s';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {reader_name}) THEN
        CREATE ROLE {reader};
        -- Pages and small reports; on a replica a longer query is cancelled after
        -- max_standby_streaming_delay anyway.
        ALTER ROLE {reader} SET statement_timeout = '30s';
    END IF;
END
$bootstrap$;

-- No password at all: should rds_iam ever be revoked, nobody gets in, instead of somebody with an old one.
ALTER ROLE {writer} LOGIN PASSWORD NULL;
ALTER ROLE {reader} LOGIN PASSWORD NULL;

-- A convenience, not the protection: a session may switch it off. What protects is that the reader has
-- no privilege to write. It says so at once on the primary as well, as a replica does.
ALTER ROLE {reader} SET default_transaction_read_only = on;

-- Members of rds_iam log in with an IAM token, over TLS, and in no other way.
-- Source: RDS user guide, "Creating a database account using IAM authentication".
GRANT rds_iam TO {writer}, {reader};

-- PUBLIC may connect unless somebody took that away; then these two still may.
-- Nothing else is taken from PUBLIC here: other roles of this database may need it.
GRANT CONNECT ON DATABASE {database} TO {writer}, {reader};

-- Which statements cost how much. The parameter group loads the library; this makes its view.
CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA {extension_schema};
