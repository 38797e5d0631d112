// Renders /openapi.json and /asyncapi.json. Their content is inserted as text, never as markup.
'use strict';

const METHODS = ['get', 'post', 'patch', 'delete', 'head'];
let schemas = {};

/** Creates an element with attributes and children. */
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value !== undefined && value !== false) element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== ''));
  return element;
}

/** Renders a line with `code` and **strong**. */
function line(text) {
  return text.split(/(`[^`]*`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.length > 1 && part.startsWith('`')) return make('code', {}, part.slice(1, -1));
    if (part.length > 4 && part.startsWith('**')) return make('strong', {}, part.slice(2, -2));
    return part;
  });
}

/** Renders paragraphs and lists. */
function prose(text) {
  return (text ?? '').split(/\n\n+/).filter(Boolean).map((block) => {
    const lines = block.split('\n');
    if (!lines.every((text) => text.startsWith('- '))) return make('p', {}, line(block));
    return make('ul', {}, lines.map((text) => make('li', {}, line(text.slice(2)))));
  });
}

function table(head, rows) {
  if (rows.length === 0) return undefined;
  const cells = (kind, items) => items.map((item) => make(kind, {}, item));
  return make('div', { class: 'wide' }, make('table', {},
    make('thead', {}, make('tr', {}, cells('th', head))),
    make('tbody', {}, rows.map((row) => make('tr', {}, cells('td', row))))));
}

function example(value) {
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
  return make('pre', {}, make('code', {}, text));
}

const nameOf = (reference) => reference.split('/').pop();

/** Describes the type of a value in a few words; the names of schemas are links. */
function type(schema) {
  if (!schema) return [];
  if (schema.$ref) return [make('a', { href: `#schema-${nameOf(schema.$ref)}` }, nameOf(schema.$ref))];
  const choice = schema.oneOf ?? schema.anyOf;
  if (choice) return between(choice.map(type), ' or ');
  if (schema.allOf) return type(schema.allOf[0]);
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(' | ')];
  if (schema.type === 'array' || schema.items) return ['list of ', ...type(schema.items)];
  const kind = [schema.type].flat().filter(Boolean).join(' or ') || 'any value';
  return [kind + (schema.format ? ` (${schema.format})` : '')];
}

const between = (lists, separator) => lists.flatMap((list, index) => (index ? [separator, ...list] : list));

/** Describes the limits of a value. */
function limits(schema) {
  const parts = [];
  const { minimum, maximum, minLength, maxLength, minItems, maxItems, pattern } = schema ?? {};
  const near = (number) => number !== undefined && Math.abs(number) < 2 ** 53;
  if (near(minimum) && near(maximum)) parts.push(`${minimum} to ${maximum}`);
  else if (near(minimum)) parts.push(`at least ${minimum}`);
  if (maxLength !== undefined) parts.push(`${minLength ?? 0} to ${maxLength} characters`);
  if (maxItems !== undefined) parts.push(`${minItems ?? 0} to ${maxItems} items`);
  if (pattern !== undefined && pattern.length < 60) parts.push(`pattern ${pattern}`);
  if (schema?.default !== undefined) parts.push(`default ${JSON.stringify(schema.default)}`);
  const text = parts.join('; ');
  return text ? ` ${text[0].toUpperCase()}${text.slice(1)}.` : '';
}

function fields(schema) {
  const required = new Set(schema.required ?? []);
  return table(['field', 'type', ''], Object.entries(schema.properties ?? {}).map(([name, field]) => [
    [make('code', {}, name), required.has(name) ? '' : make('span', { class: 'type' }, ' (optional)')],
    make('span', { class: 'type' }, type(field)),
    line(descriptionOf(field) + limits(field)),
  ]));
}

function descriptionOf(field) {
  const parts = [field, ...(field.oneOf ?? []), ...(field.anyOf ?? [])];
  const own = parts.map((part) => part.description).find(Boolean);
  const reference = parts.map((part) => part.$ref).find(Boolean);
  const description = own ?? (reference ? schemas[nameOf(reference)]?.description : undefined) ?? '';
  return description.split('\n\n')[0].replaceAll('\n', ' ');
}

