// Shows /openapi.json and /asyncapi.json. Whatever they say goes into the page as text, never as markup.
'use strict';

const METHODS = ['get', 'post', 'patch', 'delete', 'head'];
let schemas = {};

/** An element with attributes and what is in it. */
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value !== undefined && value !== false) element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== ''));
  return element;
}

/** A line with `code` and **strong** in it. */
function line(text) {
  return text.split(/(`[^`]*`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.length > 1 && part.startsWith('`')) return make('code', {}, part.slice(1, -1));
    if (part.length > 4 && part.startsWith('**')) return make('strong', {}, part.slice(2, -2));
    return part;
  });
}

/** A text of paragraphs and lists. */
function prose(text) {
  return (text ?? '').split(/\n\n+/).filter(Boolean).map((block) => {
    const lines = block.split('\n');
    if (!lines.every((it) => it.startsWith('- '))) return make('p', {}, line(block));
    return make('ul', {}, lines.map((it) => make('li', {}, line(it.slice(2)))));
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

/** What a value is, in a few words; names of schemas lead to them. */
function type(schema) {
  if (!schema) return [];
  if (schema.$ref) return [make('a', { href: `#schema-${nameOf(schema.$ref)}` }, nameOf(schema.$ref))];
  const choice = schema.oneOf ?? schema.anyOf;
  if (choice) return between(choice.map(type), ' or ');
  if (schema.allOf) return type(schema.allOf[0]);
  if (schema.enum) return [schema.enum.map((word) => JSON.stringify(word)).join(' | ')];
  if (schema.type === 'array' || schema.items) return ['list of ', ...type(schema.items)];
  const words = [schema.type].flat().filter(Boolean).join(' or ') || 'anything';
  return [words + (schema.format ? ` (${schema.format})` : '')];
}

const between = (lists, word) => lists.flatMap((list, place) => (place ? [word, ...list] : list));

/** What a value must fit. */
function limits(schema) {
  const said = [];
  const { minimum, maximum, minLength, maxLength, minItems, maxItems, pattern } = schema ?? {};
  const near = (number) => number !== undefined && Math.abs(number) < 2 ** 53;
  if (near(minimum) && near(maximum)) said.push(`${minimum} to ${maximum}`);
  else if (near(minimum)) said.push(`at least ${minimum}`);
  if (maxLength !== undefined) said.push(`${minLength ?? 0} to ${maxLength} characters`);
  if (maxItems !== undefined) said.push(`${minItems ?? 0} to ${maxItems} items`);
  if (pattern !== undefined && pattern.length < 60) said.push(`like ${pattern}`);
  if (schema?.default !== undefined) said.push(`by default ${JSON.stringify(schema.default)}`);
  const text = said.join('; ');
  return text ? ` ${text[0].toUpperCase()}${text.slice(1)}.` : '';
}

function fields(schema) {
  const required = new Set(schema.required ?? []);
  return table(['field', 'type', ''], Object.entries(schema.properties ?? {}).map(([name, field]) => [
    [make('code', {}, name), required.has(name) ? '' : make('span', { class: 'type' }, ' (may be left out)')],
    make('span', { class: 'type' }, type(field)),
    line(descriptionOf(field) + limits(field)),
  ]));
}

function descriptionOf(field) {
  const parts = [field, ...(field.oneOf ?? []), ...(field.anyOf ?? [])];
  const said = parts.map((part) => part.description).find(Boolean);
  const named = parts.map((part) => part.$ref).find(Boolean);
  return (said ?? (named ? (schemas[nameOf(named)]?.description ?? '') : '')).split('\n')[0];
}

function parameters(operation) {
  return table(['parameter', 'in', 'type', ''], (operation.parameters ?? []).map((it) => [
    [make('code', {}, it.name), it.required ? make('span', { class: 'must' }, ' required') : ''],
    it.in, make('span', { class: 'type' }, type(it.schema)), line(it.description + limits(it.schema)),
  ]));
}

function contents(content) {
  return Object.entries(content ?? {}).flatMap(([media, it]) => [
    make('p', { class: 'type' }, media, it.schema ? ': ' : '', it.schema ? type(it.schema) : ''),
    it.example === undefined ? undefined : example(it.example),
  ]);
}

function answers(operation) {
  const all = Object.entries(operation.responses ?? {});
  const isError = ([, it]) => Boolean(it.content?.['application/json']?.examples);
  const good = all.filter((it) => !isError(it)).flatMap(([status, it]) => [
    make('h4', {}, `${status} `), ...prose(it.description), ...contents(it.content),
    table(['header', ''], Object.entries(it.headers ?? {}).map(([name, header]) => [
      make('code', {}, name), line(header.description ?? ''),
    ])),
  ]);
  const errors = all.filter(isError).flatMap(([status, it]) =>
    Object.entries(it.content['application/json'].examples).map(([code, shown]) => [
      status, make('a', { href: `#code-${code}` }, make('code', {}, code)), shown.value.error,
    ]));
  return [...good, errors.length ? make('h4', {}, 'Errors') : undefined, table(['status', 'code', 'for example'], errors)];
}

const WHO = {
  api_key: 'an app, by x-api-key', app_api_key: undefined, api_key_as_bearer: undefined,
  api_key_in_query: 'or api_key in the query', internal_secret: 'administrators, by INTERNAL_API_SECRET as bearer',
  metrics_token: 'METRICS_TOKEN as bearer, where it is set', webhook_signature: 'Dialpad, by its signature',
};

function access(operation) {
  const names = (operation.security ?? []).flatMap((it) => Object.keys(it));
  const words = names.map((name) => WHO[name]).filter(Boolean);
  return make('p', { class: 'type' }, `Who may ask: ${words.join(', ') || 'anybody'}.`);
}

function card(id, words, what, inside, search) {
  const body = make('div', { class: 'inside' }, inside);
  const head = make('summary', {}, words, make('span', { class: 'what' }, what));
  const found = `${search ?? ''} ${head.textContent} ${body.textContent}`.toLowerCase();
  return make('details', { id, 'data-words': found }, head, body);
}

function operation(path, method, it) {
  const head = [make('span', { class: `word ${method}` }, method), make('span', { class: 'path' }, path)];
  const taken = parameters(it);
  return card(`op-${it.operationId}`, head, it.summary, [
    ...prose(it.description), access(it),
    taken ? make('h4', {}, 'Parameters') : undefined, taken,
    it.requestBody ? make('h4', {}, it.requestBody.required ? 'Body' : 'Body (may be left out)') : undefined,
    ...contents(it.requestBody?.content),
    ...answers(it),
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
    METHODS.filter((method) => item[method]).map((method) => ({ path, method, it: item[method] })));
  return api.tags.map((tag) => section(slug(tag.name), tag.name, tag.description,
    all.filter((way) => way.it.tags.includes(tag.name)).map((way) => operation(way.path, way.method, way.it))));
}

function message(feed, it) {
  const reference = it.payload.$ref;
  const schema = reference ? feed.components.schemas[nameOf(reference)] : it.payload;
  return card(`message-${slug(it.name)}`, [make('span', { class: 'path' }, it.name)], it.summary ?? '', [
    ...(it.examples ?? []).map((shown) => example(shown.payload)), fields(schema),
  ]);
}

function talk(feed) {
  const { websocket, stream } = feed.channels;
  const of = (operation) => operation.messages.map((it) => feed.components.messages[nameOf(it.$ref)]);
  const told = of(feed.operations.tell);
  const events = told.filter((it) => it.payload.$ref);
  const closed = of(feed.operations.stream).filter((it) => !told.includes(it));
  const control = [...told.filter((it) => !it.payload.$ref), ...closed];
  const show = (list) => list.map((it) => message(feed, it));
  return [
    section('websocket', 'The WebSocket', websocket.description,
      make('h3', {}, 'What a client may say'), show(of(feed.operations.hear)),
      make('h3', {}, 'What the server says of the session'), show(control),
      make('h3', { id: 'close-codes' }, 'Close codes'),
      table(['code', 'why', 'come back?'], websocket['x-close-codes'].map((it) => [
        make('code', {}, String(it.code)), line(it.meaning), it.comeBack,
      ])),
      make('h3', {}, 'Server-sent events'), prose(stream.description)),
    section('events', 'Events', 'What happened, on every way to the feed alike.', show(events)),
  ];
}

function errors(api) {
  const statuses = new Map();
  for (const item of Object.values(api.paths)) {
    for (const it of Object.values(item)) {
      for (const [status, answer] of Object.entries(it.responses)) {
        for (const code of Object.keys(answer.content?.['application/json']?.examples ?? {})) statuses.set(code, status);
      }
    }
  }
  const elsewhere = { NOT_FOUND: '404', METHOD_NOT_ALLOWED: '405' };
  const meanings = api.components.schemas.ErrorCode.description.split('\n').map((it) => it.match(/`(\w+)`: (.*)/));
  const rows = meanings.filter(Boolean).map(([, code, meaning]) => [
    statuses.get(code) ?? elsewhere[code] ?? '', make('code', { id: `code-${code}` }, code), line(meaning),
  ]);
  return section('errors', 'Errors', 'All have one shape. Decide by `code`.',
    example({ error: 'limit: must be a whole number from 1 to 500', code: 'INVALID_REQUEST', request_id: '8f0d3c1e-…' }),
    table(['status', 'code', 'means'], rows));
}

function shapes() {
  return section('schemas', 'Schemas', 'The objects that are sent and read, by their names.',
    Object.entries(schemas).map(([name, schema]) => card(`schema-${name}`, [make('span', { class: 'path' }, name)],
      (schema.title ?? '').toString(), [
        ...prose(schema.description), make('p', { class: 'type' }, type(schema)), fields(schema),
      ])));
}

/** Opens what the address points to. */
function show() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let it = target; it; it = it.parentElement) if (it.tagName === 'DETAILS') it.open = true;
  target.scrollIntoView();
}

function find(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const it of document.querySelectorAll('#reference details')) {
    it.hidden = !words.every((word) => it.dataset.words.includes(word));
  }
  for (const it of document.querySelectorAll('#reference section')) {
    const cards = [...it.querySelectorAll('details')];
    it.hidden = words.length > 0 && cards.length > 0 && cards.every((card) => card.hidden);
  }
}

async function read(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address} was answered with ${answer.status}`);
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
      section('basics', 'Base facts', api.info.description), ...routes(api), ...talk(feed), errors(api), shapes());
    progress.hidden = true;
    document.body.dataset.ready = 'yes';
    document.getElementById('search').addEventListener('input', (event) => find(event.target.value));
    window.addEventListener('hashchange', show);
    show();
  } catch (error) {
    progress.textContent = `The documents could not be shown: ${error.message}. They are at /openapi.json and /asyncapi.json.`;
  }
}

begin();
