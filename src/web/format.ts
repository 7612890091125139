/** Figures and times as text. Pure. */

const whole = new Intl.NumberFormat('en');
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });

export const count = (value: number) => whole.format(value);

/** 1234567 as `1.23M`; below 1000 as it is. */
export const compact = (value: number) => short.format(value);

/** `999 B`, `1.5 GB`: powers of 1000. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'] as const;
  const power = Math.min(units.length - 1, value < 1 ? 0 : Math.floor(Math.log10(value) / 3));
  return `${Number((value / 1000 ** power).toPrecision(3))} ${units[power]}`;
}

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** `45 s`, `12 min`, `3 h 20 min`, `5 d 2 h`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** In the reader's time zone: `2024-03-01 12:00:00`. */
export function moment(iso: string): string {
  return new Date(iso).toLocaleString('sv-SE');
}

export function milliseconds(value: number): string {
  if (value >= 10_000) return duration(value / 1_000);
  return `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)} ms`;
}

/** The daemon's words for why: `peer_silent` as `peer silent`. */
export const sentence = (reason: string) => reason.replaceAll('_', ' ');

export function ports(first: number, last: number): string {
  if (first === 0) return 'any port';
  return first === last ? `port ${first}` : `ports ${first}-${last}`;
}
