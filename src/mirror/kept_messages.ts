/**
 * Messages of a channel that were sent and are not known to have been received, by their number: what another path
 * begins with. The first message of a channel is number 1. Bounded by who adds.
 */

export class KeptMessages<Item> {
  /** Items from `#head` on; those before it are gone. */
  #items: (Item | undefined)[] = [];
  #head = 0;
  /** Number of the item at `#head`. */
  #first = 1;

  /** Of the message added last. */
  get last(): number {
    return this.#first + this.length - 1;
  }

  get length(): number {
    return this.#items.length - this.#head;
  }

  add(item: Item): void {
    this.#items.push(item);
  }

  /** Everything above `received`, oldest first; null when some of that is no longer kept, or never was sent. */
  above(received: number): readonly Item[] | null {
    if (received < this.#first - 1 || received > this.last) return null;
    return this.#items.slice(this.#head + received - (this.#first - 1)) as Item[];
  }

  /** Lets go of everything up to a number, the oldest first. A number never sent is refused with false. */
  release(upTo: number, each: (item: Item) => void): boolean {
    if (upTo > this.last) return false;
    while (this.#first <= upTo) this.#drop(each);
    return true;
  }

  /** Lets go of the oldest as long as the newest of those that fulfil a condition is among them. */
  releaseThrough(isLast: (item: Item) => boolean, each: (item: Item) => void): void {
    let upTo = this.#first - 1;
    for (let at = this.#head; at < this.#items.length; at += 1) {
      if (isLast(this.#items[at] as Item)) {
        upTo = this.#first + at - this.#head;
        break;
      }
    }
    this.release(upTo, each);
  }

  clear(each: (item: Item) => void): void {
    this.release(this.last, each);
    this.#items = [];
    this.#head = 0;
    this.#first = 1;
  }

  #drop(each: (item: Item) => void): void {
    const item = this.#items[this.#head] as Item;
    this.#items[this.#head] = undefined;
    this.#head += 1;
    this.#first += 1;
    each(item);
    if (this.#head < 1_024 || this.#head * 2 < this.#items.length) return;
    this.#items = this.#items.slice(this.#head);
    this.#head = 0;
  }
}
