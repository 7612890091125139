/** What vite puts beside the scripts. */
declare module '*.css';
