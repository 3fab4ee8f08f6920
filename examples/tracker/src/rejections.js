// What the server refused: told, made again, or forgotten; as it was written, one local transaction together.
import { make } from './dom.js';

export async function showRejections({ watch, write }, guard) {
  const button = document.querySelector('#refused');
  const dialog = document.querySelector('#dialog');
  button.addEventListener('click', () => dialog.showModal());
  const act = (name, label, text, first) => make('button', { className: name, onclick: guard(() => write(text, [first])) }, label);
  const together = 'WHERE coalesce(tx, id) = (SELECT coalesce(tx, id) FROM tide_rejected WHERE id = $1)';
  await watch(
    `SELECT min(id) AS first, string_agg(DISTINCT message, '; ') AS message, count(*)::int AS writes,
      string_agg(concat_ws(' ', op, table_name, coalesce(changed, key)), E'\\n' ORDER BY id) AS what
    FROM tide_rejected GROUP BY coalesce(tx, id) ORDER BY 1`, [], (rows) => {
      button.hidden = rows.length === 0;
      button.textContent = `${rows.reduce((n, { writes }) => n + writes, 0)} refused`;
      if (rows.length === 0) dialog.close();
      document.querySelector('#rejections').replaceChildren(...rows.map(({ first, message, what }) => make('li', {},
        make('strong', {}, message),
        make('code', {}, what),
        make('div', {},
          act('retry', 'Try again', `UPDATE tide_rejected SET retry = true ${together}`, first), ' ',
          act('discard', 'Discard', `DELETE FROM tide_rejected ${together}`, first)))));
    });
}
