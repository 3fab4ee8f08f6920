// The database itself: PGlite in a worker that all tabs of the browser share.
import { PGlite } from '@electric-sql/pglite';
import { worker } from '@electric-sql/pglite/worker';

worker({ init: ({ dataDir }) => PGlite.create({ dataDir }) });
