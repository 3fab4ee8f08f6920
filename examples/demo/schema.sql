-- The server's own tables: an ordinary application, no trace of sync in them.
CREATE TABLE maintainers (
	id    integer PRIMARY KEY,
	name  text NOT NULL,
	mail  text
);
CREATE TABLE packages (
	name            text PRIMARY KEY,
	section         text NOT NULL,
	version         text NOT NULL,
	maintainer_id   integer REFERENCES maintainers,
	installed_size  bigint,
	description     text,
	homepage        text,
	stars           smallint CHECK (stars BETWEEN 0 AND 5),
	note            text
);
CREATE TABLE dependencies (
	package  text NOT NULL REFERENCES packages ON DELETE CASCADE,
	n        smallint NOT NULL,
	section  text NOT NULL,
	depends_on text NOT NULL,
	clause   text NOT NULL,
	PRIMARY KEY (package, n)
);
