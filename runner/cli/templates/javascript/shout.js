// Returns a text in capitals, and counts its words.

// With the schemas, the runner finds a typo in a scenario before anything runs.
const inputSchema = {
  type: 'object',
  properties: { text: { type: 'string', description: 'What to shout.' } },
  required: ['text'],
  additionalProperties: false,
};
const configSchema = {
  type: 'object',
  properties: { suffix: { type: 'string', description: 'What to end with.' } },
  additionalProperties: false,
};

export function describe() {
  return {
    name: '{{name}}',
    version: '0.1.0',
    summary: 'Answers a text in capitals, and counts its words',
    configSchema: JSON.stringify(configSchema),
    inputSchema: JSON.stringify(inputSchema),
    requests: [],
  };
}

export function run(test, host) {
  const { text } = JSON.parse(test.input);
  const { suffix = '' } = JSON.parse(test.config);
  const words = text.split(/\s+/).filter(Boolean).length;
  if (words === 0) {
    throw error('invalid-input', 'no-words', '`text` has no words');
  }
  host.log('info', `shouting; words: ${words}`, []);

  return {
    output: JSON.stringify({ shout: text.toUpperCase() + suffix, words }),
    metrics: [{ name: 'words', value: words }],
  };
}

// Creates an error. Its kind decides whether a scenario's `retries` repeat the test.
function error(kind, code, message) {
  return { kind, code, message };
}
