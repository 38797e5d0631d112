/** The client for browsers. */

import { Feed as AnyFeed } from './feed.js';
import type { FeedOptions } from './options.js';
import { browserTransport } from './transport-browser.js';

export * from './index.js';

/** The events of an app, each once, across broken connections. */
export class Feed extends AnyFeed {
  constructor(options: FeedOptions) {
    super(options, browserTransport);
  }
}
