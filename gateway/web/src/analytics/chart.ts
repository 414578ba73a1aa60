import { html, LitElement, nothing, type TemplateResult } from "lit";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

/** One line of a chart. */
export interface Line {
  label: string;
  values: readonly (number | null)[];
  /** Name of a color of the style sheet, such as "accent". */
  color: string;
  kind?: "line" | "area" | "bars";
  /** Not by color alone. */
  dashed?: boolean;
}

/** What a chart shows. */
export interface ChartData {
  title: string;
  /** What is measured, in a sentence. */
  note?: string;
  x: readonly number[];
  /** Writes a place on the x axis for the table and the reading under the pointer. */
  formatX: (x: number) => string;
  /** Whether x is a time (seconds since 1970; UTC or the reader's own) or something else, which `formatX` writes. */
  axis: "utc" | "local" | "other";
  lines: readonly Line[];
  format: (value: number) => string;
  /** Writes a value beside the y axis; as `format` where it is undefined. */
  formatY?: (value: number) => string;
  /** Top of the y axis; by the values where it is undefined. */
  top?: number;
  /** Charts with the same word show the same place under the pointer. */
  sync?: string;
}

const HEIGHT = 200;

/** Show a chart. */
export function chart(data: ChartData): TemplateResult {
  return html`<reelmesh-chart .data=${data}></reelmesh-chart>`;
}

/** `<reelmesh-chart>`: a chart by uPlot, what is under the pointer, and the same as a table. */
class ChartElement extends LitElement {
  #data: ChartData | undefined;
  #plot: uPlot | undefined;
  /** What the plot was made for; another shape needs another plot. */
  #shape = "";
  /** Place of the pointer among the x values. */
  #under: number | undefined;
  readonly #size = new ResizeObserver(() => this.#fit());
  readonly #scheme = matchMedia("(prefers-color-scheme: dark)");
  readonly #recolor = () => this.#replot();

  get data(): ChartData | undefined {
    return this.#data;
  }

  set data(data: ChartData | undefined) {
    this.#data = data;
    this.requestUpdate();
  }

  protected override createRenderRoot(): HTMLElement {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#size.observe(this);
    this.#scheme.addEventListener("change", this.#recolor);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#size.disconnect();
    this.#scheme.removeEventListener("change", this.#recolor);
    this.#plot?.destroy();
    this.#plot = undefined;
  }

  protected override updated(): void {
    const data = this.#data;
    if (data === undefined) {
      return;
    }
    const shape = `${data.axis} ${data.top} ${data.lines.map(({ label, kind }) => label + kind).join()}`;
    if (this.#plot === undefined || shape !== this.#shape) {
      this.#shape = shape;
      this.#replot();
    } else {
      this.#plot.setData(columns(data));
    }
  }

