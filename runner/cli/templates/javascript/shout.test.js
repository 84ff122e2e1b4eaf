import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run } from './shout.js';

const host = { log() {} };
const asked = (input, config) => ({ input: JSON.stringify(input), config: JSON.stringify(config) });

test('a text is shouted', () => {
  const reply = run(asked({ text: 'to be' }, { suffix: '!' }), host);
  assert.deepEqual(JSON.parse(reply.output), { shout: 'TO BE!', words: 2 });
});

test('a text without words is refused', () => {
  assert.throws(() => run(asked({ text: ' ' }, {}), host), { kind: 'invalid-input' });
});
