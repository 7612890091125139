/** What a section of the benchmark is and what it hands back. */

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

export interface Section {
  readonly name: string;
  readonly needsRoot: boolean;
  run(effort: Effort): Promise<SectionResult>;
}
