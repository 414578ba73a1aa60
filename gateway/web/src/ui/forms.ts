import { html, nothing, type TemplateResult } from "lit";

/** What a field of a form is beside its name. */
export interface FieldOptions {
  type?: string;
  autocomplete?: string;
  minlength?: number;
  pattern?: string;
  hint?: string;
  optional?: boolean;
}

/** A labelled field. */
export function field(name: string, label: string, options: FieldOptions = {}): TemplateResult {
  const { type = "text", autocomplete, minlength, pattern, hint, optional = false } = options;
  return html`<label for=${name}>${label}</label>
    <input
      id=${name}
      name=${name}
      type=${type}
      autocomplete=${(autocomplete ?? nothing) as string}
      minlength=${minlength ?? nothing}
      pattern=${pattern ?? nothing}
      aria-describedby=${hint ? `${name}-hint` : nothing}
      ?required=${!optional}
    />
    ${hint ? html`<small id="${name}-hint">${hint}</small>` : nothing}`;
}

/** Return the path of this site that `?next=` asks to go on to. */
export function nextPath(): string {
  const next = new URL(new URLSearchParams(location.search).get("next") ?? "/", location.origin);
  // Whoever made the link must not lead away from here.
  return next.origin === location.origin ? `${next.pathname}${next.search}` : "/";
}

/** Return the address of the sign-in page that leads back here. */
export function signInPath(): string {
  return `/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
}

/** Return what this browser calls itself in a list of devices. */
export function deviceName(): string {
  const browsers: [RegExp, string][] = [
    [/Edg\//, "Edge"],
    [/Firefox\//, "Firefox"],
    [/Chrome\//, "Chrome"],
    [/Safari\//, "Safari"],
  ];
  const systems: [RegExp, string][] = [
    [/Android/, "Android"],
    [/iPhone|iPad/, "iOS"],
    [/Mac OS/, "macOS"],
    [/Windows/, "Windows"],
    [/Linux/, "Linux"],
  ];
  const known = (list: [RegExp, string][]) =>
    list.find(([pattern]) => pattern.test(navigator.userAgent))?.[1] ?? "unknown";
  return `${known(browsers)} on ${known(systems)}`;
}
