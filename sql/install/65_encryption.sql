-- End-to-end encryption (doc/encryption.md): functions for clients that are PostgreSQL, the
-- tables by which clients exchange keys, and what the server checks without any key.

-- Functions whose result is secret are volatile, though they are not: what the planner evaluates it copies, and leaves
-- the copies behind.

-- ---------- data keys and envelopes ----------

CREATE FUNCTION tide.generate_data_key() RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_generate_data_key'
	LANGUAGE c VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION tide.generate_data_key() IS 'a new data key: its id (16 bytes, a uuid), then 32 secret bytes';
REVOKE ALL ON FUNCTION tide.generate_data_key() FROM PUBLIC;

CREATE FUNCTION tide.data_key_id(data_key bytea) RETURNS uuid
	AS 'MODULE_PATHNAME', 'tide_sql_data_key_id'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.data_key_id(bytea) IS 'the id of a data key';
REVOKE ALL ON FUNCTION tide.data_key_id(bytea) FROM PUBLIC;

CREATE FUNCTION tide.encrypt(plaintext bytea, data_key bytea, "table" text, "column" text, key jsonb) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_encrypt'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.encrypt(bytea, bytea, text, text, jsonb) IS 'envelope of a value, bound to its table, column and row';
REVOKE ALL ON FUNCTION tide.encrypt(bytea, bytea, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION tide.decrypt(envelope bytea, data_key bytea, "table" text, "column" text, key jsonb) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_decrypt'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.decrypt(bytea, bytea, text, text, jsonb) IS 'value of an envelope; an error unless key, table, column and row are those it was made for';
REVOKE ALL ON FUNCTION tide.decrypt(bytea, bytea, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION tide.encrypt_text(plaintext text, data_key bytea, "table" text, "column" text, key jsonb) RETURNS text
	AS 'MODULE_PATHNAME', 'tide_sql_encrypt_text'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.encrypt_text(text, bytea, text, text, jsonb) IS 'envelope of a text, in base64url, for columns of text and jsonb';
REVOKE ALL ON FUNCTION tide.encrypt_text(text, bytea, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION tide.decrypt_text(envelope text, data_key bytea, "table" text, "column" text, key jsonb) RETURNS text
	AS 'MODULE_PATHNAME', 'tide_sql_decrypt_text'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.decrypt_text(text, bytea, text, text, jsonb) IS 'text of an envelope in base64url';
REVOKE ALL ON FUNCTION tide.decrypt_text(text, bytea, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION tide.is_envelope(value bytea) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_is_envelope_bytea'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.is_envelope(bytea) IS 'whether a value has the form of an envelope';
REVOKE ALL ON FUNCTION tide.is_envelope(bytea) FROM PUBLIC;

CREATE FUNCTION tide.is_envelope(value text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_is_envelope_text'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.is_envelope(text) IS 'whether a text is an envelope in base64url';
REVOKE ALL ON FUNCTION tide.is_envelope(text) FROM PUBLIC;

CREATE FUNCTION tide.is_envelope(value jsonb) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_is_envelope_jsonb'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.is_envelope(jsonb) IS 'whether a JSON value is a string with an envelope in base64url, or null';
REVOKE ALL ON FUNCTION tide.is_envelope(jsonb) FROM PUBLIC;

CREATE FUNCTION tide.envelope_key_id(envelope bytea) RETURNS uuid
	AS 'MODULE_PATHNAME', 'tide_sql_envelope_key_id_bytea'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.envelope_key_id(bytea) IS 'id of the data key an envelope needs';
REVOKE ALL ON FUNCTION tide.envelope_key_id(bytea) FROM PUBLIC;

CREATE FUNCTION tide.envelope_key_id(envelope text) RETURNS uuid
	AS 'MODULE_PATHNAME', 'tide_sql_envelope_key_id_text'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.envelope_key_id(text) IS 'id of the data key an envelope in base64url needs';
REVOKE ALL ON FUNCTION tide.envelope_key_id(text) FROM PUBLIC;

-- ---------- device keys ----------

CREATE FUNCTION tide.generate_device_secret() RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_generate_device_secret'
	LANGUAGE c VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION tide.generate_device_secret() IS 'a new device secret: 32 bytes all keys of the device come from';
REVOKE ALL ON FUNCTION tide.generate_device_secret() FROM PUBLIC;

CREATE FUNCTION tide.device_keys(secret bytea, OUT box_key bytea, OUT sign_key bytea) RETURNS record
	AS 'MODULE_PATHNAME', 'tide_sql_device_keys'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.device_keys(bytea) IS 'public keys of a device secret: X25519 and Ed25519';
REVOKE ALL ON FUNCTION tide.device_keys(bytea) FROM PUBLIC;

CREATE FUNCTION tide.seal(message bytea, box_key bytea) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_seal'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.seal(bytea, bytea) IS 'seals a message that only the device of box_key can open (crypto_box_seal)';
REVOKE ALL ON FUNCTION tide.seal(bytea, bytea) FROM PUBLIC;

CREATE FUNCTION tide.unseal(sealed bytea, secret bytea) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_unseal'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.unseal(bytea, bytea) IS 'opens what was sealed for the device of a secret';
REVOKE ALL ON FUNCTION tide.unseal(bytea, bytea) FROM PUBLIC;

CREATE FUNCTION tide.sign(message bytea, secret bytea) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_sign'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.sign(bytea, bytea) IS 'Ed25519 signature by the device of a secret';
REVOKE ALL ON FUNCTION tide.sign(bytea, bytea) FROM PUBLIC;

CREATE FUNCTION tide.verify(message bytea, signature bytea, sign_key bytea) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_verify_message'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.verify(bytea, bytea, bytea) IS 'whether a signature is of this message and key';
REVOKE ALL ON FUNCTION tide.verify(bytea, bytea, bytea) FROM PUBLIC;

CREATE FUNCTION tide.make_backup(secret bytea, passphrase text, opslimit int DEFAULT 3, memlimit bigint DEFAULT 268435456) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_make_backup'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.make_backup(bytea, text, int, bigint) IS 'a device secret under a passphrase (Argon2id)';
REVOKE ALL ON FUNCTION tide.make_backup(bytea, text, int, bigint) FROM PUBLIC;

CREATE FUNCTION tide.open_backup(backup bytea, passphrase text) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_open_backup'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.open_backup(bytea, text) IS 'the device secret in a backup; an error if the passphrase is wrong';
REVOKE ALL ON FUNCTION tide.open_backup(bytea, text) FROM PUBLIC;

CREATE FUNCTION tide.is_backup(value bytea) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_is_backup'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.is_backup(bytea) IS 'whether a value has the form of a backup';
REVOKE ALL ON FUNCTION tide.is_backup(bytea) FROM PUBLIC;

-- ---------- what is signed ----------

CREATE FUNCTION tide.canonical_json(value jsonb) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_canonical_json'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.canonical_json(jsonb) IS 'the one text of a JSON value that is signed, in UTF-8';
REVOKE ALL ON FUNCTION tide.canonical_json(jsonb) FROM PUBLIC;

CREATE FUNCTION tide.signed_message(kind text, content jsonb) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_signed_message'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.signed_message(text, jsonb) IS 'what a signature of some kind is made of';
REVOKE ALL ON FUNCTION tide.signed_message(text, jsonb) FROM PUBLIC;

CREATE FUNCTION tide.device_message(device_id uuid, subject text, box_key bytea, sign_key bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT
BEGIN ATOMIC
	SELECT tide.signed_message('device', pg_catalog.jsonb_build_object(
		'device_id', device_id, 'subject', subject,
		'box_key', pg_catalog.encode(box_key, 'hex'), 'sign_key', pg_catalog.encode(sign_key, 'hex')));
END;
COMMENT ON FUNCTION tide.device_message(uuid, text, bytea, bytea) IS 'what a device, and one that endorses it, signs';
REVOKE ALL ON FUNCTION tide.device_message(uuid, text, bytea, bytea) FROM PUBLIC;

CREATE FUNCTION tide.grant_message(key_id uuid, scope text, generation int, device_id uuid, box_key bytea, sealed bytea, granted_by uuid) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT
BEGIN ATOMIC
	SELECT tide.signed_message('grant', pg_catalog.jsonb_build_object(
		'key_id', key_id, 'scope', scope, 'generation', generation, 'device_id', device_id,
		'box_key', pg_catalog.encode(box_key, 'hex'), 'sealed', pg_catalog.encode(sealed, 'hex'),
		'granted_by', granted_by));
END;
COMMENT ON FUNCTION tide.grant_message(uuid, text, int, uuid, bytea, bytea, uuid) IS 'what the device that grants a key signs';
REVOKE ALL ON FUNCTION tide.grant_message(uuid, text, int, uuid, bytea, bytea, uuid) FROM PUBLIC;

CREATE FUNCTION tide.mutation_message(client uuid, mutation jsonb) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT
BEGIN ATOMIC
	SELECT tide.signed_message('mutation', pg_catalog.jsonb_build_object(
		'client', client, 'mutation', mutation - 'signature'));
END;
COMMENT ON FUNCTION tide.mutation_message(uuid, jsonb) IS 'what the device that writes a mutation signs';
REVOKE ALL ON FUNCTION tide.mutation_message(uuid, jsonb) FROM PUBLIC;

CREATE FUNCTION tide.sign_mutation(client uuid, mutation jsonb, device_id uuid, secret bytea) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT
BEGIN ATOMIC
	SELECT mutation || pg_catalog.jsonb_build_object('signature', pg_catalog.jsonb_build_object(
		'device', device_id,
		'value', pg_catalog.encode(tide.sign(tide.mutation_message(client, mutation), secret), 'hex')));
END;
COMMENT ON FUNCTION tide.sign_mutation(uuid, jsonb, uuid, bytea) IS 'a mutation with its signature, as tide.push takes it';
REVOKE ALL ON FUNCTION tide.sign_mutation(uuid, jsonb, uuid, bytea) FROM PUBLIC;

CREATE FUNCTION tide.verify_mutation(client uuid, mutation jsonb, sign_key bytea) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT
BEGIN ATOMIC
	SELECT coalesce(mutation -> 'signature' ->> 'value' ~ '^[0-9a-f]{128}$'
		AND tide.verify(tide.mutation_message(client, mutation),
			pg_catalog.decode(CASE WHEN mutation -> 'signature' ->> 'value' ~ '^[0-9a-f]{128}$'
				THEN mutation -> 'signature' ->> 'value' ELSE '' END, 'hex'), sign_key), false);
END;
COMMENT ON FUNCTION tide.verify_mutation(uuid, jsonb, bytea) IS 'whether a mutation bears a signature of this key';
REVOKE ALL ON FUNCTION tide.verify_mutation(uuid, jsonb, bytea) FROM PUBLIC;

-- ---------- the tables by which clients exchange keys ----------

CREATE TABLE tide.devices (
	device_id     uuid PRIMARY KEY,
	subject       text NOT NULL,         -- claims.sub of its user
	name          text,
	box_key       bytea NOT NULL,        -- X25519
	sign_key      bytea NOT NULL,        -- Ed25519
	signature     bytea NOT NULL,        -- its own, of device_message()
	endorsed_by   uuid,                  -- another device of the user
	endorsement   bytea,                 -- signature of that one, of device_message()
	created_at    timestamptz NOT NULL DEFAULT pg_catalog.now(),
	revoked_at    timestamptz
);
COMMENT ON TABLE tide.devices IS 'devices of users with their public keys';
ALTER TABLE tide.devices ENABLE ROW LEVEL SECURITY;
CREATE INDEX devices_subject ON tide.devices (subject);

CREATE TABLE tide.key_grants (
	key_id        uuid NOT NULL,
	device_id     uuid NOT NULL,         -- for whom
	scope         text NOT NULL,         -- what the key is for, the app's own word
	generation    int NOT NULL,          -- of the scope's keys: 1, 2, 3 ...; the last is for new data
	sealed        bytea NOT NULL,        -- the data key, sealed for the device's box_key
	granted_by    uuid NOT NULL,         -- device that holds the key
	granted_key   bytea NOT NULL,        -- its sign_key
	signature     bytea NOT NULL,        -- its, of grant_message()
	created_at    timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (key_id, device_id)
);
COMMENT ON TABLE tide.key_grants IS 'data keys, each sealed for one device';
ALTER TABLE tide.key_grants ENABLE ROW LEVEL SECURITY;
CREATE INDEX key_grants_scope ON tide.key_grants (scope, generation);
CREATE INDEX key_grants_device ON tide.key_grants (device_id);

CREATE TABLE tide.key_backups (
	device_id     uuid PRIMARY KEY,
	backup        bytea NOT NULL,        -- of make_backup()
	created_at    timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE tide.key_backups IS 'secrets of devices, each under a passphrase the server never sees';
ALTER TABLE tide.key_backups ENABLE ROW LEVEL SECURITY;

-- written by tide.push for tables of tide.require_signatures()
CREATE TABLE tide.signed_mutations (
	client_id     uuid NOT NULL,
	mutation_id   bigint NOT NULL,
	"table"       text NOT NULL,
	key           jsonb NOT NULL,
	device_id     uuid NOT NULL,
	mutation      jsonb NOT NULL,        -- as pushed, with its signature
	at            timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (client_id, mutation_id)
);
COMMENT ON TABLE tide.signed_mutations IS 'accepted mutations with their signatures, for clients to check; a shape can be made of it';
ALTER TABLE tide.signed_mutations ENABLE ROW LEVEL SECURITY;
CREATE INDEX signed_mutations_row ON tide.signed_mutations ("table", key);

CREATE TABLE tide_internal.signed_tables (
	relid         oid PRIMARY KEY
);
COMMENT ON TABLE tide_internal.signed_tables IS 'tables whose mutations must be signed';

-- written with shape_nodes, and kept as long as the shape is there, compiled or not
CREATE TABLE tide_internal.encrypted_columns (
	shape_id      int NOT NULL,
	relid         oid NOT NULL,
	attnum        smallint NOT NULL,
	PRIMARY KEY (shape_id, relid, attnum)
);
COMMENT ON TABLE tide_internal.encrypted_columns IS 'columns that a shape declares to hold envelopes only';

-- ---------- who may write what ----------

CREATE POLICY own ON tide.devices
	USING (subject = nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub');
CREATE POLICY own ON tide.key_backups
	USING (device_id IN (SELECT d.device_id FROM tide.devices d));
CREATE POLICY own ON tide.key_grants
	USING (granted_by IN (SELECT d.device_id FROM tide.devices d)
		OR device_id IN (SELECT d.device_id FROM tide.devices d))
	WITH CHECK (granted_by IN (SELECT d.device_id FROM tide.devices d));

-- Whoever writes without claims is an administrator, whom row-level security lets through, or restores a
-- dump: then rows come in any order, and what is revoked by now was not when keys were granted.

CREATE FUNCTION tide_internal.check_device() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	is_client boolean := nullif(current_setting('request.jwt.claims', true), '') IS NOT NULL;
	message bytea := tide.device_message(NEW.device_id, NEW.subject, NEW.box_key, NEW.sign_key);
BEGIN
	IF TG_OP = 'UPDATE' AND (NEW.device_id, NEW.subject, NEW.box_key, NEW.sign_key, NEW.signature)
			IS DISTINCT FROM (OLD.device_id, OLD.subject, OLD.box_key, OLD.sign_key, OLD.signature) THEN
		RAISE EXCEPTION 'keys of a device never change' USING ERRCODE = 'check_violation';
	END IF;
	IF TG_OP = 'UPDATE' AND OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
		RAISE EXCEPTION 'a revoked device stays revoked' USING ERRCODE = 'check_violation';
	END IF;
	IF octet_length(NEW.box_key) <> 32 OR NOT coalesce(tide.verify(message, NEW.signature, NEW.sign_key), false) THEN
		RAISE EXCEPTION 'signature of the device is not valid' USING ERRCODE = 'check_violation';
	END IF;
	IF is_client AND (NEW.endorsed_by IS NOT NULL OR NEW.endorsement IS NOT NULL)
		AND (TG_OP = 'INSERT' OR (NEW.endorsed_by, NEW.endorsement) IS DISTINCT FROM (OLD.endorsed_by, OLD.endorsement))
		AND NOT EXISTS (SELECT FROM tide.devices e
			WHERE e.device_id = NEW.endorsed_by AND e.device_id <> NEW.device_id AND e.subject = NEW.subject
			AND e.revoked_at IS NULL AND tide.verify(message, NEW.endorsement, e.sign_key)) THEN
		RAISE EXCEPTION 'endorsement of the device is not valid' USING ERRCODE = 'check_violation';
	END IF;
	RETURN NEW;
END;
$$;
COMMENT ON FUNCTION tide_internal.check_device() IS 'keys of a device are its own and stay; revocation is for good';
REVOKE ALL ON FUNCTION tide_internal.check_device() FROM PUBLIC;
CREATE TRIGGER check_device BEFORE INSERT OR UPDATE ON tide.devices
	FOR EACH ROW EXECUTE FUNCTION tide_internal.check_device();

CREATE FUNCTION tide_internal.check_key_grant() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	is_client boolean := nullif(current_setting('request.jwt.claims', true), '') IS NOT NULL;
	grantor tide.devices;
	receiver tide.devices;
	last_generation int;
BEGIN
	IF TG_OP = 'UPDATE' THEN
		IF NEW IS DISTINCT FROM OLD THEN
			RAISE EXCEPTION 'a key grant never changes' USING ERRCODE = 'check_violation';
		END IF;
		RETURN NEW;
	END IF;

	-- grants of one scope come one after the other; a device cannot be revoked meanwhile
	PERFORM pg_advisory_xact_lock(hashtextextended('tide.key_grants ' || NEW.scope, 0));
	SELECT * INTO grantor FROM tide.devices d WHERE d.device_id = NEW.granted_by FOR SHARE;
	SELECT * INTO receiver FROM tide.devices d WHERE d.device_id = NEW.device_id FOR SHARE;
	IF grantor.device_id IS NULL OR receiver.device_id IS NULL
		OR (is_client AND (grantor.revoked_at IS NOT NULL OR receiver.revoked_at IS NOT NULL)) THEN
		RAISE EXCEPTION 'device of a key grant is not registered, or is revoked' USING ERRCODE = 'check_violation';
	END IF;
	IF octet_length(NEW.sealed) <> 96 OR NEW.granted_key <> grantor.sign_key
		OR NOT coalesce(tide.verify(tide.grant_message(NEW.key_id, NEW.scope, NEW.generation,
			NEW.device_id, receiver.box_key, NEW.sealed, NEW.granted_by), NEW.signature, grantor.sign_key), false) THEN
		RAISE EXCEPTION 'signature of the key grant is not valid' USING ERRCODE = 'check_violation';
	END IF;

	IF EXISTS (SELECT FROM tide.key_grants g
		WHERE (g.key_id = NEW.key_id OR (g.scope = NEW.scope AND g.generation = NEW.generation))
		AND (g.key_id, g.scope, g.generation) <> (NEW.key_id, NEW.scope, NEW.generation)) THEN
		RAISE EXCEPTION 'generation % of this scope has another key', NEW.generation USING ERRCODE = 'unique_violation';
	END IF;
	-- whoever holds the key passes it on
	IF NOT is_client OR EXISTS (SELECT FROM tide.key_grants g
		WHERE g.key_id = NEW.key_id AND g.device_id = NEW.granted_by) THEN
		RETURN NEW;
	END IF;
	-- a new key is granted to its maker first: the first of the scope, or the one after the last he holds
	SELECT coalesce(max(g.generation), 0) INTO last_generation FROM tide.key_grants g WHERE g.scope = NEW.scope;
	IF NEW.device_id <> NEW.granted_by OR NEW.generation <> last_generation + 1
		OR (last_generation > 0 AND NOT EXISTS (SELECT FROM tide.key_grants g
			WHERE g.scope = NEW.scope AND g.generation = last_generation AND g.device_id = NEW.granted_by)) THEN
		RAISE EXCEPTION 'device does not hold the key it grants' USING ERRCODE = 'check_violation',
			HINT = 'The maker of a new key grants it to itself first, as the generation after the last, whose key it holds.';
	END IF;
	RETURN NEW;
END;
$$;
COMMENT ON FUNCTION tide_internal.check_key_grant() IS 'key grants are signed by a device that holds the key, for one that is not revoked, and never change';
REVOKE ALL ON FUNCTION tide_internal.check_key_grant() FROM PUBLIC;
CREATE TRIGGER check_key_grant BEFORE INSERT OR UPDATE ON tide.key_grants
	FOR EACH ROW EXECUTE FUNCTION tide_internal.check_key_grant();

CREATE FUNCTION tide_internal.check_key_backup() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT tide.is_backup(NEW.backup) THEN
		RAISE EXCEPTION 'not a backup, or limits out of bounds' USING ERRCODE = 'check_violation';
	END IF;
	RETURN NEW;
END;
$$;
COMMENT ON FUNCTION tide_internal.check_key_backup() IS 'backups have the form of backups';
REVOKE ALL ON FUNCTION tide_internal.check_key_backup() FROM PUBLIC;
CREATE TRIGGER check_key_backup BEFORE INSERT OR UPDATE ON tide.key_backups
	FOR EACH ROW EXECUTE FUNCTION tide_internal.check_key_backup();

-- ---------- for administrators ----------

CREATE FUNCTION tide.enable_encryption(role regrole) RETURNS void
LANGUAGE plpgsql STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format('GRANT SELECT, INSERT ON tide.devices, tide.key_grants, tide.key_backups TO %s', role);
	EXECUTE format('GRANT UPDATE (name, endorsed_by, endorsement, revoked_at) ON tide.devices TO %s', role);
	EXECUTE format('GRANT UPDATE, DELETE ON tide.key_backups TO %s', role);
	PERFORM tide.allow_writes('tide.devices'), tide.allow_writes('tide.key_grants'),
		tide.allow_writes('tide.key_backups');
	IF NOT EXISTS (SELECT FROM tide.shapes s WHERE s.name = 'tide_keys') THEN
		PERFORM tide.create_shape('tide_keys', '{"table": "tide.devices", "where": "subject = claims.sub",
			"include": {"grants": {"table": "tide.key_grants", "on": "grants.device_id = parent.device_id AND parent.revoked_at IS NULL"},
				"backup": {"table": "tide.key_backups", "on": "backup.device_id = parent.device_id"}}}');
	END IF;
END;
$$;
COMMENT ON FUNCTION tide.enable_encryption(regrole) IS
	'lets a role''s clients register devices and exchange keys: rights, tide.allow_writes and shape tide_keys';
REVOKE ALL ON FUNCTION tide.enable_encryption(regrole) FROM PUBLIC;

CREATE FUNCTION tide.require_signatures("table" regclass, required boolean DEFAULT true) RETURNS void
LANGUAGE sql STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	DELETE FROM tide_internal.signed_tables t
	WHERE t.relid = $1::oid OR NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.relid);
	INSERT INTO tide_internal.signed_tables (relid) SELECT $1 WHERE $2;
END;
COMMENT ON FUNCTION tide.require_signatures(regclass, boolean) IS
	'has pushes to a table refused unless a registered device of the user has signed them';
REVOKE ALL ON FUNCTION tide.require_signatures(regclass, boolean) FROM PUBLIC;

CREATE VIEW tide.keys_to_rotate WITH (security_barrier) AS
SELECT g.scope, g.generation, g.device_id, d.subject, d.revoked_at
FROM tide.key_grants g
JOIN tide.devices d USING (device_id)
WHERE d.revoked_at IS NOT NULL
	AND g.generation = (SELECT pg_catalog.max(n.generation) FROM tide.key_grants n WHERE n.scope = g.scope);
COMMENT ON VIEW tide.keys_to_rotate IS 'scopes whose newest key a revoked device holds';

CREATE VIEW tide.encrypted_columns WITH (security_barrier) AS
SELECT s.name AS shape, pg_catalog.format('%I.%I', n.nspname, c.relname) AS "table", a.attname::text AS "column",
	pg_catalog.format_type(a.atttypid, NULL) AS type
FROM tide_internal.encrypted_columns e
JOIN tide_internal.shapes s ON s.shape_id = e.shape_id AND s.state <> 'dropped'
JOIN pg_catalog.pg_class c ON c.oid = e.relid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = e.relid AND a.attnum = e.attnum AND NOT a.attisdropped;
COMMENT ON VIEW tide.encrypted_columns IS 'columns that shapes declare to hold envelopes only';

-- ---------- for clients that are PostgreSQL ----------

CREATE FUNCTION tide.make_device(device_id uuid, subject text, secret bytea, name text DEFAULT NULL) RETURNS tide.devices
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT device_id, subject, name, k.box_key, k.sign_key,
		tide.sign(tide.device_message(device_id, subject, k.box_key, k.sign_key), secret),
		NULL::uuid, NULL::bytea, pg_catalog.now(), NULL::timestamptz
	FROM tide.device_keys(secret) k;
END;
COMMENT ON FUNCTION tide.make_device(uuid, text, bytea, text) IS 'the row of tide.devices for a device secret';
REVOKE ALL ON FUNCTION tide.make_device(uuid, text, bytea, text) FROM PUBLIC;

CREATE FUNCTION tide.make_grant(data_key bytea, scope text, generation int, device_id uuid, box_key bytea, granted_by uuid, secret bytea)
RETURNS tide.key_grants
LANGUAGE sql VOLATILE STRICT
BEGIN ATOMIC
	SELECT tide.data_key_id(data_key), device_id, scope, generation, s.sealed, granted_by,
		(tide.device_keys(secret)).sign_key,
		tide.sign(tide.grant_message(tide.data_key_id(data_key), scope, generation, device_id, box_key,
			s.sealed, granted_by), secret), pg_catalog.now()
	FROM (SELECT tide.seal(data_key, box_key) AS sealed OFFSET 0) s;
END;
COMMENT ON FUNCTION tide.make_grant(bytea, text, int, uuid, bytea, uuid, bytea) IS
	'the row of tide.key_grants that gives a data key to a device; secret is that of the device granted_by';
REVOKE ALL ON FUNCTION tide.make_grant(bytea, text, int, uuid, bytea, uuid, bytea) FROM PUBLIC;

CREATE FUNCTION tide.open_grant(key_grant tide.key_grants, secret bytea, sign_key bytea) RETURNS bytea
LANGUAGE sql VOLATILE STRICT
BEGIN ATOMIC
	SELECT k.data_key
	FROM (SELECT tide.unseal((key_grant).sealed, secret) AS data_key) k
	WHERE tide.verify(tide.grant_message((key_grant).key_id, (key_grant).scope, (key_grant).generation,
			(key_grant).device_id, (tide.device_keys(secret)).box_key, (key_grant).sealed,
			(key_grant).granted_by), (key_grant).signature, sign_key)
		AND tide.data_key_id(k.data_key) = (key_grant).key_id;
END;
COMMENT ON FUNCTION tide.open_grant(tide.key_grants, bytea, bytea) IS
	'the data key of a grant for this device, NULL unless the device of sign_key has signed it';
REVOKE ALL ON FUNCTION tide.open_grant(tide.key_grants, bytea, bytea) FROM PUBLIC;
