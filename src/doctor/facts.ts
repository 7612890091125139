/**
 * What `tandem doctor` knows of a host: read by src/io/host_facts.ts, judged by src/doctor/examine.ts. Null stands for
 * what could not be found out.
 */

import type { AddressText } from '../datapath.js';

export interface HostFacts {
  readonly node: { readonly version: string; readonly addonFault: string | null };
  /** Of Linux: `6.1.0-18-amd64`. */
  readonly release: string;
  /** The user that asks. */
  readonly user: string;
  /** In effect for this process, of those that Tandem can use: `CAP_NET_RAW`. */
  readonly capabilities: readonly string[];
  /** What may be locked in memory, octets; Infinity: any amount. */
  readonly lockableBytes: number;
  readonly hasAfXdp: boolean;
  /** The file that gives the service what AF_XDP needs, as installed with Tandem. */
  readonly xdpDropIn: string;
  readonly firewall: Firewall;
  readonly memory: MemoryFacts;
  /** By NTP or another source that the kernel trusts. */
  readonly clockSynchronized: boolean | null;
  readonly folders: readonly FolderFacts[];
  /** Those that the next four need a config for: empty without one. */
  readonly interfaces: readonly InterfaceFacts[];
  readonly linkFaults: readonly LinkFinding[];
  readonly peer: readonly PeerAnswer[];
  readonly pairing: Pairing | null;
}

export interface InterfaceFacts {
  /** The config's link name. */
  readonly link: string;
  readonly name: string;
  /** Octets. */
  readonly mtu: number | null;
  readonly driver: string | null;
  /** It receives on so many. */
  readonly queues: number | null;
  /** ethtool's names of features that are on; null: there is no ethtool here. */
  readonly featuresOn: readonly string[] | null;
}

/** As src/io/links.ts finds it. */
export interface LinkFinding {
  readonly severity: 'error' | 'warning';
  readonly code: string;
  readonly path: string;
  readonly message: string;
  readonly mend?: string;
}

export interface Firewall {
  /** Base chains that packets to or from this host go through; null: they could not be read, and why. */
  readonly chains: readonly FirewallChain[] | null;
  readonly why: string | null;
}

export interface FirewallChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook: 'input' | 'output';
  readonly policy: 'accept' | 'drop';
  /** nft's JSON of the rules of the whole table: chains jump to others. */
  readonly rules: string;
}

export interface MemoryFacts {
  readonly availableBytes: number;
  readonly hugePagesFree: number;
  readonly transparent: string | null;
}

export interface FolderFacts {
  readonly purpose: 'socket' | 'state' | 'config';
  readonly path: string;
  readonly exists: boolean;
  readonly writable: boolean;
  /** Permission bits. */
  readonly mode: number;
}

export interface PeerAnswer {
  readonly address: AddressText;
  readonly port: number;
  /** `refused`: the host answers, and no daemon listens. `no-address`: our own end is not on this host. */
  readonly outcome: 'answers' | 'refused' | 'silent' | 'unreachable' | 'no-address';
  readonly from: AddressText;
}

export type Pairing = 'paired' | 'plaintext' | 'unpaired' | { readonly fault: string };

export interface Finding {
  /** One word: what was looked at. */
  readonly check: string;
  readonly state: 'ok' | 'warning' | 'fault';
  readonly message: string;
  /** A command for root that mends it; null: there is nothing to mend, or no command can. */
  readonly mend: string | null;
}
