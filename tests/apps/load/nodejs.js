// Four workers and the main thread; Buffers change hands. Prints digests only.
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const fs = require('fs');
const zlib = require('zlib');

const WORKERS = 4;
const ROUNDS = 40;

function generator(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >> 8) % below;
  };
}

function sha(data) {
  return crypto.createHash('sha256').update(data).digest('hex');
}

function fill(next, size) {
  const buffer = Buffer.allocUnsafe(size);
  for (let i = 0; i < size; i += 16) buffer.fill(97 + next(26), i, Math.min(i + 16, size));
  return buffer;
}

async function work(seed, emit) {
  const next = generator(seed);
  const digest = crypto.createHash('sha256');
  const kept = new Map();
  for (let round = 0; round < ROUNDS; round++) {
    const parts = [];
    for (let i = 0; i < 150; i++) parts.push(fill(next, 1 + next(i % 10 ? 2000 : 60000)));
    const whole = Buffer.concat(parts);
    const packed = await Promise.all([
      new Promise((ok, no) => zlib.deflate(whole, { level: 6 }, (e, r) => (e ? no(e) : ok(r)))),
      new Promise((ok, no) => zlib.gzip(whole, { level: 1 }, (e, r) => (e ? no(e) : ok(r)))),
    ]);
    if (!zlib.inflateSync(packed[0]).equals(whole) || !zlib.gunzipSync(packed[1]).equals(whole)) {
      throw new Error(`round ${round} does not inflate to what was deflated`);
    }
    digest.update(packed[0]);
    const zeroes = Buffer.alloc(1 + next(200000));
    if (zeroes.some((byte) => byte !== 0)) throw new Error('Buffer.alloc is not zero');
    const text = whole.toString('latin1').replace(/([a-z])\1+/g, (run, c) => c + run.length);
    digest.update(text);
    const sorted = text.match(/[a-z]\d+/g).sort();
    digest.update(sorted.join(','));
    digest.update(JSON.stringify(JSON.parse(JSON.stringify({ round, sorted }))));
    kept.set(round % 8, { whole, packed, sorted });
    emit(whole.subarray(0, 100000));
  }
  return digest.digest('hex');
}

async function main() {
  fs.writeFileSync(process.argv[2], fs.readFileSync('/proc/self/maps'));
  const results = Array.from({ length: WORKERS }, (_, i) => new Promise((ok, no) => {
    const worker = new Worker(__filename, { workerData: { seed: 100 + i } });
    const received = crypto.createHash('sha256');
    worker.on('message', (message) => {
      if (message.done) ok(`${message.done} ${received.digest('hex')}`);
      else received.update(Buffer.from(message.bytes));
    });
    worker.on('error', no);
  }));
  const own = await work(1, () => {});
  for (const line of await Promise.all(results)) console.log(line);
  console.log(own);
  // Workers that come and go.
  for (let i = 0; i < 10; i++) {
    await new Promise((ok, no) => {
      const source = `require('worker_threads').parentPort.postMessage(Buffer.alloc(50000, ${i}))`;
      const worker = new Worker(source, { eval: true });
      worker.on('message', (bytes) => console.log(sha(bytes)));
      worker.on('error', no);
      worker.on('exit', ok);
    });
  }
}

if (isMainThread) {
  main();
} else {
  work(workerData.seed, (part) => {
    // The block itself is handed over; the main thread frees it.
    const bytes = new Uint8Array(part).buffer;
    parentPort.postMessage({ bytes }, [bytes]);
  }).then((done) => parentPort.postMessage({ done }));
}
