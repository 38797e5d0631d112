/** The client for Node. */

import { Feed as AnyFeed } from './feed.js';
import type { FeedOptions } from './options.js';
import { nodeTransport } from './transport-node.js';

export * from './index.js';
export { FileCursor } from './cursor-file.js';

/** The events of an app, each once, across broken connections. */
export class Feed extends AnyFeed {
  constructor(options: FeedOptions) {
    super(options, nodeTransport);
  }
}
