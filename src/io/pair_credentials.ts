/**
 * What a paired unit is known by: its key, its certificate, and the one certificate that it accepts of its peer.
 *
 * One file of the state directory, three PEM blocks, replaced as a whole, so that no crash leaves half of a
 * pairing. Certificates sign themselves and name nobody: the peer's is compared octet by octet. They do not
 * expire, because a unit must not depend on its clock to find its peer.
 */

import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import { chownSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';

/** PEM texts. */
export interface Identity {
  readonly key: string;
  readonly certificate: string;
}

export interface PairCredentials extends Identity {
  readonly peerCertificate: string;
}

const FILE = 'pair.pem';
/** No well-defined expiration date: RFC 5280, section 4.1.2.5. */
const NOT_AFTER = new Date('9999-12-31T23:59:59Z');
const NOT_BEFORE = new Date('2000-01-01T00:00:00Z');

/** A new key (P-256) and a certificate that it signs itself. */
export async function makeIdentity(name = hostname()): Promise<Identity> {
  // Loaded when asked for: the daemon never makes a certificate.
  const { PemConverter, X509CertificateGenerator } = await import('@peculiar/x509');
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    // Positive, as RFC 5280 section 4.1.2.2 wants it.
    serialNumber: `01${randomBytes(15).toString('hex')}`,
    name: [{ CN: [`tandem ${name}`.slice(0, 64)] }],
    notBefore: NOT_BEFORE,
    notAfter: NOT_AFTER,
    signingAlgorithm: algorithm,
    keys,
  });
  const key = PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
  return { key: `${key}\n`, certificate: `${certificate.toString('pem')}\n` };
}

export function credentialsFile(directory: string): string {
  return join(directory, FILE);
}

/** Null when the unit is not paired. Throws when the file is there and is not what it should be. */
export function readCredentials(directory: string): PairCredentials | null {
  const file = credentialsFile(directory);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new Error(`cannot read ${file}: ${(error as Error).message}`);
  }
  const [key, certificate, peerCertificate] = text.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----\n?/g) ?? [];
  if (key === undefined || certificate === undefined || peerCertificate === undefined) {
    throw new Error(`${file} does not hold a key and two certificates: pair the units again`);
  }
  return { key, certificate, peerCertificate };
}

/** Replaces what was there. Who owns the directory owns the file: the daemon may be another user. */
export function writeCredentials(directory: string, credentials: PairCredentials): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = credentialsFile(directory);
  const { key, certificate, peerCertificate } = credentials;
  writeFileSync(`${file}.new`, [key, certificate, peerCertificate].join(''), { mode: 0o600, flush: true });
  const { uid, gid } = statSync(directory);
  if (process.getuid?.() === 0) chownSync(`${file}.new`, uid, gid);
  renameSync(`${file}.new`, file);
}

/** SHA-256 over the certificate's DER form, in hex: what two operators compare by telephone. */
export function fingerprint(certificate: string): string {
  return createHash('sha256').update(new X509Certificate(certificate).raw).digest('hex');
}

/** The credentials as they stand in the directory: pairing anew holds from the next connection on. */
export class CredentialStore {
  readonly #directory: string;
  #version = '';
  #credentials: PairCredentials | null = null;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** As readCredentials(). The file is read only when it has changed. */
  current(): PairCredentials | null {
    const version = versionOf(credentialsFile(this.#directory));
    if (version !== this.#version) {
      this.#credentials = readCredentials(this.#directory);
      this.#version = version;
    }
    return this.#credentials;
  }
}

function versionOf(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.ino} ${stat.mtimeMs} ${stat.size}`;
}
