-- Whose claims a request may carry. SQL functions with the extension owner's rights:
-- who may execute them is the only check they need.

CREATE FUNCTION tide.trust_role(role regrole) RETURNS void
LANGUAGE sql STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	INSERT INTO tide_internal.trusted_roles (role) VALUES ($1) ON CONFLICT DO NOTHING;
END;
COMMENT ON FUNCTION tide.trust_role(regrole) IS
	'lets sessions of a role send claims with their requests instead of a token';
REVOKE ALL ON FUNCTION tide.trust_role(regrole) FROM PUBLIC;

CREATE FUNCTION tide.untrust_role(role regrole) RETURNS void
LANGUAGE sql STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	DELETE FROM tide_internal.trusted_roles t
	WHERE t.role = $1::oid
	   OR NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = t.role);
END;
COMMENT ON FUNCTION tide.untrust_role(regrole) IS
	'takes back what trust_role gave; effective at once in all sessions';
REVOKE ALL ON FUNCTION tide.untrust_role(regrole) FROM PUBLIC;

-- keys of tokens; written by tide.add_jwt_key, read by pull and push directly (src/auth/jwt_key.c)
CREATE TABLE tide_internal.jwt_keys (
	kid           text PRIMARY KEY,
	algorithm     text NOT NULL CHECK (algorithm IN ('HS256', 'EdDSA', 'RS256', 'ES256')),
	key           bytea NOT NULL,        -- HS256: the secret; EdDSA: the point; else DER
	expires_at    timestamptz,
	public_key    jsonb,                 -- JWK; NULL: there is no public part
	thumbprint    text,                  -- RFC 7638
	added_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE tide_internal.jwt_keys IS 'keys that tokens are checked with, secrets among them';

CREATE VIEW tide.jwt_keys WITH (security_barrier) AS
SELECT kid, algorithm, public_key, thumbprint, added_at, expires_at,
	coalesce(expires_at <= pg_catalog.clock_timestamp(), false) AS expired
FROM tide_internal.jwt_keys;
COMMENT ON VIEW tide.jwt_keys IS 'keys that tokens are checked with, without the secrets';
REVOKE ALL ON tide.jwt_keys FROM PUBLIC;

CREATE FUNCTION tide.add_jwt_key(kid text, algorithm text, key bytea, expires_at timestamptz DEFAULT NULL)
	RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'tide_sql_add_jwt_key';
COMMENT ON FUNCTION tide.add_jwt_key(text, text, bytea, timestamptz) IS
	'adds a key that tokens are checked with: HS256, EdDSA, RS256 or ES256; raw, PEM or JWK';
REVOKE ALL ON FUNCTION tide.add_jwt_key(text, text, bytea, timestamptz) FROM PUBLIC;

CREATE FUNCTION tide.drop_jwt_key(kid text) RETURNS void
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'tide_sql_drop_jwt_key';
COMMENT ON FUNCTION tide.drop_jwt_key(text) IS
	'removes a key; its tokens are refused at once in all sessions';
REVOKE ALL ON FUNCTION tide.drop_jwt_key(text) FROM PUBLIC;

CREATE FUNCTION tide.claim(name text) RETURNS text
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'tide_sql_claim';
COMMENT ON FUNCTION tide.claim(text) IS
	'a claim of the request that is being pushed, for policies and triggers; NULL outside of a push';
REVOKE ALL ON FUNCTION tide.claim(text) FROM PUBLIC;

CREATE FUNCTION tide_internal.token_claims(token text, at timestamptz DEFAULT pg_catalog.clock_timestamp()) RETURNS jsonb
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'tide_sql_token_claims';
COMMENT ON FUNCTION tide_internal.token_claims(text, timestamptz) IS
	'claims of a token that is good at a moment; any other is refused';
REVOKE ALL ON FUNCTION tide_internal.token_claims(text, timestamptz) FROM PUBLIC;

CREATE FUNCTION tide_internal.verify_signature(algorithm text, key bytea, message bytea, signature bytea) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tide_sql_verify_signature';
COMMENT ON FUNCTION tide_internal.verify_signature(text, bytea, bytea, bytea) IS
	'whether a signature of a JWS fits';
REVOKE ALL ON FUNCTION tide_internal.verify_signature(text, bytea, bytea, bytea) FROM PUBLIC;
