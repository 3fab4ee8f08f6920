// Drives the tracker as its users would: two devices (anna with two tabs, ben), each with a
// database in the browser; off line, on line, refused. What they show is compared with the
// server. Prints TAP; the server is where PG* say.
// usage: node browser.mjs scratch-folder
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { build } from 'vite';
import { serve } from '../../examples/tracker/serve.mjs';

const [scratch] = process.argv.slice(2);
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
  for (const end = Date.now() + 20_000; Date.now() < end;) {
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
writeFileSync(join(scratch, 'client.json'), psql(`\\i ${join(tracker, 'client.sql')}`));
await build({ configFile: join(tracker, 'vite.config.mjs'), build: { outDir: join(scratch, 'dist') } });
const { address } = await serve({ folder: join(scratch, 'dist'), client: join(scratch, 'client.json'), connection: { user: 'hop' } });
mkdirSync(join(scratch, 'home'), { recursive: true });
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'], env: { ...process.env, HOME: join(scratch, 'home') } });

const problems = [];
async function device(name) {
  const context = await browser.newContext({ viewport: { width: 900, height: 560 }, locale: 'en-GB', timezoneId: 'UTC' });
  context.setDefaultTimeout(30_000);
  context.on('weberror', (error) => problems.push(`${name}: ${error.error().stack}`));
  context.on('console', (message) => { if (message.type() === 'error' && !/ERR_INTERNET_DISCONNECTED/.test(message.text())) problems.push(`${name}: ${message.text()}`); });
  return context;
}
async function openTab(context) {
  const page = await context.newPage();
  await page.goto(address);
  await page.waitForSelector('body[data-ready]', { timeout: 60_000 });
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
let [annaTab, benTab] = await Promise.all([openTab(anna), openTab(ben)]);
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
await inSync('on line', [annaTab, second, benTab]);

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
await until('and sees them', async () => (await titles(annaTab)).includes('Buy rope, 40 m · 2'), true);
await until('in her other tab, too', async () => (await titles(second)).includes('Buy rope, 40 m · 2'), true);
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
const keeps = async () => [await badge(annaTab), await pending(annaTab), (await titles(annaTab)).includes('Buy rope, 40 m · 3')];
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
  'Buy rope, 40 m|30 m, 12 mm, and a spare. Ask for a discount.|doing|4', 'the columns of three writers are together');

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
is(problems, [], 'no error in any page');

await browser.close();
console.log(`# seconds: ${Math.round((Date.now() - started) / 1000)}`);
console.log(`1..${count}`);
process.exit(failed === 0 ? 0 : 1);
