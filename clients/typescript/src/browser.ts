/** The client in a browser. */

import { Feed as AnyFeed, type FeedOptions } from './feed.js';
import { browserTransport } from './transport-browser.js';

export * from './index.js';

/** The events of an app, each once, through broken connections. */
export class Feed extends AnyFeed {
  constructor(options: FeedOptions) {
    super(options, browserTransport);
  }
}
