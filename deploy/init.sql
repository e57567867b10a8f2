-- Run once by the postgres image, as its superuser in the database app: the two roles that pglessor needs.

\getenv app_password APP_PASSWORD
\getenv control_password CONTROL_PASSWORD

-- The pool's. It may do what it likes in its database, and holds as many connections as the pool's maximum:
-- what pglessor counts, PostgreSQL enforces.
CREATE ROLE app LOGIN PASSWORD :'app_password' CONNECTION LIMIT 20;
ALTER DATABASE app OWNER TO app;

-- pglessor's own. It sees what the pool's sessions do, cancels and terminates them, and owns nothing.
CREATE ROLE pglessor_control LOGIN PASSWORD :'control_password' CONNECTION LIMIT 5;
GRANT pg_monitor, pg_signal_backend TO pglessor_control;

REVOKE CONNECT, TEMPORARY ON DATABASE app FROM PUBLIC;
GRANT CONNECT ON DATABASE app TO pglessor_control;
