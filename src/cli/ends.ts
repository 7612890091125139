/** Addresses with ports as they are typed: `10.2.0.11:80`, `[fd02::11]:80`, or an address alone. */

import { parseEndpoint } from '../wire/ip_address.js';

export interface End {
  readonly address: string;
  /** 0: none said. */
  readonly port: number;
}

/** For stricli, which tells what is thrown together with the text. */
export function endOf(text: string): End {
  const end = parseEndpoint(text);
  if (end !== null) return end;
  throw new SyntaxError(`'${text}' is no address and port: write 10.2.0.11:80, [fd02::11]:80, or an address alone`);
}
