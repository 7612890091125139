/**
 * What may be asked over HTTP, and what of a `Control` answers it: one list, which serves requests and makes the
 * OpenAPI document. Pure: sockets, tokens, files and clocks are src/io/'s.
 */

import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';

import {
  BUSIEST_MAX,
  type CaptureRequest,
  CONFIG_TEXT_BYTES_MAX,
  CONNECTIONS_PAGE_MAX,
  type Control,
  ControlError,
  type EndFilter,
} from '../api.js';
import { parseEndpoint } from '../wire/ip_address.js';
import { errorAnswer, requestFault } from './errors.js';
import { hostFault } from './host.js';
import * as schemas from './schemas.js';

const REQUEST_BYTES_MAX = 16 * 1024;
/** A config, whose text may grow when it becomes JSON. */
const CONFIG_BYTES_MAX = 2 * CONFIG_TEXT_BYTES_MAX + REQUEST_BYTES_MAX;

export interface RouteOptions {
  readonly control: Control;
  readonly version: string;
  /** Told of answers that failed for no fault of the asker's. */
  readonly onInternalError: (route: string, error: unknown) => void;
  /** Told of each change that was asked for, whatever came of it. */
  readonly onChange: (change: Change) => void;
  /** What is not asked of a Control. */
  readonly served: {
    events(): Response;
    metrics(): Promise<Response>;
    /** A file of the web page. */
    page(path: string): Promise<Response>;
    /** Throws a ControlError when it cannot be now. */
    capture(request: CaptureRequest, caller: string): Response;
  };
}

export interface Change {
  /** `PATCH /v1/unit` */
  readonly route: string;
  readonly caller: string;
  readonly asked: object;
  /** `done`, or the code of the refusal. */
  readonly outcome: string;
}

/** What the listener knows of who asks. */
export interface Env {
  readonly Bindings: {
    readonly caller?: string;
    /** Asked without a token, so it matters by which name. */
    readonly isTrusted?: boolean;
  };
}
export type App = OpenAPIHono<Env>;

interface Shape<Answer, Asked> {
  readonly method: 'get' | 'post' | 'patch';
  readonly path: string;
  readonly summary: string;
  readonly params?: readonly string[];
  readonly query?: z.ZodType<Asked> & z.ZodObject;
  readonly body?: z.ZodType<Asked> & z.ZodObject;
  readonly bytesMax?: number;
  readonly answer: z.ZodType<Answer>;
}

type Params = Readonly<Record<string, string>>;

export function apiRoutes(options: RouteOptions): App {
  const { control } = options;
  const app = new OpenAPIHono<Env>();
  app.onError((error, context) => errorAnswer(context, error, options.onInternalError));
  app.use(async ({ env, req }, next) => {
    const fault = env?.isTrusted === true ? hostFault(req.header('host')) : null;
    if (fault !== null) throw fault;
    await next();
  });
  const add = <Answer, Asked = Record<never, never>>(
    shape: Shape<Answer, Asked>,
    act: (asked: Asked, params: Params) => Promise<unknown>,
  ) => addRoute(app, options, shape, act);

  add({ ...get('/v1/status', 'The unit at a glance'), answer: schemas.status }, () => control.status());
  add({ ...get('/v1/virtual-servers', 'Virtual servers'), answer: z.array(schemas.virtualServer) }, () =>
    control.virtualServers(),
  );
  add(
    { ...get('/v1/virtual-servers/{name}', 'One virtual server', ['name']), answer: schemas.virtualServer },
    (_, { name }) => control.virtualServer(name!),
  );
  add({ ...get('/v1/pools', 'Pools and their members'), answer: z.array(schemas.pool) }, () => control.pools());
  add({ ...get('/v1/pools/{name}', 'One pool', ['name']), answer: schemas.pool }, (_, { name }) => control.pool(name!));
  add(
    {
      ...get('/v1/connections', 'A part of the connection table; `next` is the cursor of the next part'),
      query: connectionsQuery,
      answer: schemas.connectionsPage,
    },
    (query) => control.connections(query),
  );
  add(
    {
      ...get('/v1/connections/busiest', 'Those that carry most; every frame is looked at for a moment'),
      query: z.strictObject({ limit: whole(1, BUSIEST_MAX, '10') }),
      answer: schemas.busiestConnections,
    },
    ({ limit }) => control.busiest(limit),
  );
  add({ ...get('/v1/mirror', 'The mirror channel'), answer: schemas.mirror }, () => control.mirror());
  add({ ...get('/v1/failover', 'Traffic groups and adverts'), answer: schemas.failover }, () => control.failover());
  add({ ...get('/v1/counters', 'What the datapath counted'), answer: schemas.counters }, () => control.counters());
  add({ ...get('/v1/survival', 'What would survive if this unit failed now'), answer: schemas.survival }, () =>
    control.survival(),
  );
  add(
    {
      ...get('/v1/costs', 'What mirroring costs here, as last measured; null: never'),
      answer: schemas.costs.nullable(),
    },
    () => control.costs(),
  );
  add(
    {
      method: 'patch',
      path: '/v1/virtual-servers/{name}',
      summary: 'Enable, disable or mirror a virtual server, until the config is read again',
      params: ['name'],
      body: schemas.virtualServerChange,
      answer: schemas.virtualServerChanged,
    },
    (change, { name }) => control.setVirtualServer(name!, change),
  );
  add(
    {
      method: 'patch',
      path: '/v1/pools/{pool}/members/{member}',
      summary: 'A member (ADDRESS:PORT, [v6]:PORT) up, draining or down, until the config is read again',
      params: ['pool', 'member'],
      body: schemas.memberChange,
      answer: schemas.memberChanged,
    },
    ({ state }, { pool, member }) => {
      const { address, port } = endpoint(member!, 'member');
      return control.setMember(pool!, address, port, state);
    },
  );
  add(
    {
      method: 'patch',
      path: '/v1/unit',
      summary: 'Hand traffic groups to the peer, or end that',
      body: schemas.unitChange,
      answer: schemas.standbyResult,
    },
    ({ standby, force, trafficGroup }) =>
      standby ? control.standby(trafficGroup, force) : control.releaseStandby(trafficGroup),
  );
  add(
    {
      method: 'post',
      path: '/v1/config',
      summary: 'Check a config and put it in force, on both units or on neither',
      body: schemas.applyRequest,
      bytesMax: CONFIG_BYTES_MAX,
      answer: schemas.applyResult,
    },
    (request) => control.apply(request),
  );
  add({ method: 'post', path: '/v1/reload', summary: 'Read the config file again', answer: schemas.reloadResult }, () =>
    control.reload(),
  );
  addServed(app, options);
  app.doc31('/v1/openapi.json', {
    openapi: '3.1.0',
    info: { title: 'Tandem', version: options.version },
    security: [{ token: [] }],
  });
  app.openAPIRegistry.registerComponent('securitySchemes', 'token', {
    type: 'http',
    scheme: 'bearer',
    description: 'On the TCP listener; the unix socket asks for none',
  });
  app.notFound((context) => {
    const asked = `${context.req.method} ${context.req.path}`.slice(0, 200);
    const error = new ControlError('not_found', 'unknown_route', `no such request: ${asked}`, 'see /v1/openapi.json');
    return errorAnswer(context, error, options.onInternalError);
  });
  return app;
}

