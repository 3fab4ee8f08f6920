// What the server refused: told, made again, or forgotten.
import { make } from './dom.js';

const quote = (name) => `"${name.replaceAll('"', '""')}"`;

// makes the write again, as a new one
async function retry({ transaction }, id) {
  await transaction(async (tx) => {
    const { rows: [row] } = await tx.query(
      `DELETE FROM tide_rejected WHERE id = $1 RETURNING op, table_name, (key || coalesce(changed, '{}'))::text AS values,
        ARRAY(SELECT jsonb_object_keys(coalesce(changed, '{}'))) AS columns, ARRAY(SELECT jsonb_object_keys(key)) AS keys`, [id]);
    if (row === undefined) return;
    const table = row.table_name.replace(/^public\./, '').split('.').map(quote).join('.');
    const names = [...new Set([...row.keys, ...row.columns])].map(quote);
    const source = `jsonb_populate_record(NULL::${table}, $1::text::jsonb) AS v`;
    const match = row.keys.map((k) => `t.${quote(k)} = v.${quote(k)}`).join(' AND ');
    const changes = row.columns.map((c) => `${quote(c)} = v.${quote(c)}`).join(', ');
    const statements = {
      insert: `INSERT INTO ${table} (${names.join(', ')}) SELECT ${names.map((n) => `v.${n}`).join(', ')} FROM ${source}`,
      update: `UPDATE ${table} AS t SET ${changes} FROM ${source} WHERE ${match}`,
      delete: `DELETE FROM ${table} AS t USING ${source} WHERE ${match}`,
    };
    await tx.query(statements[row.op], [row.values]);
  });
}

const discard = ({ write }, id) => write('DELETE FROM tide_rejected WHERE id = $1', [id]);

export async function showRejections(database, guard) {
  const button = document.querySelector('#refused');
  const dialog = document.querySelector('#dialog');
  button.addEventListener('click', () => dialog.showModal());
  await database.watch(
    `SELECT id, op, table_name, message, coalesce(changed, key)::text AS what FROM tide_rejected ORDER BY id`, [], (rows) => {
      button.hidden = rows.length === 0;
      button.textContent = `${rows.length} refused`;
      if (rows.length === 0) dialog.close();
      document.querySelector('#rejections').replaceChildren(...rows.map((row) => make('li', {},
        make('strong', {}, row.message),
        make('code', {}, `${row.op} ${row.table_name} ${row.what}`),
        make('div', {},
          make('button', { className: 'retry', onclick: guard(() => retry(database, row.id)) }, 'Try again'), ' ',
          make('button', { className: 'discard', onclick: guard(() => discard(database, row.id)) }, 'Discard')))));
    });
}
