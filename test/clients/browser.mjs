// Drives the tracker as its users would: three devices (anna's two, one with two tabs, and ben's),
// each with a database in the browser; off line, on line, refused, without a server; with fields
// that only who has the key can read. What they show is compared with the server. Prints TAP;
// writes what the server must not have to a file, one a line. The server is where PG* say.
// usage: node browser.mjs scratch-folder secrets-file
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { build } from 'vite';
import { serve } from '../../examples/tracker/serve.mjs';

const [scratch, secretsFile] = process.argv.slice(2);
const tracker = join(dirname(fileURLToPath(import.meta.url)), '../../examples/tracker');
const pictures = process.env.TIDE_SCREENSHOTS;
const started = Date.now();

let count = 0;
let failed = 0;
function ok(good, name, detail = '') {
  count += 1;
  if (!good) failed += 1;
  console.log(`${good ? 'ok' : 'not ok'} ${count} - ${name}`);
  if (!good) console.log(detail.replace(/^/gm, '# '));
}
function is(actual, expected, name) {
  const [a, e] = [actual, expected].map((v) => JSON.stringify(v, null, 1));
  ok(a === e, name, `${a}\ninstead of\n${e}`);
}
async function until(name, actual, expected) {
  let last;
  for (const end = Date.now() + 60_000; Date.now() < end;) {
    last = await actual();
    if (JSON.stringify(last) === JSON.stringify(expected)) break;
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  is(last, expected, name);
}
function psql(text) {
  const run = spawnSync('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1'], { input: text, encoding: 'utf8' });
  if (run.status !== 0) throw new Error(run.stderr);
  return run.stdout.trim();
}
const picture = async (page, name) => pictures && page.screenshot({ path: join(pictures, `${name}.png`) });

// ---- the page, its server, two browsers ----
const writeClient = () => writeFileSync(join(scratch, 'client.json'), psql(`\\i ${join(tracker, 'client.sql')}`));
writeClient();
await build({ configFile: join(tracker, 'vite.config.mjs'), build: { outDir: join(scratch, 'dist') } });
const secret = randomBytes(32);
psql(`SELECT tide.add_jwt_key('tracker', 'HS256', decode('${secret.toString('hex')}', 'hex'))`);
const serveAt = (port) => serve({ folder: join(scratch, 'dist'), client: join(scratch, 'client.json'), secret, port, connection: { user: 'hop' } });
let site = await serveAt(0);
const { address } = site;
mkdirSync(join(scratch, 'home'), { recursive: true });
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'], env: { ...process.env, HOME: join(scratch, 'home') } });

const problems = [];
let expectedErrors = /ERR_INTERNET_DISCONNECTED/;
async function device(name) {
  const context = await browser.newContext({ viewport: { width: 900, height: 560 }, locale: 'en-GB', timezoneId: 'UTC' });
  context.setDefaultTimeout(120_000);
  context.on('weberror', (error) => problems.push(`${name}: ${error.error().stack}`));
  context.on('console', (message) => { if (message.type() === 'error' && !expectedErrors.test(message.text())) problems.push(`${name}: ${message.text()}`); });
  return context;
}
async function openTab(context, name) {
  const page = await context.newPage();
  await page.goto(address);
  await page.waitForSelector('#signin[open], body[data-ready]');
  if (await page.locator('#signin').isVisible()) {
    await page.locator('#signin input').fill(name);
    await page.locator('#signin button').click();
  }
  await page.waitForSelector('body[data-ready]');
  return page;
}

const texts = (page, selector) => page.locator(selector).allTextContents();
const titles = (page) => texts(page, '#issues li > span:first-child');
const badge = (page) => page.locator('#badge').textContent();
const pending = async (page) => (await page.locator('#pending').isVisible() ? page.locator('#pending').textContent() : '');
const choose = (page, title) => page.locator('#issues li', { hasText: title }).click();
async function change(page, field, value) {
  await page.locator(field).fill(value);
  await page.locator(field).press('Tab');
}
async function comment(page, text) {
  await page.locator('#comment input').fill(text);
  await page.locator('#comment button').click();
}
const everything = `SELECT json_agg(json_build_array(i.id, i.title, i.body, i.status, i.created AT TIME ZONE 'UTC',
    (SELECT json_agg(json_build_array(c.id, c.author, c.body, c.created AT TIME ZONE 'UTC') ORDER BY c.id) FROM comments AS c WHERE c.issue_id = i.id)) ORDER BY i.id)::text AS all FROM issues AS i`;
const held = (page) => page.evaluate(async (query) => (await globalThis.tracker.query(query)).rows[0].all, everything);

