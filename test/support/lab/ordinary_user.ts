/**
 * Programs of this checkout as `nobody`. The checkout and node are bound into a mount namespace of the program's own,
 * since they may lie where nobody may look.
 */

import { dirname, join, relative } from 'node:path';

import { repositoryRoot } from './paths.js';

const checkout = '/mnt/checkout';

/** bash, as root in a mount namespace of its own: `$1` the checkout, `$2` node's folder, then setpriv's arguments. */
export const becomeNobody = `
mount -t tmpfs -o mode=0755 tandem-test /mnt
mkdir ${checkout} /mnt/node
mount --bind "$1" ${checkout}
mount --bind "$2" /mnt/node
shift 2
exec setpriv --reuid nobody --regid nogroup --clear-groups "$@"
`;

export const boundFolders: readonly string[] = [repositoryRoot, dirname(process.execPath)];
export const boundNode = '/mnt/node/node';

/** Where nobody finds a file of the checkout. */
export function boundPath(path: string): string {
  return join(checkout, relative(repositoryRoot, path));
}
