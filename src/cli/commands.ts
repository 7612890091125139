/** Every command of the command line with its words, flags and descriptions, for the manual page and for tests. */

import type { Application, Command, RouteMap } from '@stricli/core';

import type { CliContext } from './context.js';

export interface DocumentedCommand {
  /** `show`, `mirror`. */
  readonly words: readonly string[];
  /** Its positional words: `NAME`, `[GROUP]`. */
  readonly usage: readonly string[];
  readonly brief: string;
  readonly description: string | undefined;
  readonly positionals: readonly { readonly placeholder: string; readonly brief: string }[];
  /** `--socket path`. */
  readonly flags: readonly { readonly name: string; readonly text: string; readonly brief: string }[];
}

type Target = Command<CliContext> | RouteMap<CliContext>;

export function commandsOf({ root }: Application<CliContext>): {
  readonly about: string;
  readonly commands: readonly DocumentedCommand[];
} {
  const target = root as Target;
  return { about: target.fullDescription ?? target.brief, commands: below([], target) };
}

function below(words: readonly string[], target: Target): DocumentedCommand[] {
  if ('getAllEntries' in target)
    return target
      .getAllEntries()
      .filter(({ hidden }) => !hidden)
      .flatMap(({ name, target: inner }) => below([...words, name['convert-camel-to-kebab']], inner));
  const { parameters, brief, fullDescription } = target;
  const { positional } = parameters;
  const tuple =
    positional === undefined ? [] : positional.kind === 'tuple' ? positional.parameters : [positional.parameter];
  const positionals = tuple.map((each, index) => ({
    placeholder: each.placeholder ?? `arg${index + 1}`,
    brief: each.brief,
    optional: each.optional === true,
  }));
  const flags = Object.entries(parameters.flags ?? {})
    .filter(([, flag]) => !('hidden' in flag && flag.hidden === true))
    .map(([name, flag]) => {
      const kebab = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
      const operand =
        flag.kind === 'enum'
          ? ` ${flag.values.join('|')}`
          : flag.kind === 'parsed'
            ? ` ${flag.placeholder ?? 'value'}`
            : '';
      const standard =
        flag.kind !== 'boolean' && 'default' in flag && flag.default !== undefined
          ? ` (default ${String(flag.default)})`
          : '';
      return { name: kebab, text: `${kebab}${operand}`, brief: `${flag.brief}${standard}` };
    });
  const usage = positionals.map(({ placeholder, optional }) => (optional ? `[${placeholder}]` : placeholder));
  return [{ words, usage, brief, description: fullDescription, positionals, flags }];
}
