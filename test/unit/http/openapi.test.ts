/**
 * Goal: the OpenAPI document says what the routes do: each of them, and what they answer.
 * Method: make the document of the real routes, follow its references, and hold made-up answers against its schemas.
 */

import { describe, expect, test } from 'vitest';
import type { z } from 'zod';

import { apiRoutes } from '../../../src/http/routes.js';
import * as schemas from '../../../src/http/schemas.js';
import * as stub from '../../support/control_stub.js';

const app = apiRoutes({
  control: stub.stubControl(),
  version: '1.2.3',
  onInternalError: (route, error) => expect.fail(`${route}: ${error}`),
  onChange: () => {},
  served: {
    events: () => new Response(),
    metrics: async () => new Response(),
    capture: () => new Response(),
    page: async () => new Response(),
  },
});

interface Document {
  readonly openapi: string;
  readonly info: { readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly responses: object }>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

async function readDocument(): Promise<Document> {
  const response = await app.request('/v1/openapi.json');
  expect(response.status).toBe(200);
  return (await response.json()) as Document;
}

test('every route is in the document, and nothing else is', async () => {
  const { openapi, info, paths } = await readDocument();
  expect(openapi).toBe('3.1.0');
  expect(info.version).toBe('1.2.3');
  const served = app.routes
    .filter(({ method, path }) => method !== 'ALL' && !['/v1/openapi.json', '/', '/assets/*'].includes(path))
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`);
  const documented = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(documented.toSorted()).toEqual([...new Set(served)].toSorted());
  expect(documented.length).toBeGreaterThan(15);
});

test('every reference in the document leads somewhere', async () => {
  const document = await readDocument();
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)];
  const names = [...new Set(references.map((match) => match[1]!))];
  expect(names.filter((name) => !Object.hasOwn(document.components.schemas, name))).toEqual([]);
  expect(names).toContain('VirtualServerStatus');
});

describe('an answer is as its schema says, with nothing more', () => {
  const answers: readonly (readonly [string, z.ZodType, unknown])[] = [
    ['status', schemas.status, stub.status],
    ['virtual server', schemas.virtualServer, stub.virtualServers[0]],
    ['pool', schemas.pool, stub.pools[0]],
    ['connections', schemas.connectionsPage, { rows: [stub.connection], next: null, used: 1 }],
    ['mirror', schemas.mirror, stub.mirror],
    ['failover', schemas.failover, stub.failover],
    ['counters', schemas.counters, stub.counters],
    ['survival', schemas.survival, stub.survival],
    ['costs', schemas.costs, stub.costs],
    ['apply', schemas.applyResult, stub.applied],
  ];
  test.each(answers)('%s', (_name, schema, answer) => {
    // What a schema does not have is left out of what it gives.
    expect(schema.parse(answer)).toEqual(answer);
  });
});