  protected override render() {
    const data = this.#data;
    if (data === undefined) {
      return nothing;
    }
    const { title, note, lines } = data;
    return html`<figure class="chart">
      <figcaption>
        <h3>${title}</h3>
        ${note ? html`<p>${note}</p>` : nothing}
        <ul class="legend">
          ${lines.map((line) => this.#reading(data, line))}
          ${this.#under === undefined ? nothing : html`<li class="at">${data.formatX(data.x[this.#under] ?? 0)}</li>`}
        </ul>
      </figcaption>
      <div class="plot" role="img" aria-label=${summary(data)}></div>
      <details>
        <summary>${title} as a table</summary>
        <div class="scroll">${table(data)}</div>
      </details>
    </figure>`;
  }

  /** A line's name, and its value under the pointer, else the last. */
  #reading({ x, format }: ChartData, { label, values, color, dashed }: Line) {
    const index = this.#under ?? lastIndex(values, x.length);
    const value = index === undefined ? undefined : values[index];
    return html`<li>
      <span class="swatch" ?data-dashed=${dashed} style="color: var(--${color})"></span>
      ${label} <strong>${value === null || value === undefined ? "–" : format(value)}</strong>
    </li>`;
  }

  #replot(): void {
    const data = this.#data;
    const place = this.querySelector<HTMLElement>(".plot");
    if (data === undefined || place === null) {
      return;
    }
    this.#plot?.destroy();
    const read = (plot: uPlot) => {
      const under = plot.cursor.idx ?? undefined;
      if (under !== this.#under) {
        this.#under = under;
        this.requestUpdate();
      }
    };
    this.#plot = new uPlot(options(data, place, read), columns(data), place);
  }

  #fit(): void {
    const width = this.querySelector(".plot")?.clientWidth ?? 0;
    if (width > 0 && width !== this.#plot?.width) {
      this.#plot?.setSize({ width, height: HEIGHT });
    }
  }
}

function columns({ x, lines }: ChartData): uPlot.AlignedData {
  return [[...x], ...lines.map(({ values }) => [...values])];
}

function options(data: ChartData, place: HTMLElement, read: (plot: uPlot) => void): uPlot.Options {
  const color: Color = (name, alpha = 1) => resolved(place, name, alpha);
  const { axis, format, formatX, formatY = format, top } = data;
  const timed = axis !== "other";
  const bars = data.lines.some(({ kind }) => kind === "bars");
  const common = {
    stroke: color("quiet"),
    font: "12px system-ui, sans-serif",
    grid: { stroke: color("line"), width: 1 },
    ticks: { stroke: color("line"), width: 1, size: 4 },
  };
  return {
    width: place.clientWidth || 300,
    height: HEIGHT,
    ...(axis === "utc" ? { tzDate: (x: number) => uPlot.tzDate(new Date(x * 1000), "Etc/UTC") } : {}),
    legend: { show: false },
    cursor: { y: false, drag: { setScale: false }, ...(data.sync ? { sync: { key: data.sync } } : {}) },
    hooks: { setCursor: [read] },
    scales: {
      x: { time: timed, range: (plot) => around(plot.data[0] as number[], bars) },
      y: { range: (_, _least, most) => [0, top ?? (most > 0 ? most * 1.12 : 1)] },
    },
    axes: [
      { ...common, ...(timed ? {} : { values: (_: uPlot, splits: number[]) => splits.map(formatX) }) },
      { ...common, size: 60, values: (_, splits) => splits.map(formatY) },
    ],
    series: [{}, ...data.lines.map((line) => drawn(line, color))],
  };
}

/** Gives a color by its name, as a canvas takes it. */
type Color = (name: string, alpha?: number) => string;

function drawn({ label, kind = "line", color: name, dashed }: Line, color: Color): uPlot.Series {
  const { bars } = uPlot.paths;
  return {
    label,
    stroke: color(name),
    width: kind === "bars" ? 0 : 2,
    points: { show: false },
    ...(dashed ? { dash: [6, 4] } : {}),
    ...(kind === "line" ? {} : { fill: color(name, kind === "bars" ? 0.85 : 0.18) }),
    ...(kind === "bars" && bars ? { paths: bars({ size: [0.75, 48], radius: 0.15 }) } : {}),
  };
}

/** Bars need room for their halves at both ends; a single value some room at all. */
function around(x: readonly number[], bars: boolean): [number, number] {
  const [first = 0, second = first + 60] = x;
  const half = bars || x.length < 2 ? (second - first) / 2 : 0;
  return [first - half, (x.at(-1) ?? first) + half];
}

/** Return a color of the style sheet as a canvas takes it, in the scheme that is shown. */
function resolved(place: HTMLElement, name: string, alpha: number): string {
  const probe = document.createElement("span");
  probe.style.color = `color-mix(in srgb, var(--${name}) ${100 * alpha}%, transparent)`;
  place.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function lastIndex(values: readonly (number | null)[], length: number): number | undefined {
  for (let index = length - 1; index >= 0; index -= 1) {
    if (values[index] !== null && values[index] !== undefined) {
      return index;
    }
  }
  return undefined;
}

/** What the picture says, for who does not see it. */
function summary({ title, x, formatX, lines, format }: ChartData): string {
  const said = lines.map(({ label, values }) => {
    const known = values.filter((value) => value !== null);
    const extremes = `from ${format(Math.min(...known))} to ${format(Math.max(...known))}`;
    return `${label}: ${known.length > 0 ? extremes : "nothing measured"}`;
  });
  const [first, last] = [x[0], x.at(-1)];
  const span = first === undefined || last === undefined ? "" : `, ${formatX(first)} to ${formatX(last)}`;
  return `${title}${span}. ${said.join("; ")}.`;
}

function table({ x, formatX, lines, format }: ChartData) {
  return html`<table>
    <thead>
      <tr><th scope="col"></th>${lines.map(({ label }) => html`<th scope="col">${label}</th>`)}</tr>
    </thead>
    <tbody>
      ${x.map(
        (place, index) =>
          html`<tr>
            <th scope="row">${formatX(place)}</th>
            ${lines.map(({ values }) => html`<td>${values[index] == null ? "–" : format(values[index])}</td>`)}
          </tr>`,
      )}
    </tbody>
  </table>`;
}

customElements.define("reelmesh-chart", ChartElement);
