// The built binary as a child process.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';

import { eventually } from './eventually.js';

/** The newest build, unless told which. */
function binary() {
  if (process.env.CTI_SERVER) return process.env.CTI_SERVER;
  const builds = ['debug', 'release']
    .map((profile) => fileURLToPath(new URL(`../../../../target/${profile}/cti-server`, import.meta.url)))
    .filter((path) => existsSync(path))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  if (builds.length === 0) throw new Error('there is no binary: run `cargo build`, or set CTI_SERVER');
  return builds[0];
}

export class Process {
  #child;
  #lines = [];

  constructor(args, { cwd, env }) {
    // It inherits nothing but the search path: the settings of whoever runs the tests are not its own.
    const options = { cwd, env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] };
    this.#child = spawn(binary(), args, options);
    for (const pipe of [this.#child.stdout, this.#child.stderr]) {
      createInterface({ input: pipe }).on('line', (line) => this.#lines.push(line));
    }
  }

  /** Waits for a line, and gives what was found in it. */
  async says(pattern) {
    return eventually(`it says ${pattern}`, () => {
      const found = this.#lines.map((line) => pattern.exec(line)).find(Boolean);
      if (!found && this.#child.exitCode !== null) throw new Error(`it ended:\n${this.#lines.join('\n')}`);
      return found;
    });
  }

  /** `kill -9`, and the certainty that it is gone. */
  async kill() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }
}