async function inSync(name, pages) {
  const quiet = async () => Promise.all(pages.map(async (page) => `${await badge(page)}${await pending(page)}`));
  await until(`${name}: all are synced, nothing is left to send`, quiet, pages.map(() => 'synced'));
  await until(`${name}: every browser has what the server has`, async () => {
    const expected = psql(everything);
    return Promise.all(pages.map(async (page) => (await held(page) === expected)));
  }, pages.map(() => true));
}

const anna = await device('anna');
const ben = await device('ben');
let [annaTab, benTab] = await Promise.all([openTab(anna, 'anna'), openTab(ben, 'ben')]);
await inSync('first sync', [annaTab, benTab]);
const second = await openTab(anna);
await until('a second tab shows the same', () => titles(second), await titles(annaTab));

// ---- on line: live between tabs and devices ----
await annaTab.locator('#new input').fill('Sails <b>dry</b>');
await annaTab.locator('#new button').click();
for (const [who, page] of [['the other tab', second], ['the other device', benTab]]) {
  await until(`a new issue appears in ${who}`, async () => (await titles(page)).includes('Sails <b>dry</b>'), true);
}
await choose(annaTab, 'Buy rope');
await choose(second, 'Buy rope');
await choose(benTab, 'Buy rope');
await comment(second, 'Blue or white?');
await until('a comment of the other tab appears', async () => (await texts(annaTab, '#comments li')).some((t) => t.endsWith('Blue or white?')), true);
await until('and on the other device', async () => (await texts(benTab, '#comments li')).some((t) => t.endsWith('Blue or white?')), true);
const who = (page, text) => page.locator('#comments li', { hasText: text }).locator('small').textContent();
await until('with whom it is from', async () => (await who(benTab, 'Blue or white?')).startsWith('anna, '), true);
const locks = () => annaTab.evaluate(async () => {
  const { held: has, pending: wants } = await navigator.locks.query();
  return [has, wants].map((list) => list.filter(({ name }) => name.endsWith('-sync')).length);
});
await until('of two tabs one syncs, and one waits to take over', locks, [1, 1]);
await Promise.all([comment(annaTab, 'From one tab.'), comment(second, 'From the other.')]);
await until('what two tabs write at once is kept', async () => (await texts(benTab, '#comments li')).filter((t) => /From (one tab|the other)\.$/.test(t)).length, 2);
await inSync('on line', [annaTab, second, benTab]);

// ---- confidential fields ----
const remember = (text) => { appendFileSync(secretsFile, `${text}\n`); return text; };
const passphrases = { anna: remember('anna: a rope of nine knots'), ben: remember('ben: low water at noon') };
const field = async (page) => [await page.locator('#confidential').inputValue(), await page.locator('#confidential').isDisabled()];
const mark = async (page) => page.locator('#issues li', { hasText: 'Fix the bilge' }).locator('.lock').evaluateAll((all) => all.map((e) => e.title));
const keysState = (page) => page.locator('#keys').textContent();
async function enter(page, passphrase) {
  if (!await page.locator('#vault').isVisible()) await page.locator('#keys').click();
  await page.locator('#passphrase input').fill(passphrase);
  await page.locator('#passphrase button').click();
}
const closeVault = (page) => page.locator('#vault').getByRole('button', { name: 'Close' }).click();
const print = (page, name) => page.locator('#devices li', { hasText: name }).locator('code').textContent();

for (const page of [annaTab, second, benTab]) await choose(page, 'Fix the bilge');
is(await field(annaTab), ['', true], 'without a key nothing confidential can be written');
await enter(annaTab, passphrases.anna);
await until('the first to choose a passphrase has the key', () => keysState(annaTab), 'unlocked');
await closeVault(annaTab);
const hidden = [remember('The spare key is under the mat.'), remember('The mat is gone.'), remember('Ask the harbour master.')];
await change(annaTab, '#confidential', hidden[0]);
await until('the other tab has it, too', () => Promise.all([keysState(second), field(second)]), ['unlocked', [hidden[0], false]]);
await until('the server has nothing but ciphertext', () => psql(`SELECT tide.is_envelope(confidential) FROM issues WHERE confidential IS NOT NULL`), 't');
await until('who has no key sees that it is locked', () => Promise.all([mark(benTab), field(benTab), keysState(benTab)]), [['locked'], ['', true], 'locked']);
await picture(benTab, 'tracker-locked');

const laptop = await device('laptop');
const laptopTab = await openTab(laptop, 'anna');
await choose(laptopTab, 'Fix the bilge');
await until('locked on another device of hers, too', () => Promise.all([mark(laptopTab), field(laptopTab)]), [['locked'], ['', true]]);
await enter(laptopTab, passphrases.ben);
await until('a wrong passphrase is told', () => laptopTab.locator('#vault-problem').textContent(), 'could not open the backup: the passphrase is wrong, or the backup is damaged');
is([await keysState(laptopTab), await field(laptopTab)], ['locked', ['', true]], 'and opens nothing');
await picture(laptopTab, 'tracker-passphrase');
await enter(laptopTab, passphrases.anna);
await until('the right one opens it', () => Promise.all([keysState(laptopTab), field(laptopTab), mark(laptopTab)]), ['unlocked', [hidden[0], false], ['unlocked']]);
await closeVault(laptopTab);
await change(laptopTab, '#confidential', hidden[1]);
await until('and writes for the others', () => field(annaTab), [hidden[1], false]);

