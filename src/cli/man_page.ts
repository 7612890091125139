/** The manual page, tandem(1), written from the descriptions that the command line itself has. Pure. */

import type { buildCli } from './app.js';
import { BIGIP_PHRASES } from './bigip_words.js';
import { commandsOf, type DocumentedCommand } from './commands.js';

/** roff, for man(7). */
export function manPage(cli: ReturnType<typeof buildCli>, version: string): string {
  const commands = commandsOf(cli);
  return `${[
    `.\\" Written by scripts/docs; change the command's description instead.`,
    `.TH TANDEM 1 "" "tandem ${version}" "Tandem"`,
    '.SH NAME',
    `tandem \\- ${escaped('a layer-4 load balancer in pairs')}`,
    '.SH SYNOPSIS',
    '.B tandem',
    '.I command',
    '.RI [ flags ]',
    '.SH DESCRIPTION',
    ...paragraphs(commands.about),
    '.SH COMMANDS',
    ...commands.commands.flatMap(commandLines),
    ".SH BIG\\-IP'S WORDS",
    'These are understood as they stand.',
    ...BIGIP_PHRASES.flatMap(({ theirs, ours }) => [
      '.TP',
      `.B tandem ${escaped(theirs.join(' '))}`,
      `tandem ${escaped(ours.join(' '))}`,
    ]),
    '.SH EXIT STATUS',
    '.TP\n0\ndone',
    '.TP\n1\nrefused or failed, or something was found wrong',
    '.TP\n2\nthe command was not understood',
    '.TP\n3\nno daemon answers',
    '.SH ENVIRONMENT',
    ".TP\n.B TANDEM_SOCKET\nthe daemon's socket, where \\-\\-socket is not given",
    '.TP\n.B STATE_DIRECTORY\nwhere a unit keeps what must outlive it, where \\-\\-state is not given; systemd sets it',
    '.TP\n.B NO_COLOR\nif not empty, nothing is coloured',
    '.SH FILES',
    '.TP\n.I /run/tandem/tandem.sock\nthe socket on which the daemon is asked',
    '.TP\n.I /var/lib/tandem\nkeys, certificates and config revisions',
  ].join('\n')}\n`;
}

function commandLines({ words, usage, brief, description, flags, positionals }: DocumentedCommand): string[] {
  return [
    `.SS "tandem ${escaped([...words, ...usage].join(' '))}"`,
    ...paragraphs(description ?? `${brief}.`),
    ...positionals.flatMap(({ placeholder, brief: about }) => ['.TP', `.I ${escaped(placeholder)}`, escaped(about)]),
    ...flags.flatMap(({ text, brief: about }) => ['.TP', `.B ${escaped(text)}`, escaped(about)]),
  ];
}

function paragraphs(text: string): string[] {
  return text.split('\n').map((line) => (line === '' ? '.PP' : escaped(line)));
}

/** A dash is a dash, and no line of ours is a request of roff's. */
function escaped(text: string): string {
  const plain = text.replaceAll('\\', '\\e').replaceAll('-', '\\-');
  return /^[.']/.test(plain) ? `\\&${plain}` : plain;
}
