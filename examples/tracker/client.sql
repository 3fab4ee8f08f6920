-- what a browser needs to make its database: a name of its own for each server, and the script
SELECT json_build_object('name', 'tracker-' || (pg_control_system()).system_identifier,
	'schema', tide.client_schema('{board}', 'postgres'));