await enter(benTab, passphrases.ben);
await until('another user waits for the key', () => Promise.all([keysState(benTab), field(benTab)]), ['no key yet', ['', true]]);
await annaTab.locator('#keys').click();
await until('who has it is shown his device', async () => (await texts(annaTab, '#devices li strong')).includes('ben'), true);
is(await print(annaTab, 'ben'), await print(benTab, 'this browser'), 'with the digits that his browser shows');
await picture(annaTab, 'tracker-share');
await annaTab.locator('.share').click();
await until('a key that is shared waits for him to trust its giver', () => Promise.all([benTab.locator('.trust').count(), keysState(benTab)]), [1, 'no key yet']);
is(await print(benTab, 'anna'), await print(annaTab, 'this browser'), 'whose digits he compares');
await benTab.locator('.trust').click();
await until('then he reads', () => Promise.all([keysState(benTab), field(benTab), mark(benTab)]), ['unlocked', [hidden[1], false], ['unlocked']]);
await closeVault(benTab);
await until('and who shared it sees that he has it', () => annaTab.locator('.share').count(), 0);
await closeVault(annaTab);
await change(benTab, '#confidential', hidden[2]);
await until('and writes', () => Promise.all([annaTab, second, laptopTab].map(field)), [[hidden[2], false], [hidden[2], false], [hidden[2], false]]);
await laptopTab.reload();
await laptopTab.waitForSelector('body[data-ready]');
await choose(laptopTab, 'Fix the bilge');
await until('loaded again it is open still', () => Promise.all([keysState(laptopTab), field(laptopTab)]), ['unlocked', [hidden[2], false]]);
await inSync('with confidential fields', [annaTab, second, laptopTab, benTab]);
laptopTab.once('dialog', (box) => box.accept());
await laptopTab.locator('#signout').click();
await laptopTab.waitForSelector('#signin[open]');
await until('who signs out leaves neither keys nor rows', () => laptopTab.evaluate(async () => {
  const names = Object.keys(localStorage).filter((name) => name.startsWith('tracker.'));
  for await (const name of (await navigator.storage.getDirectory()).keys()) names.push(name);
  return names.filter((name) => name.startsWith('tracker'));
}), []);
await laptopTab.locator('#signin input').fill('carla');
await laptopTab.locator('#signin button').click();
await laptopTab.waitForSelector('body[data-ready]');
await until('nor anything for the next user to read', () => Promise.all([mark(laptopTab), keysState(laptopTab)]), [['locked'], 'locked']);
await laptop.close();
for (const page of [annaTab, second, benTab]) await choose(page, 'Buy rope');

// ---- off line: anna by her switch, ben's line is cut ----
await annaTab.locator('#offline').check();
await ben.setOffline(true);
await until('anna is off line, in both tabs', async () => [await badge(annaTab), await badge(second)], ['offline', 'offline']);
await until('ben is off line', () => badge(benTab), 'offline');
await change(annaTab, '#title', 'Buy rope, 40 m');
await comment(annaTab, 'White.');
await choose(annaTab, 'Charts');
await comment(annaTab, 'The harbour has new ones.');
await until('anna has three writes to send', () => pending(annaTab), '3 to send');
await until('and sees them', async () => (await titles(annaTab)).includes('Buy rope, 40 m · 4'), true);
await until('in her other tab, too', async () => (await titles(second)).includes('Buy rope, 40 m · 4'), true);
await benTab.locator('#status').selectOption('doing');
await comment(benTab, 'Whatever there is.');
await choose(benTab, 'Charts');
await benTab.locator('#status').selectOption('done');
await choose(benTab, 'Paint');
await benTab.locator('#delete').click();
await until('ben has four writes to send', () => pending(benTab), '4 to send');
psql(`UPDATE issues SET body = body || ' Ask for a discount.' WHERE title = 'Buy rope'`);
await picture(annaTab, 'tracker-offline');

// the tab that held database and loop goes, the other one takes over; then it is loaded anew
await annaTab.close();
annaTab = second;
await comment(annaTab, 'A light one.');
const keeps = async () => [await badge(annaTab), await pending(annaTab), (await titles(annaTab)).includes('Buy rope, 40 m · 5')];
await until('the other tab takes over', keeps, ['offline', '4 to send', true]);
await annaTab.reload();
await annaTab.waitForSelector('body[data-ready]');
await until('what was written off line is there when the page is loaded again', keeps, ['offline', '4 to send', true]);

