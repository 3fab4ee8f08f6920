-- The output plugin reads shapes under a historic snapshot, which sees only
-- catalogs and tables marked so. Storage main keeps what it reads out of TOAST tables,
-- which the mark does not cover.
ALTER TABLE tide_internal.sources SET (user_catalog_table = true);
ALTER TABLE tide_internal.shapes SET (user_catalog_table = true);
ALTER TABLE tide_internal.shape_nodes SET (user_catalog_table = true);
ALTER TABLE tide_internal.shapes ALTER definition SET STORAGE main;
ALTER TABLE tide_internal.shape_nodes
	ALTER filter SET STORAGE main,
	ALTER keys SET STORAGE main,
	ALTER key_args SET STORAGE main;
