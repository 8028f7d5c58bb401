// Chromium and the few libraries it brings, out of the npm package: `node unpack.mjs FOLDER`.
import { createReadStream, createWriteStream, mkdirSync, renameSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createBrotliDecompress } from 'node:zlib';

const folder = process.argv[2];
const code = dirname(createRequire(import.meta.url).resolve('@sparticuz/chromium'));
const packed = join(code, '..', '..', 'bin');
mkdirSync(folder, { recursive: true });
for (const [from, to] of [['al2023.tar.br', 'libraries.tar'], ['chromium.br', 'chromium']]) {
  const unfinished = join(folder, `${to}.unfinished`);
  await pipeline(
    createReadStream(join(packed, from)),
    createBrotliDecompress(),
    createWriteStream(unfinished, { mode: 0o755 }),
  );
  renameSync(unfinished, join(folder, to));
}
