// Two browsers: while one test waits for a run, another uses the processor.
import { defineConfig } from '@playwright/test';

const { CHROMIUM, OUTPUT, PAGES } = process.env;

export default defineConfig({
  testDir: '.',
  outputDir: OUTPUT,
  workers: 2,
  reporter: 'list',
  forbidOnly: true,
  // `PAGES=WORDS cargo test --test pages` runs only tests with these words in their name.
  grep: PAGES ? new RegExp(PAGES) : undefined,
  // Enough for a slow machine on which other tests run.
  timeout: 300_000,
  expect: { timeout: 60_000 },
  use: {
    viewport: { width: 1280, height: 900 },
    timezoneId: 'Europe/Berlin',
    locale: 'en-GB',
    trace: 'off',
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath: CHROMIUM,
      // Chromium's own sandbox does not work as root, and its own requests would be refused on a closed network.
      args: ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync',
        '--host-resolver-rules=MAP box.example 127.0.0.1'],
    },
  },
});
