/** x */
export function writeChapter(_names: readonly string[]): void {}
