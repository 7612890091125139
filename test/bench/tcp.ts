/** Section `tcp`. */

import type { Section } from './section.js';

export const tcp: Section = { name: 'tcp', needsRoot: false, run: () => Promise.reject(new Error('not yet')) };
