/** Completion in the shell: a script for each, which asks `tandem complete` for the words that may follow. */

import { type Application, buildChoiceParser, buildCommand, proposeCompletions } from '@stricli/core';

import type { CliContext } from './context.js';

/** Bash breaks words at colons; what stands before the last one must not be proposed again. */
const BASH = `# Completion of tandem for bash: source it, or put it at /etc/bash_completion.d/tandem.
_tandem() {
  local line=\${COMP_LINE:0:COMP_POINT}
  local word=\${line##* }
  mapfile -t COMPREPLY < <(tandem complete "$line" 2>/dev/null)
  if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
    COMPREPLY=("\${COMPREPLY[@]#"\${word%"\${word##*:}"}"}")
  fi
}
complete -o default -F _tandem tandem
`;

const ZSH = `#compdef tandem
# Completion of tandem for zsh: source it behind compinit, or put it as _tandem into a directory of $fpath.
_tandem() {
  local -a proposed
  proposed=(\${(f)"$(tandem complete "\${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)"})
  if (($#proposed)); then compadd -a proposed; else _files; fi
}
if [[ $funcstack[1] == _tandem ]]; then _tandem "$@"; else compdef _tandem tandem; fi
`;

const FISH = `# Completion of tandem for fish: source it, or put it at ~/.config/fish/completions/tandem.fish.
complete -c tandem -a '(tandem complete (string join " " (commandline -opc) (commandline -ct)) 2>/dev/null)'
`;

const SCRIPTS = { bash: BASH, zsh: ZSH, fish: FISH } as const;
type Shell = keyof typeof SCRIPTS;
const SHELLS = Object.keys(SCRIPTS) as Shell[];

export const completion = buildCommand<Record<never, never>, [shell: Shell], CliContext>({
  docs: {
    brief: `Print the script that completes commands, flags and names: completion ${SHELLS.join('|')}`,
    fullDescription: [
      'For this shell: source <(tandem completion bash), the same with zsh, or tandem completion fish | source.',
      "For all of them: write it to /etc/bash_completion.d/tandem, to _tandem in a directory of zsh's $fpath, or to",
      '~/.config/fish/completions/tandem.fish.',
      'Names of virtual servers, pools, members and traffic groups come from the daemon, where it answers.',
    ].join('\n'),
  },
  parameters: {
    positional: {
      kind: 'tuple',
      parameters: [
        {
          parse: buildChoiceParser(SHELLS),
          placeholder: 'SHELL',
          brief: SHELLS.join(', '),
          proposeCompletions: (partial: string) => SHELLS.filter((shell) => shell.startsWith(partial)),
        },
      ],
    },
  },
  func(this: CliContext, _flags, shell) {
    this.process.stdout.write(SCRIPTS[shell]);
  },
});

/** What the script calls; not shown in the help. */
export function completeCommand(application: () => Application<CliContext>) {
  return buildCommand<Record<never, never>, [line: string], CliContext>({
    docs: { brief: 'Words that may stand at the end of a command line' },
    parameters: {
      positional: { kind: 'tuple', parameters: [{ parse: String, placeholder: 'LINE', brief: 'As typed so far' }] },
    },
    async func(this: CliContext, _flags, line) {
      // Behind the program's own name; an empty word where a blank was typed last.
      const words = line.trimStart().split(/\s+/).slice(1);
      const proposed = await proposeCompletions(application(), words, { ...this, process: this.process });
      // Flags only where one was begun: they would hide the names.
      const flags = words.at(-1)?.startsWith('-') === true;
      const wanted = proposed.filter((word) => flags || !word.completion.startsWith('-'));
      for (const word of wanted) this.process.stdout.write(`${word.completion}\n`);
    },
  });
}
