/** What a section of the benchmark is, what it is given and what it hands back. */

import type { Standing } from './contenders.js';
import type { Ground } from './ground.js';

/** What one row of a table stands for. A ratio's samples are made round by round, never of two medians. */
export interface Row {
  readonly name: string;
  readonly unit: string;
  /** CPU cores that this row's work may use, generator and sink included. */
  readonly cores: number;
  /** One figure per round. */
  readonly samples: readonly number[];
  /** What the figure has to reach, where something was promised. */
  readonly bound?: Bound;
}

export interface Bound {
  readonly better: 'lower' | 'higher';
  readonly must: number;
  readonly aim: number;
}

export interface Chart {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  /** Names of rows, in the order of the bars. */
  readonly rows: readonly string[];
}

export interface SectionResult {
  readonly section: string;
  readonly title: string;
  readonly rows: readonly Row[];
  readonly charts: readonly Chart[];
  /** How it was measured; goes under the table. */
  readonly notes: readonly string[];
}

export interface Effort {
  readonly quick: boolean;
  readonly rounds: number;
}

/** Where sections that need root do their work. */
export interface Place {
  readonly ground: Ground;
  /** The contenders with their networks, made when first asked for and shared by the sections that forward frames. */
  standing(): Promise<readonly Standing[]>;
}

interface Common {
  readonly name: string;
  /** Runs only when it is named. */
  readonly onRequest?: boolean;
  /** Whether it uses what Place.standing() gives; others run without it beside them. */
  readonly forwards?: boolean;
}

export type Section = Common &
  (
    | { readonly needsRoot: false; run(effort: Effort): Promise<SectionResult> }
    | { readonly needsRoot: true; run(effort: Effort, place: Place): Promise<SectionResult> }
  );
