// @ts-check
// The frame of a report.

import { handleKeys } from './base/keys.js';
import { current, show, startRouter } from './base/router.js';
import { open as run } from './pages/run.js';
import { open as trial } from './pages/trial.js';

startRouter([
  [/^\/runs\/([^/]+)$/, async () => run, ''],
  [/^\/runs\/([^/]+)\/trials\/([^/]+)$/, async () => trial, ''],
]);
handleKeys(() => current()?.keys ?? []);
void show(history.state?.kept);