function parameters(operation) {
  return table(['parameter', 'in', 'type', ''], (operation.parameters ?? []).map((parameter) => [
    [make('code', {}, parameter.name), parameter.required ? make('span', { class: 'must' }, ' required') : ''],
    parameter.in, make('span', { class: 'type' }, type(parameter.schema)),
    line(descriptionOf(parameter) + limits(parameter.schema)),
  ]));
}

function contents(content) {
  return Object.entries(content ?? {}).flatMap(([media, { schema, example: shown }]) => [
    make('p', { class: 'type' }, media, schema ? ': ' : '', schema ? type(schema) : ''),
    shown === undefined ? undefined : example(shown),
  ]);
}

function answers(operation) {
  const all = Object.entries(operation.responses ?? {});
  const isError = ([, response]) => Boolean(response.content?.['application/json']?.examples);
  const good = all.filter((entry) => !isError(entry)).flatMap(([status, response]) => [
    make('h4', {}, `${status} `), ...prose(response.description), ...contents(response.content),
    table(['header', ''], Object.entries(response.headers ?? {}).map(([name, header]) => [
      make('code', {}, name), line(header.description ?? ''),
    ])),
  ]);
  const errors = all.filter(isError).flatMap(([status, response]) =>
    Object.entries(response.content['application/json'].examples).map(([code, shown]) => [
      status, make('a', { href: `#code-${code}` }, make('code', {}, code)), shown.value.error,
    ]));
  return [...good, errors.length ? make('h4', {}, 'Errors') : undefined, table(['status', 'code', 'example'], errors)];
}

const CREDENTIALS = {
  api_key: 'API key as x-api-key', app_api_key: undefined, api_key_as_bearer: undefined,
  api_key_in_query: 'api_key in the query', internal_secret: 'INTERNAL_API_SECRET as bearer',
  metrics_token: 'METRICS_TOKEN as bearer, if it is set', webhook_signature: 'signature of Dialpad',
};

function access(operation) {
  const names = (operation.security ?? []).flatMap((requirement) => Object.keys(requirement));
  const words = names.map((name) => CREDENTIALS[name]).filter(Boolean);
  return make('p', { class: 'type' }, `Credentials: ${words.join(', ') || 'none'}.`);
}

function card(id, words, what, inside, search) {
  const body = make('div', { class: 'inside' }, inside);
  const head = make('summary', {}, words, make('span', { class: 'what' }, what));
  const found = `${search ?? ''} ${head.textContent} ${body.textContent}`.toLowerCase();
  return make('details', { id, 'data-words': found }, head, body);
}

function operation(path, method, definition) {
  const head = [make('span', { class: `word ${method}` }, method), make('span', { class: 'path' }, path)];
  const taken = parameters(definition);
  return card(`op-${definition.operationId}`, head, definition.summary, [
    ...prose(definition.description), access(definition),
    taken ? make('h4', {}, 'Parameters') : undefined, taken,
    definition.requestBody ? make('h4', {}, definition.requestBody.required ? 'Body' : 'Body (optional)') : undefined,
    ...contents(definition.requestBody?.content),
    ...answers(definition),
  ], `${method} ${path}`);
}

function section(id, title, description, ...children) {
  const item = make('li', {}, make('a', { href: `#${id}` }, title));
  document.getElementById('contents').append(item);
  return make('section', { id }, make('h2', {}, title), prose(description), children);
}

const slug = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, '-');

function routes(api) {
  const all = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, definition: item[method] })));
  return api.tags.map((tag) => section(slug(tag.name), tag.name, tag.description,
    all.filter((route) => route.definition.tags.includes(tag.name)).map((route) => operation(route.path, route.method, route.definition))));
}

function messageCard(feed, message) {
  const reference = message.payload.$ref;
  const schema = reference ? feed.components.schemas[nameOf(reference)] : message.payload;
  return card(`message-${slug(message.name)}`, [make('span', { class: 'path' }, message.name)], message.summary ?? '', [
    ...(message.examples ?? []).map((shown) => example(shown.payload)), fields(schema),
  ]);
}

