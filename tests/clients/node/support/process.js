// The built binary as a child process.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';

import { eventually } from './eventually.js';

/** Returns the path of $CTI_SERVER, or of the newest build. */
function binary() {
  if (process.env.CTI_SERVER) return process.env.CTI_SERVER;
  const builds = ['debug', 'release']
    .map((profile) => fileURLToPath(new URL(`../../../../target/${profile}/cti-server`, import.meta.url)))
    .filter((path) => existsSync(path))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  if (builds.length === 0) throw new Error('no binary found: run `cargo build`, or set CTI_SERVER');
  return builds[0];
}

export class Process {
  #child;
  #lines = [];

  constructor(args, { cwd, env }) {
    // Only PATH is inherited, so that settings in the environment of the tests do not apply to the server.
    const options = { cwd, env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] };
    this.#child = spawn(binary(), args, options);
    for (const pipe of [this.#child.stdout, this.#child.stderr]) {
      createInterface({ input: pipe }).on('line', (line) => this.#lines.push(line));
    }
  }

  /** Waits for an output line that matches the pattern, and returns the match. */
  async waitForLine(pattern) {
    return eventually(`a line matches ${pattern}`, () => {
      const found = this.#lines.map((line) => pattern.exec(line)).find(Boolean);
      if (!found && this.#child.exitCode !== null) throw new Error(`the process exited:\n${this.#lines.join('\n')}`);
      return found;
    });
  }

  /** Sends SIGKILL and waits until the process is gone. */
  async kill() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}
