/** The config reference, written from the schema: what docs/config.md says. Pure. */

/** The part of JSON Schema (2020-12) that config/schema.ts makes. */
interface Shape {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Shape[];
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly additionalProperties?: Shape | boolean;
  readonly items?: Shape;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly multipleOf?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
}

interface Row {
  readonly path: string;
  readonly shape: Shape;
  readonly required: boolean;
}

const INTRODUCTION = `# The config file

Written by \`scripts/docs\` from the schema that checks it (\`src/config/schema.ts\`): do not edit it here.

One YAML file, the same on both units. \`tandem check FILE\` names every fault with line and column, \`tandem
apply FILE\` puts it in force on both. \`NAME\` stands for a name of your choice (1 to 63 letters, digits, dots,
dashes and underscores), \`[]\` for each entry of a list. What needs more than one place to decide (addresses
used twice, families, references) is checked, too, and told the same way.

Editors that know the YAML language server complete and check the file as it is typed, with the schema beside
this page (\`tandem schema\` prints it) named in the first line:

\`\`\`
# yaml-language-server: $schema=docs/tandem.schema.json
\`\`\`

Those that look for a key instead may have \`$schema: docs/tandem.schema.json\`: it is accepted and means
nothing to Tandem. Paths are relative to the config file.
`;

/** `schema`: what configJsonSchema() gives. */
export function configReference(schema: unknown): string {
  const root = schema as Shape;
  const keys = Object.entries(root.properties ?? {}).filter(([name]) => name !== '$schema');
  const sections = keys.map(([name, shape]) => {
    const required = root.required?.includes(name) ?? false;
    const rows = rowsOf(name, shape, required);
    const head = rows.length > 1 ? rows.slice(1) : rows;
    const note = shape.description === undefined || rows.length === 1 ? [] : [shape.description, ''];
    const table = ['| key | value | default | |', '|---|---|---|---|', ...head.map(tableRow)];
    return [`## ${name}`, '', ...note, ...table].join('\n');
  });
  return `${[INTRODUCTION.trimEnd(), ...sections].join('\n\n')}\n`;
}

/** The key itself, then what stands below it. `NAME` stands for any name, `[]` for each entry of a list. */
function rowsOf(path: string, shape: Shape, required: boolean): Row[] {
  const below = [shape, ...(shape.anyOf ?? [])].flatMap((each) => rowsBelow(path, each));
  return [{ path, shape, required }, ...below];
}

function rowsBelow(path: string, shape: Shape): Row[] {
  const named = Object.entries(shape.properties ?? {}).flatMap(([name, inner]) =>
    rowsOf(`${path}.${name}`, inner, shape.required?.includes(name) ?? false),
  );
  const any = shape.additionalProperties;
  const others = typeof any === 'object' ? rowsBelow(`${path}.NAME`, any) : [];
  const leaf = typeof any === 'object' && others.length === 0 ? [] : others;
  const entries = shape.items === undefined ? [] : rowsBelow(`${path}[]`, shape.items);
  return [...named, ...leaf, ...entries];
}

function tableRow({ path, shape, required }: Row): string {
  const standard = shape.default === undefined ? (required ? 'must be given' : '') : code(shape.default);
  const cells = [`\`${path}\``, valueText(shape), standard, shape.description ?? ''];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** What may stand there: `1 to 65535`, `tcp`, `http` or `icmp`, a list, a section. */
function valueText(shape: Shape): string {
  if (shape.anyOf !== undefined) return [...new Set(shape.anyOf.map(valueText))].join(', or ');
  if (shape.enum !== undefined) return shape.enum.map(code).join(', ');
  if (shape.const !== undefined) return code(shape.const);
  switch (shape.type) {
    case 'integer':
    case 'number':
      return numberText(shape);
    case 'boolean':
      return '`true`, `false`';
    case 'array':
      return listText(shape);
    case 'object':
      return typeof shape.additionalProperties === 'object' ? mapText(shape.additionalProperties) : 'section';
    default:
      return 'text';
  }
}

function mapText(values: Shape): string {
  const value = valueText(values);
  return value === 'section' ? 'a section for each name' : `by name: ${value}`;
}

function listText({ items, minItems, maxItems }: Shape): string {
  const what = items === undefined ? '' : valueText(items);
  const bounds = maxItems === undefined ? '' : `, ${minItems ?? 0} to ${maxItems}`;
  return `list of ${what === 'section' ? 'sections' : what}${bounds}`;
}

function numberText({ type, minimum, maximum, multipleOf }: Shape): string {
  const kind = type === 'integer' ? '' : 'number, ';
  const steps = multipleOf === undefined ? '' : `, a multiple of ${multipleOf}`;
  return `${kind}${figure(minimum)} to ${figure(maximum)}${steps}`;
}

/** zod's bound of a whole number without one. */
function figure(value: number | undefined): string {
  return value === undefined || Math.abs(value) >= Number.MAX_SAFE_INTEGER ? 'any' : String(value);
}

function code(value: unknown): string {
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
}