function messages(feed) {
  const { websocket, stream } = feed.channels;
  const of = (operation) => operation.messages.map((message) => feed.components.messages[nameOf(message.$ref)]);
  const sent = of(feed.operations.send);
  const events = sent.filter((message) => message.payload.$ref);
  const closed = of(feed.operations.stream).filter((message) => !sent.includes(message));
  const control = [...sent.filter((message) => !message.payload.$ref), ...closed];
  const show = (list) => list.map((message) => messageCard(feed, message));
  return [
    section('websocket', 'WebSocket', websocket.description,
      make('h3', {}, 'Messages from the client'), show(of(feed.operations.receive)),
      make('h3', {}, 'Messages from the server about the session'), show(control),
      make('h3', { id: 'close-codes' }, 'Close codes'),
      table(['code', 'why', 'reconnect?'], websocket['x-close-codes'].map((close) => [
        make('code', {}, String(close.code)), line(close.meaning), line(close.comeBack),
      ])),
      make('h3', {}, 'Server-sent events'), prose(stream.description)),
    section('events', 'Events', 'The same on every transport.', show(events)),
  ];
}

function errors(api) {
  const statuses = new Map();
  for (const item of Object.values(api.paths)) {
    for (const operation of Object.values(item)) {
      for (const [status, answer] of Object.entries(operation.responses)) {
        for (const code of Object.keys(answer.content?.['application/json']?.examples ?? {})) statuses.set(code, status);
      }
    }
  }
  const elsewhere = { NOT_FOUND: '404', METHOD_NOT_ALLOWED: '405' };
  const meanings = api.components.schemas.ErrorCode.description.split('\n').map((operation) => operation.match(/`(\w+)`: (.*)/));
  const rows = meanings.filter(Boolean).map(([, code, meaning]) => [
    statuses.get(code) ?? elsewhere[code] ?? '', make('code', { id: `code-${code}` }, code), line(meaning),
  ]);
  return section('errors', 'Errors', 'All errors have one form. Base decisions on `code`.',
    example({ error: 'limit: must be a whole number from 1 to 500', code: 'INVALID_REQUEST', request_id: '8f0d3c1e-…' }),
    table(['status', 'code', 'meaning'], rows));
}

function schemaSection() {
  return section('schemas', 'Schemas', 'The objects of requests and responses, by name.',
    Object.entries(schemas).map(([name, schema]) => card(`schema-${name}`, [make('span', { class: 'path' }, name)],
      (schema.title ?? '').toString(), [
        ...prose(schema.description), make('p', { class: 'type' }, type(schema)), fields(schema),
      ])));
}

/** Opens the card that the address points to. */
function show() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let element = target; element; element = element.parentElement) if (element.tagName === 'DETAILS') element.open = true;
  target.scrollIntoView();
}

function find(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const element of document.querySelectorAll('#reference details')) {
    element.hidden = !words.every((word) => element.dataset.words.includes(word));
  }
  for (const element of document.querySelectorAll('#reference section')) {
    const cards = [...element.querySelectorAll('details')];
    element.hidden = words.length > 0 && cards.length > 0 && cards.every((card) => card.hidden);
  }
}

async function read(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address} returned ${answer.status}`);
  return answer.json();
}

async function begin() {
  const progress = document.getElementById('progress');
  progress.hidden = false;
  try {
    const [api, feed] = await Promise.all([read('/openapi.json'), read('/asyncapi.json')]);
    schemas = api.components.schemas;
    document.getElementById('version').textContent = api.info.version;
    document.getElementById('reference').append(
      section('basics', 'Conventions', api.info.description), ...routes(api), ...messages(feed), errors(api), schemaSection());
    progress.hidden = true;
    document.body.dataset.ready = 'yes';
    document.getElementById('search').addEventListener('input', (event) => find(event.target.value));
    window.addEventListener('hashchange', show);
    show();
  } catch (error) {
    progress.textContent = `The documents could not be shown: ${error.message}. Read them at /openapi.json and /asyncapi.json.`;
  }
}

begin();
