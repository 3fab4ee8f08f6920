-- Whose claims a request may carry. SQL functions with the extension owner's rights:
-- who may execute them is the only check they need.

CREATE FUNCTION @extschema@.trust_role(role regrole) RETURNS void
LANGUAGE sql STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	INSERT INTO tide_internal.trusted_roles (role) VALUES ($1) ON CONFLICT DO NOTHING;
END;
COMMENT ON FUNCTION @extschema@.trust_role(regrole) IS
	'lets sessions of a role send claims with their requests instead of a token';
REVOKE ALL ON FUNCTION @extschema@.trust_role(regrole) FROM PUBLIC;

CREATE FUNCTION @extschema@.untrust_role(role regrole) RETURNS void
LANGUAGE sql STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	DELETE FROM tide_internal.trusted_roles t
	WHERE t.role = $1::oid
	   OR NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = t.role);
END;
COMMENT ON FUNCTION @extschema@.untrust_role(regrole) IS
	'takes back what trust_role gave; effective at once in all sessions';
REVOKE ALL ON FUNCTION @extschema@.untrust_role(regrole) FROM PUBLIC;
