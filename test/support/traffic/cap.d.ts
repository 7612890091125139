/** What the lab uses of the package `cap`. */
declare module 'cap' {
  export class Cap {
    /** `buffer` receives each frame; it must outlive the capture. Returns the link type: `ETHERNET`. */
    open(device: string, filter: string, ringBytes: number, buffer: Buffer): string;
    setMinBytes?(bytes: number): void;
    on(event: 'packet', listener: (bytes: number, truncated: boolean) => void): void;
    close(): void;
  }
}