// ---- ben first, so anna's comment comes too late ----
await ben.setOffline(false);
await inSync('ben is back', [benTab]);
await annaTab.locator('#offline').uncheck();
await until('one of anna\'s writes is refused', () => annaTab.locator('#refused').textContent(), '1 refused');
await inSync('anna is back', [annaTab, benTab]);
is(psql(`SELECT title, body, status, (SELECT count(*) FROM comments WHERE issue_id = i.id) FROM issues AS i WHERE title LIKE 'Buy rope%'`),
  'Buy rope, 40 m|30 m, 12 mm, and a spare. Ask for a discount.|doing|6', 'the columns of three writers are together');

// ---- the dialog ----
await annaTab.locator('#refused').click();
ok((await texts(annaTab, '#rejections li'))[0]?.includes('the issue is done: no more comments'), 'the dialog says why');
await picture(annaTab, 'tracker-refused');
await annaTab.locator('.retry').click();
await until('tried again, it is refused again', () => psql(`SELECT count(*) FROM tide.mutation_log WHERE status = 'rejected'`), '2');
await until('and told', async () => [await annaTab.locator('#refused').isVisible(), await pending(annaTab)], [true, '']);
psql(`UPDATE issues SET status = 'open' WHERE title LIKE 'Charts%'`);
if (!await annaTab.locator('#dialog').isVisible()) await annaTab.locator('#refused').click();
await annaTab.locator('.retry').click();
await until('tried once more, it is taken', () => psql(`SELECT body FROM comments WHERE body LIKE 'The harbour%'`), 'The harbour has new ones.');
await until('and nothing is refused any more', () => annaTab.locator('#refused').isVisible(), false);
await choose(annaTab, 'Charts');
await change(annaTab, '#title', '');
await until('a title that is empty is refused', () => annaTab.locator('#refused').isVisible(), true);
await until('and undone', async () => (await titles(annaTab)).some((t) => t.startsWith('Charts of the tide')), true);
await annaTab.locator('#refused').click();
await annaTab.locator('.discard').click();
await until('discarded', () => annaTab.locator('#refused').isVisible(), false);
await inSync('at the end', [annaTab, benTab]);

// ---- no server at all ----
await until('the page is kept by its service worker', () => annaTab.evaluate(async () => {
  await navigator.serviceWorker.ready;
  return navigator.serviceWorker.controller !== null;
}), true);
expectedErrors = /ERR_INTERNET_DISCONNECTED|ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_SOCKET_NOT_CONNECTED/;
const { port } = site.server.address();
site.server.close();
site.server.closeAllConnections();
await annaTab.reload();
await annaTab.waitForSelector('body[data-ready]');
const third = await openTab(anna);
await until('without a server the page loads, with what it had', async () => [await titles(third), await titles(annaTab)], [await titles(benTab), await titles(benTab)]);
await choose(annaTab, 'Charts');
await change(annaTab, '#body', 'Bought.');
await choose(third, 'Fix the bilge');
await until('confidential fields are open', () => field(third), [hidden[2], false]);
await change(third, '#confidential', remember('There is nobody to ask.'));
await until('both writes wait', () => Promise.all([badge(annaTab), pending(annaTab), pending(third)]), ['error', '2 to send', '2 to send']);
site = await serveAt(port);
await inSync('when the server is back', [annaTab, third, benTab]);
await choose(benTab, 'Fix the bilge');
await until('the confidential one is read by the other user', () => field(benTab), ['There is nobody to ask.', false]);

// ---- the server's tables change ----
await annaTab.locator('#offline').check();
await change(annaTab, '#body', 'Bought and paid.');
await until('a write waits', () => pending(annaTab), '1 to send');
psql(`ALTER TABLE issues ADD COLUMN due date DEFAULT '2026-12-24'`);
await until('the script for clients has a new column', () => psql(`SELECT tide.client_schema('{board}', 'postgres') LIKE '%"due" date%'`), 't');
writeClient();
await annaTab.reload();
await annaTab.waitForSelector('body[data-ready]');
await until('an upgraded browser has the write still', () => Promise.all([badge(annaTab), pending(annaTab)]), ['offline', '1 to send']);
await annaTab.locator('#offline').uncheck();
await inSync('upgraded, or not', [annaTab, third, benTab]);
const due = () => annaTab.evaluate(async () => (await globalThis.tracker.query(`SELECT count(*)::int AS n FROM issues WHERE due = '2026-12-24'`)).rows[0].n);
await until('and the new column', due, Number(psql('SELECT count(*) FROM issues')));
is(problems, [], 'no error in any page');

await browser.close();
console.log(`# seconds: ${Math.round((Date.now() - started) / 1000)}`);
console.log(`1..${count}`);
process.exit(failed === 0 ? 0 : 1);
