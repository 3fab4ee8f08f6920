-- What clients may have: everything of a section, and all maintainers.
SELECT tide.create_shape('packages', '{"table": "packages", "where": "section = params.section"}');
SELECT tide.create_shape('dependencies', '{"table": "dependencies", "where": "section = params.section"}');
SELECT tide.create_shape('maintainers', '{"table": "maintainers"}');

-- clients come in as role app and may write packages, as far as its rights go
CREATE ROLE app LOGIN;
GRANT SELECT, INSERT, DELETE, UPDATE ON packages TO app;
GRANT SELECT ON maintainers, dependencies TO app;
GRANT USAGE ON SCHEMA tide TO app;
SELECT tide.allow_writes('packages');
