/** A whole, valid config to start from; tests change one thing in it. */

import { loadConfig } from '../../src/config/load.js';
import type { Config } from '../../src/config/model.js';

export const validConfig = `\
links: [client, server]
units:
  a:
    links:
      client: { interface: a-client, addresses: [10.1.0.2, "fd01::2"] }
      server: { interface: a-server, addresses: [10.2.0.2, "fd02::2"] }
    mirror: { address: 10.9.0.1 }
  b:
    links:
      client: { interface: b-client, addresses: [10.1.0.3, "fd01::3"] }
      server: { interface: b-server, addresses: [10.2.0.3, "fd02::3"] }
    mirror: { address: 10.9.0.2 }
trafficGroups:
  main:
    virtualRouterId: 51
    priority: { a: 150, b: 100 }
    floating:
      client: [10.1.0.1, "fd01::1"]
      server: [10.2.0.1, "fd02::1"]
pools:
  web:
    monitor: { type: http, path: /health }
    members:
      - { address: 10.2.0.11, port: 80 }
      - { address: 10.2.0.12, port: 80 }
  web6:
    members:
      - { address: "fd02::11", port: 80 }
virtualServers:
  www: { address: 10.1.0.100, port: 80, pool: web, trafficGroup: main, mirror: async }
  www6: { address: "fd01::100", port: 80, pool: web6, trafficGroup: main }
`;

/** `validConfig` with `from` replaced by `to`; throws when `from` is not there exactly once. */
export function changed(from: string, to: string, text = validConfig): string {
  if (text.split(from).length !== 2) throw new Error(`'${from}' is not in the config exactly once`);
  return text.replace(from, () => to);
}

/** The loaded config of a text that must be valid. */
export function loaded(text = validConfig): Config {
  const result = loadConfig(text, 'tandem.yaml');
  if (!result.ok) throw new Error(result.errors.map(({ path, message }) => `${path}: ${message}`).join('\n'));
  return result.config;
}
