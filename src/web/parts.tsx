/** What pages are made of. */

import { type ComponentChildren, Fragment } from 'preact';

export type Tone = 'good' | 'warn' | 'bad' | 'plain';

/** Never by colour alone: the word says it, too. */
export function Badge({ tone, children }: { readonly tone: Tone; readonly children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

export function Card({ title, children }: { readonly title: ComponentChildren; readonly children: ComponentChildren }) {
  return (
    <section class="card">
      <h2>{title}</h2>
      {children}
    </section>
  );
}

export type FactRow = readonly [term: string, value: ComponentChildren];

export function Facts({ rows }: { readonly rows: readonly FactRow[] }) {
  return (
    <dl>
      {rows.map(([term, value]) => (
        <Fragment key={term}>
          <dt>{term}</dt>
          <dd>{value}</dd>
        </Fragment>
      ))}
    </dl>
  );
}

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => ComponentChildren;
  /** Figures stand under each other. */
  readonly figures?: boolean;
}

interface TableProps<Row> {
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[] | null;
  readonly keyOf: (row: Row, index: number) => string;
  /** Said when there are no rows. */
  readonly empty: string;
}

/** On a narrow screen each row becomes a block of its own, where `data-title` names each value. */
export function Table<Row>({ caption, columns, rows, keyOf, empty }: TableProps<Row>) {
  return (
    <table>
      <caption>{caption}</caption>
      <thead>
        <tr>
          {columns.map(({ title, figures }) => (
            <th key={title} scope="col" class={figures ? 'figures' : ''}>
              {title}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows?.map((row, index) => (
          <tr key={keyOf(row, index)}>
            {columns.map(({ title, cell, figures }) => (
              <td key={title} data-title={title} class={figures ? 'figures' : ''}>
                <span>{cell(row)}</span>
              </td>
            ))}
          </tr>
        ))}
        {(rows === null || rows.length === 0) && (
          <tr>
            <td class="empty" colSpan={columns.length}>
              {rows === null ? 'Not known yet.' : empty}
            </td>
          </tr>
        )}
      </tbody>
    </table>
  );
}

interface ChoiceProps<Value extends string> {
  readonly label: string;
  readonly values: readonly Value[];
  readonly chosen: Value | null;
  readonly onChoose: (value: Value) => void;
}

/** Buttons of which one is pressed. */
export function Choice<Value extends string>({ label, values, chosen, onChoose }: ChoiceProps<Value>) {
  return (
    <fieldset class="choice">
      <legend class="unseen">{label}</legend>
      {values.map((value) => (
        <button key={value} type="button" aria-pressed={value === chosen} onClick={() => onChoose(value)}>
          {value}
        </button>
      ))}
    </fieldset>
  );
}

/** What became of the last change; its line is there before it says anything. */
export function Outcome({ text, isError }: { readonly text: string; readonly isError: boolean }) {
  return (
    <output class={`outcome ${isError ? 'bad' : 'good'}`} aria-live="polite">
      {text}
    </output>
  );
}
