import { defineConfig } from 'vitest/config';

// `units`: everything that needs no network. `lab`: network namespaces and daemons, one file after another, since
// they share two cores with their own traffic.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'units',
          include: ['test/**/*.test.ts'],
          exclude: ['test/lab/**', 'test/interop/**', 'test/packages/**'],
          pool: 'forks',
          // A test that hangs, not one that a busy machine holds up.
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'lab',
          include: ['test/lab/**/*.test.ts', 'test/interop/**/*.test.ts'],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
