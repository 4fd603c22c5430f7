-- What the two roles may do in one schema. Part two of `multiaz bootstrap`, repeated for each schema.

-- The default since PostgreSQL 15; a database that came from an older one still has the old privilege,
-- and with it anybody could put a function in the way of somebody else's query.
REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;
GRANT USAGE ON SCHEMA {schema} TO {writer}, {reader};

-- The writer changes rows and no tables: no CREATE, TRUNCATE, REFERENCES, TRIGGER. Migrations run as
-- the master user, so a stolen application token cannot drop a table.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {writer};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {writer};
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader};

-- The same for what the master user (who runs this) will make later. Objects of another role need
-- another ALTER DEFAULT PRIVILEGES, by that role; or run `multiaz bootstrap` again after a migration.
-- Functions are missing on purpose: PUBLIC may execute them.
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {writer};
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO {writer};
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader};
