// A server for each test, and a page that fails its test if anything goes wrong on it.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, test as base } from '@playwright/test';

const { ROOT, RUNNER, TEST_PARALLEL_INDEX } = process.env;
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

/** A results root for runs that tests start: two of a root cannot be active at once, so each worker has its own. */
export const LIVE = `live-${TEST_PARALLEL_INDEX}`;

/** Runs the program in the folder of the fixtures, and returns its standard output. Fails only if the code is not expected. */
export async function runner(args, codes = [0]) {
  const ran = await promisify(execFile)(RUNNER, args, { cwd: ROOT }).catch((error) => error);
  const code = ran.code ?? 0;
  if (!codes.includes(code)) throw new Error(`runner ${args.join(' ')}: ${code}\n${ran.stderr}`);
  return ran.stdout;
}

/** Starts a run in the background, and returns its id. */
export async function detach(scenario, ...args) {
  return JSON.parse(await runner(['exec', scenario, '--detach', '--json', ...args])).id;
}

/** Opens the menu of a run, and clicks one of its buttons. */
export async function choose(page, name) {
  await page.locator('summary').filter({ hasText: 'More…' }).click();
  await page.getByRole('button', { name, exact: true }).click();
}

/** Stops the runs in `LIVE`: a test that fails leaves its run. */
export async function stopRuns() {
  const { runs } = JSON.parse(await runner(['list', '--status', 'running', '--json', '--results', LIVE]));
  for (const { run } of runs) await runner(['stop', run, '--kill', '--results', LIVE]);
}

export class Server {
  /** Starts `runner serve`. `port` is 0 for any. */
  static async start(flags, port = 0) {
    const args = ['serve', '--listen', `127.0.0.1:${port}`, ...flags.split(' ').filter(Boolean)];
    const child = spawn(RUNNER, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    const link = await new Promise((found, failed) => {
      const read = (bytes) => {
        printed += bytes;
        const link = printed.match(/http:\/\/\S+(?=\s)/);
        if (link) found(link[0]);
      };
      child.stdout.on('data', read);
      child.stderr.on('data', read);
      child.on('exit', () => failed(new Error(`the server has ended:\n${printed}`)));
    });
    return Object.assign(new Server(), { child, link, port: Number(new URL(link).port), origin: new URL(link).origin });
  }

  async kill() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }
}

/** Collects errors, dialogs and requests to other origins. */
export function watch(page, origin) {
  const wrong = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) wrong.push(`console: ${message.text()} ${message.location().url}`);
  });
  page.on('pageerror', (error) => wrong.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`);
    return dialog.dismiss();
  });
  page.on('request', (request) => {
    if (![origin, 'data:', 'blob:'].some((start) => request.url().startsWith(start))) wrong.push(`request: ${request.url()}`);
  });
  return wrong;
}

/** Checks the page for people who see or hear it in another way, and that it is not wider than its window. */
export async function accessible(page) {
  await expect(page.locator('main:not([aria-busy]) h1')).toBeVisible();
  await page.evaluate(axe);
  // A row that fades in has less contrast until it is there.
  await page.evaluate(() => Promise.allSettled(document.getAnimations()
    .filter((animation) => animation.effect?.getComputedTiming().iterations !== Infinity)
    .map((animation) => animation.finished)));
  const { violations } = await page.evaluate(() => axe.run());
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}: ${nodes[0].failureSummary}`);
  expect(found, page.url()).toEqual([]);
  const [needs, has] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  expect(needs, `pixels that ${page.url()} needs`).toBeLessThanOrEqual(has);
}

export const test = base.extend({
  /** Flags of `runner serve`. */
  flags: ['--results results --scenarios scenarios', { option: true }],
  /** Console messages that the test provokes. */
  allowed: [/^$/, { option: true }],
  server: async ({ flags }, use) => {
    const server = await Server.start(flags);
    await use(server);
    await server.kill();
  },
  page: async ({ page, server, allowed }, use) => {
    const wrong = watch(page, server.origin);
    await page.goto(server.link);
    await expect(page.locator('main h1')).toBeVisible();
    await use(page);
    await accessible(page);
    expect(wrong.filter((message) => !allowed.test(message))).toEqual([]);
  },
});

export { expect };
