// The page: every list and field is a query that is asked again on changes of the local database, every change a statement.
import { openDatabase, removeOthers } from './database.js';
import { make } from './dom.js';
import { overHttp } from '../../sync/loop.mjs';
import { makeKeys } from './keys.js';
import { showRejections } from './rejections.js';
import { forgetToken, session, signIn, signOut, token } from './session.js';
import { showVault } from './vault.js';

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

navigator.serviceWorker?.register('/sw.js').catch(() => {}); // without one the page needs its server to load

// ---- who ----

if (session().user === null) removeOthers();
while (session().user === null) {
  $('#signin').showModal();
  await new Promise((resolve) => { $('#signin').addEventListener('close', resolve, { once: true }); });
  if ($('#signin input').checkValidity()) signIn($('#signin input').value);
}
const { user } = session();
const wire = overHttp('/tide');
const ask = async (kind, request) => wire[kind](`{"token": ${JSON.stringify(await token())}, ${request.slice(1)}`, new AbortController().signal);
const keys = makeKeys(user, ask);
const database = await openDatabase({ token, encryption: keys.encryption, before: keys.before,
  onState: (state, error) => { if (error?.code === '28000') forgetToken(); } });
const { watch, write } = database;
$('#who').textContent = user;
$('#signout').addEventListener('click', () => {
  if (Number(status.pending) === 0 || confirm(`${status.pending} changes are not sent and will be lost. Sign out?`)) signOut();
});

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
let hasKey = false;
let wanted = 'all';
let current = null;
let stopComments = null;

const isLocked = ({ is_confidential, confidential }) => is_confidential && confidential === null;
function lockOf(issue) {
  if (!issue.is_confidential && issue.confidential === null) return '';
  const label = isLocked(issue) ? 'locked' : 'unlocked';
  return make('span', { className: `lock ${label}`, role: 'img', title: label, 'aria-label': label });
}
function showList() {
  const shown = issues.filter(({ status: s }) => wanted === 'all' || s === wanted);
  $('#issues').replaceChildren(...shown.map((issue) => make('li', { onclick: () => select(issue.id), 'aria-current': issue.id === current },
    make('span', {}, issue.title, issue.comments > 0 ? make('small', {}, ` · ${issue.comments}`) : '', lockOf(issue)),
    make('span', { className: `status ${issue.status}` }, issue.status))));
}
function showIssue() {
  const issue = issues.find(({ id }) => id === current);
  $('#issue').hidden = issue === undefined;
  if (issue === undefined) return;
  for (const column of ['title', 'body', 'confidential', 'status']) show($(`#${column}`), issue[column] ?? '');
  $('#confidential').disabled = !hasKey || isLocked(issue);
  $('#confidential').placeholder = $('#confidential').disabled ? 'Locked' : 'Confidential: for those who have the key';
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
  `SELECT i.id, i.title, i.body, i.status, i.confidential, i.is_confidential, (SELECT count(*) FROM comments AS c WHERE c.issue_id = i.id)::int AS comments
  FROM issues AS i ORDER BY i.created DESC NULLS FIRST, i.id`, [], (rows) => {
    issues = rows;
    showList();
    showIssue();
  });
showVault(keys, database.wake, (state) => {
  hasKey = state === 'open';
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
for (const column of ['title', 'body', 'confidential', 'status']) {
  $(`#${column}`).addEventListener('change', guard(({ target }) => write(`UPDATE issues SET ${column} = $1 WHERE id = $2`, [target.value, current])));
}
$('#delete').addEventListener('click', guard(() => write('DELETE FROM issues WHERE id = $1', [current])));
$('#comment').addEventListener('submit', guard(async ({ target }) => {
  await write('INSERT INTO comments (id, issue_id, author, body, created) VALUES ($1, $2, $3, $4, now())',
    [crypto.randomUUID(), current, user, target.elements.body.value]);
  target.reset();
}));

globalThis.tracker = database;
document.body.dataset.ready = 'yes';
