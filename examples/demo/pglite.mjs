// PGlite as a shell: statements on standard input, up to a line that is only "\g";
// rows of the last statement on standard output, one a line, then a line with "ok"
// or "error <message>". Knows nothing about sync.
import { createInterface } from 'node:readline';
import { PGlite } from '@electric-sql/pglite';

const db = await PGlite.create();
let text = [];
for await (const line of createInterface({ input: process.stdin })) {
  if (line !== '\\g') {
    text.push(line);
    continue;
  }
  try {
    const result = (await db.exec(text.join('\n'))).at(-1);
    for (const row of result?.rows ?? []) console.log(Object.values(row).map((v) => v ?? '').join('|'));
    console.log('ok');
  } catch (error) {
    await db.exec('ROLLBACK');
    console.log(`error ${error.message.replaceAll('\n', ' ')}`);
  }
  text = [];
}
