// A live server, and the requests of administrators and of Dialpad.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Process } from './process.js';

const INTERNAL_SECRET = 'internal-secret-of-this-run';
const WEBHOOK_SECRET = 'webhook-secret-of-this-run';

/** The reason to skip tests that restart the server, where it was started by someone else; otherwise false. */
export const skipIfExternal = process.env.CTI_URL ? 'needs a server of its own' : false;

export class Server {
  #process = null;
  #folder = null;
  #settings;

  /** Starts a server on an empty database, or uses the one at $CTI_URL. */
  static async start(settings = {}) {
    const server = new Server();
    if (skipIfExternal) {
      server.url = process.env.CTI_URL.replace(/\/$/, '');
      server.internalSecret = process.env.INTERNAL_API_SECRET;
      server.webhookSecret = process.env.DIALPAD_WEBHOOK_SECRET;
      return server;
    }
    [server.internalSecret, server.webhookSecret] = [INTERNAL_SECRET, WEBHOOK_SECRET];
    server.#folder = await mkdtemp(join(tmpdir(), 'cti-node-'));
    server.#settings = {
      PORT: '0',
      DATABASE_URL: `sqlite://${join(server.#folder, 'cti.db')}`,
      INTERNAL_API_SECRET: INTERNAL_SECRET,
      DIALPAD_WEBHOOK_SECRET: WEBHOOK_SECRET,
      // Tests that count events don't want one that depends on how long they take.
      INTERACTION_SETTLE: '1h',
      ...settings,
    };
    await server.restart();
    return server;
  }

  /** Starts the server again on the same port and database. */
  async restart() {
    this.#process = new Process(['serve'], { cwd: this.#folder, env: this.#settings });
    const [, port] = await this.#process.waitForLine(/listening.*http:\/\/127\.0\.0\.1:(\d+)/);
    this.#settings.PORT = port;
    this.url = `http://127.0.0.1:${port}`;
  }

  async kill() {
    await this.#process.kill();
  }

  async stop() {
    if (skipIfExternal) return;
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** The base address of its WebSockets. */
  get wsUrl() {
    return this.url.replace(/^http/, 'ws');
  }

  /** Sends a request of an administrator. */
  async internal(method, path, body) {
    return fetch(`${this.url}${path}`, {
      method,
      headers: { Authorization: `Bearer ${this.internalSecret}`, 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  }

  async createApp(name = 'My CRM Backend') {
    const response = await this.internal('POST', '/internal/apps', { name });
    assert.equal(response.status, 200);
    return response.json();
  }

  /** Sends a request of the app. */
  async get(app, path) {
    return fetch(`${this.url}${path}`, { headers: { 'x-api-key': app.api_key } });
  }

  /** Sends a webhook, signed in a header or as a JWS, and asserts that it is acknowledged. */
  async webhook(app, payload, signature = 'hmac') {
    const { body, headers } = sign(payload, this.webhookSecret, signature);
    const response = await fetch(`${this.url}/webhooks/${app.app_id}`, { method: 'POST', headers, body });
    const answer = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    assert.equal(answer.success, true, JSON.stringify(answer));
    return answer;
  }

  async webhooks(app, payloads) {
    for (const payload of payloads) await this.webhook(app, payload);
  }
}

/** Returns body and headers as Dialpad sends them: `hmac` in a header, or the body as a JWS. */
export function sign(payload, secret, signature) {
  if (signature === 'hmac') {
    const body = JSON.stringify(payload);
    const mac = createHmac('sha256', secret).update(body).digest('hex');
    return { body, headers: { 'Content-Type': 'application/json', 'x-dialpad-signature': mac } };
  }
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(payload)}`;
  const mac = createHmac('sha256', secret).update(claims).digest('base64url');
  return { body: `${claims}.${mac}`, headers: { 'Content-Type': 'application/jwt' } };
}