function addServed(app: App, options: RouteOptions): void {
  const { served } = options;
  const content = (type: string, schema: z.ZodType) => ({
    200: { description: 'The answer', content: { [type]: { schema } } },
  });
  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/v1/events',
    summary: 'Server-sent events: state when it changes and each 5 s, rates each second, failover',
    responses: content('text/event-stream', z.union([schemas.stateEvent, schemas.rates, schemas.transition])),
  });
  app.get('/v1/events', () => served.events());
  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/metrics',
    summary: "Prometheus's text format",
    responses: content('text/plain', z.string()),
  });
  app.get('/metrics', () => served.metrics());
  app.openAPIRegistry.registerPath({
    method: 'post',
    path: '/v1/capture',
    summary: 'Frames as they are received, sent and dropped, until a bound is reached or the asker goes away: pcapng',
    request: { body: { required: true, content: { 'application/json': { schema: schemas.captureRequest } } } },
    responses: content('application/x-pcapng', z.string().openapi({ format: 'binary' })),
  });
  app.post('/v1/capture', requireJson, limited(REQUEST_BYTES_MAX), async (context) => {
    const asked = checked(schemas.captureRequest, await readJson(context));
    const change = { route: 'POST /v1/capture', asked };
    return changing(options, context, change, async () => served.capture(asked, callerOf(context)));
  });
  app.get('/', () => served.page('/'));
  app.get('/assets/*', ({ req }) => served.page(req.path));
}

function get(path: string, summary: string, params: readonly string[] = []) {
  return { method: 'get', path, summary, params } as const;
}

function addRoute<Answer, Asked>(
  app: App,
  options: RouteOptions,
  shape: Shape<Answer, Asked>,
  act: (asked: Asked, params: Params) => Promise<unknown>,
): void {
  const { method, path, params = [], query, body, bytesMax = REQUEST_BYTES_MAX } = shape;
  app.openAPIRegistry.registerPath(documented(shape));
  const route = path.replaceAll(/\{(\w+)\}/g, ':$1');
  const handle = async (context: Context<Env>) => {
    const given: Params = Object.fromEntries(params.map((name) => [name, context.req.param(name) ?? '']));
    if (method === 'get') {
      const asked = query === undefined ? ({} as Asked) : checked(query, context.req.query());
      return context.json((await act(asked, given)) as object);
    }
    const asked = body === undefined ? ({} as Asked) : checked(body, await readJson(context));
    return context.json(
      (await changing(options, context, { route: named(shape, given), asked: asked as object }, () =>
        act(asked, given),
      )) as object,
    );
  };
  if (method === 'get') app.get(route, handle);
  else app.on(method.toUpperCase(), route, requireJson, limited(bytesMax), handle);
}

