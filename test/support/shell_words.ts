/** A command line in a document as words, as a shell splits it: single and double quotes group, nothing is expanded. */
export function parseArguments(line: string): string[] {
  const words = line.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"]+)+/g);
  return [...words].map(([word]) => word.replaceAll(/'([^']*)'|"([^"]*)"/g, '$1$2'));
}
