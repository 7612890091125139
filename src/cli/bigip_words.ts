/** Commands in BIG-IP's words, for fingers that know them: each is one of ours. Pure. */

export interface Phrase {
  /** Words as typed; one in angle brackets stands for any, and the same in `ours` for what was typed. */
  readonly theirs: readonly string[];
  readonly ours: readonly string[];
}

const phrase = (theirs: string, ours: string): Phrase => ({ theirs: theirs.split(' '), ours: ours.split(' ') });

/** Longer ones before those that they begin with. What follows a phrase is left as it is. */
export const BIGIP_PHRASES: readonly Phrase[] = [
  phrase('run sys failover standby traffic-group <group>', 'standby <group>'),
  phrase('run sys failover standby', 'standby'),
  phrase('show sys connection', 'show connections'),
  phrase('show sys failover', 'show failover'),
  phrase('show sys ha-mirror', 'show mirror'),
  phrase('show cm failover-status', 'show failover'),
  phrase('show cm sync-status', 'status'),
  phrase('show ltm virtual', 'show virtual'),
  phrase('show ltm pool', 'show pool'),
  phrase('load sys config', 'reload'),
  phrase('modify ltm virtual <name> mirror enabled', 'virtual <name> mirror conn enable'),
  phrase('modify ltm virtual <name> mirror disabled', 'virtual <name> mirror conn disable'),
  phrase('modify ltm virtual <name> enabled', 'virtual <name> enable'),
  phrase('modify ltm virtual <name> disabled', 'virtual <name> disable'),
];

/** `words` as ours; unchanged where they are no phrase of BIG-IP's. */
export function inOurWords(words: readonly string[]): readonly string[] {
  for (const { theirs, ours } of BIGIP_PHRASES) {
    const typed = new Map<string, string>();
    const matches = theirs.every((word, index) => {
      const said = words[index];
      if (said === undefined || !word.startsWith('<')) return said === word;
      typed.set(word, said);
      return !said.startsWith('-');
    });
    if (matches) return [...ours.map((word) => typed.get(word) ?? word), ...words.slice(theirs.length)];
  }
  return words;
}