function limited(bytesMax: number) {
  return bodyLimit({
    maxSize: bytesMax,
    onError: () => {
      throw new ControlError('bad_request', 'too_large', `a request has at most ${bytesMax} bytes`);
    },
  });
}

/** A page of another origin cannot send JSON unasked (the browser asks first, and is not answered). */
async function requireJson(context: Context<Env>, next: () => Promise<void>): Promise<void> {
  if (/^application\/json\b/i.test(context.req.header('content-type') ?? '')) return next();
  const mend = 'send the header content-type: application/json';
  throw new ControlError('bad_request', 'not_json', 'a change is asked for in JSON', mend);
}

async function changing<Answer>(
  { onChange }: RouteOptions,
  context: Context<Env>,
  change: Pick<Change, 'route' | 'asked'>,
  act: () => Promise<Answer>,
): Promise<Answer> {
  const tell = (outcome: string) => onChange({ ...change, caller: callerOf(context), outcome });
  try {
    const answer = await act();
    tell('done');
    return answer;
  } catch (error) {
    tell(error instanceof ControlError ? error.code : 'internal');
    throw error;
  }
}

/** `PATCH /v1/virtual-servers/www` */
function named({ method, path }: Pick<Shape<unknown, unknown>, 'method' | 'path'>, params: Params): string {
  return `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, (_, name: string) => params[name] ?? '')}`;
}

/** What the listener knows, and what the client says of itself, which nobody has checked. */
export function callerOf(context: Context<Env>): string {
  const said = context.req
    .header('tandem-client')
    ?.replaceAll(/[^\x20-\x7e]/g, '?')
    .slice(0, 100);
  const known = context.env?.caller ?? 'unknown';
  return said === undefined ? known : `${known}, calls itself ${said}`;
}

async function readJson(context: Context<Env>): Promise<unknown> {
  const text = await context.req.text();
  let value: unknown;
  try {
    value = text === '' ? {} : JSON.parse(text);
  } catch {
    throw new ControlError('bad_request', 'not_json', 'the request is not JSON');
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new ControlError('bad_request', 'not_an_object', 'the request is not a JSON object');
}

function checked<Asked>(schema: z.ZodType<Asked>, value: unknown): Asked {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw requestFault(result.error.issues[0]!, value);
}

// ------------------------------------------------------------------------------------------- questions

const whole = (low: number, high: number, otherwise: string) =>
  z
    .string()
    .default(otherwise)
    .refine((text) => /^\d{1,16}$/.test(text) && Number(text) >= low && Number(text) <= high, {
      message: `must be a whole number from ${low} to ${high}`,
      params: { code: 'bad_number' },
    })
    .transform(Number);

const end = z
  .string()
  .optional()
  .transform((text, { issues }): EndFilter | null => {
    const found = text === undefined ? null : parseEndpoint(text);
    if (text !== undefined && found === null)
      issues.push({
        code: 'custom',
        input: text,
        message: 'must be an address, or ADDRESS:PORT',
        params: { code: 'bad_address' },
      });
    return found;
  });

const connectionsQuery = z.strictObject({
  virtualServer: z
    .string()
    .optional()
    .transform((name) => name ?? null),
  client: end,
  member: end,
  cursor: whole(0, Number.MAX_SAFE_INTEGER, '0'),
  limit: whole(1, CONNECTIONS_PAGE_MAX, '100'),
});

function endpoint(text: string, path: string): EndFilter {
  const found = parseEndpoint(text);
  if (found !== null) return found;
  const message = `'${text.slice(0, 100)}' is no address and port`;
  throw new ControlError('bad_request', 'bad_address', message, 'write 10.0.0.1:80 or [fd00::1]:80', [], path);
}

// -------------------------------------------------------------------------------------------- document

function documented<Answer, Asked>(shape: Shape<Answer, Asked>) {
  const { method, path, summary, params = [], query, body, answer } = shape;
  const json = (schema: z.ZodType) => ({ content: { 'application/json': { schema } } });
  const refused = (description: string) => ({ description, ...json(z.object({ error: schemas.errorBody })) });
  return createRoute({
    method,
    path,
    summary,
    request: {
      ...(params.length === 0
        ? {}
        : { params: z.object(Object.fromEntries(params.map((name) => [name, z.string()]))) }),
      ...(query === undefined ? {} : { query: documentedQuery(query) }),
      ...(body === undefined ? {} : { body: { required: true, ...json(body) } }),
    },
    responses: {
      200: { description: 'The answer', ...json(answer) },
      400: refused('The request makes no sense'),
      401: refused('TCP listener: no token, or a wrong one'),
      404: refused('It names nothing here'),
      409: refused('Not now'),
      500: refused('It failed'),
    },
  });
}

/** Query values arrive as text. */
function documentedQuery(query: z.ZodObject): z.ZodObject {
  return z.object(Object.fromEntries(Object.keys(query.shape).map((name) => [name, z.string().optional()])));
}
