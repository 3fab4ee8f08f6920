// The page: every list and field is a query that is asked again on changes of the local database, every change a statement.
import { openDatabase } from './database.js';
import { make } from './dom.js';
import { showRejections } from './rejections.js';

const $ = (selector) => document.querySelector(selector);

function showError(error) {
  $('#error').textContent = error.message;
  $('#error').hidden = false;
  setTimeout(() => { $('#error').hidden = true; }, 5000);
}
const guard = (call) => async (event) => {
  event?.preventDefault();
  try {
    await call(event);
  } catch (error) {
    showError(error);
  }
};
// fields that the user is in are his
const show = (element, value) => { if (document.activeElement !== element && element.value !== value) element.value = value; };

const database = await openDatabase();
const { watch, write } = database;

// ---- how sync stands ----

let status = null;
function showStatus() {
  if (status === null) return;
  const state = database.isOffline() ? 'offline' : status.state;
  const more = Number(status.remaining) > 0 ? `, ${status.remaining} to come` : '';
  $('#badge').dataset.state = state;
  $('#badge').textContent = state + (state === 'syncing' ? more : '');
  $('#badge').title = status.last_error ?? (status.last_sync === null ? '' : `last sync ${status.last_sync.toLocaleTimeString()}`);
  $('#pending').hidden = Number(status.pending) === 0;
  $('#pending').textContent = `${status.pending} to send`;
}
await watch('SELECT state, pending, remaining, last_error, last_sync FROM tide_status', [], ([row]) => {
  status = row;
  showStatus();
});
database.onLine(showStatus);
$('#offline').checked = localStorage.getItem('tracker.offline') !== null;
$('#offline').addEventListener('change', ({ target }) => database.setOffline(target.checked));
addEventListener('storage', () => { $('#offline').checked = localStorage.getItem('tracker.offline') !== null; });
await showRejections(database, guard);

// ---- the list ----

let issues = [];
let wanted = 'all';
let current = null;
let stopComments = null;

function showList() {
  const shown = issues.filter(({ status: s }) => wanted === 'all' || s === wanted);
  $('#issues').replaceChildren(...shown.map((issue) => make('li', { onclick: () => select(issue.id), 'aria-current': issue.id === current },
    make('span', {}, issue.title, issue.comments > 0 ? make('small', {}, ` · ${issue.comments}`) : ''),
    make('span', { className: `status ${issue.status}` }, issue.status))));
}
function showIssue() {
  const issue = issues.find(({ id }) => id === current);
  $('#issue').hidden = issue === undefined;
  if (issue === undefined) return;
  for (const column of ['title', 'body', 'status']) show($(`#${column}`), issue[column] ?? '');
}
async function select(id) {
  document.activeElement?.blur?.(); // what is being edited is of the issue before
  current = id;
  showList();
  showIssue();
  const former = stopComments;
  stopComments = watch('SELECT id, author, body, created FROM comments WHERE issue_id = $1 ORDER BY created, id', [id], (rows) => {
    if (id !== current) return;
    $('#comments').replaceChildren(...rows.map(({ author, body, created }) => make('li', {},
      make('small', {}, `${author}${author ? ', ' : ''}${created === null ? 'just now' : new Date(created).toLocaleString()}`), body ?? '')));
  });
  await (await former)?.();
}
await watch(
  `SELECT i.id, i.title, i.body, i.status, (SELECT count(*) FROM comments AS c WHERE c.issue_id = i.id)::int AS comments
  FROM issues AS i ORDER BY i.created DESC NULLS FIRST, i.id`, [], (rows) => {
    issues = rows;
    showList();
    showIssue();
  });
for (const name of ['all', 'open', 'doing', 'done']) {
  $('#filter').append(make('button', { 'aria-pressed': name === wanted, onclick: ({ target }) => {
    wanted = name;
    for (const button of $('#filter').children) button.ariaPressed = button === target;
    showList();
  } }, name));
}

// ---- changes ----

$('#new').addEventListener('submit', guard(async ({ target }) => {
  const id = crypto.randomUUID();
  await write('INSERT INTO issues (id, title, body, status, created) VALUES ($1, $2, $3, $4, now())', [id, target.title.value, '', 'open']);
  target.reset();
  await select(id);
}));
for (const column of ['title', 'body', 'status']) {
  $(`#${column}`).addEventListener('change', guard(({ target }) => write(`UPDATE issues SET ${column} = $1 WHERE id = $2`, [target.value, current])));
}
$('#delete').addEventListener('click', guard(() => write('DELETE FROM issues WHERE id = $1', [current])));
$('#comment').addEventListener('submit', guard(async ({ target }) => {
  await write('INSERT INTO comments (id, issue_id, author, body, created) VALUES ($1, $2, $3, $4, now())',
    [crypto.randomUUID(), current, '', target.elements.body.value]);
  target.reset();
}));

globalThis.tracker = database;
document.body.dataset.ready = 'yes';
