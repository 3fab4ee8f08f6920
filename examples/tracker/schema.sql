-- The tracker's own tables: an ordinary application.
CREATE TABLE issues (
	id        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	title     text NOT NULL CHECK (title <> ''),
	body      text NOT NULL DEFAULT '',
	status    text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'doing', 'done')),
	created   timestamptz NOT NULL DEFAULT now(),
	-- encrypted by the browsers that write it; that there is something anybody may know, or none could show a lock
	confidential    text,
	is_confidential boolean GENERATED ALWAYS AS (confidential IS NOT NULL) STORED
);
CREATE TABLE comments (
	id        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	issue_id  uuid NOT NULL REFERENCES issues ON DELETE CASCADE,
	author    text NOT NULL DEFAULT '',
	body      text NOT NULL,
	created   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON comments (issue_id);

-- a rule only the server can keep: who is offline may not know yet that an issue is done
CREATE FUNCTION refuse_comment() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
	IF (SELECT status FROM public.issues WHERE id = NEW.issue_id FOR KEY SHARE) = 'done' THEN
		RAISE check_violation USING MESSAGE = 'the issue is done: no more comments';
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER refuse_comment BEFORE INSERT ON comments FOR EACH ROW EXECUTE FUNCTION refuse_comment();

-- who has written a comment is who its token says, whatever the browser says
CREATE FUNCTION sign_comment() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	NEW.author := coalesce(tide.claim('sub'), '');
	RETURN NEW;
END
$$;
CREATE TRIGGER sign_comment BEFORE INSERT ON comments FOR EACH ROW EXECUTE FUNCTION sign_comment();

INSERT INTO issues (title, body, status, created)
SELECT title, body, status, now() - n * interval '1 hour'
FROM (VALUES
	(1, 'Paint the boat', 'Two coats. The blue one.', 'doing'),
	(2, 'Buy rope', '30 m, 12 mm, and a spare.', 'open'),
	(3, 'Charts of the tide', 'Last year''s are out of date.', 'open'),
	(4, 'Fix the bilge pump', 'It runs, but pumps nothing.', 'done')) AS v (n, title, body, status);

-- what a browser has: every issue with its comments
SELECT tide.create_shape('board', '{"table": "issues", "encrypted": ["confidential"], "include": {"comments": {"table": "comments"}}}');
SELECT tide.allow_writes('issues'), tide.allow_writes('comments');

-- whom the hop is: it may pull, push and wait, and what pushes write
CREATE ROLE hop LOGIN;
GRANT USAGE ON SCHEMA tide TO hop;
GRANT SELECT, INSERT, UPDATE, DELETE ON issues, comments TO hop;
GRANT EXECUTE ON FUNCTION tide.claim TO hop;

-- users' keys: rights and shape tide_keys, and for all to see whose devices there are and who has a key
SELECT tide.enable_encryption('hop');
SELECT tide.create_shape('people', '{"table": "tide.devices", "include": {"grants": {"table": "tide.key_grants", "on": "grants.device_id = parent.device_id AND parent.revoked_at IS NULL"}}}');
