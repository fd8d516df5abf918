// The options of the model for the next session: a form made from the JSON Schema that the server describes. An empty
// field leaves the option to the model.

export class ModelOptions {
  #box;
  #schema = null;
  #fields = {};
  #onChange;

  // box: where the rows go.
  constructor(box, onChange) {
    this.#box = box;
    this.#onChange = onChange;
  }

  // schema: info.options; null for a model without options. What was filled in stays while the schema is the same.
  describe(schema) {
    if (JSON.stringify(schema) === JSON.stringify(this.#schema)) return;
    this.#schema = schema;
    this.#fields = {};
    const rows = Object.entries(schema?.properties ?? {}).map(([name, property]) => this.#row(name, property));
    this.#box.replaceChildren(...rows);
    this.#check();
  }

  get isEmpty() {
    return Object.keys(this.#fields).length === 0;
  }

  // The `options` field of start: only what was filled in.
  get given() {
    const given = {};
    for (const [name, { input, read }] of Object.entries(this.#fields)) {
      if (input.value.trim() === "") continue;
      const value = read(input.value);
      if (value !== undefined) given[name] = value;
    }
    return given;
  }

  // The first thing that is wrong, in words; null when nothing is.
  get problem() {
    for (const [name, { input }] of Object.entries(this.#fields)) {
      if (!input.validity.valid) return `${name}: ${input.validationMessage}`;
    }
    return null;
  }

  #row(name, property) {
    const required = (this.#schema.required ?? []).includes(name);
    const kind = bare(property, this.#schema);
    const usual = property.default;
    const { input, read } = control(kind, usual);
    const id = `option-${name}`;
    input.id = id;
    input.required = required;
    const label = document.createElement("label");
    label.htmlFor = id;
    label.textContent = name.replaceAll("_", " ");
    const row = document.createElement("div");
    row.className = "option";
    row.append(label, input);
    const about = [
      property.description ?? kind.description,
      required ? "Required." : isNothing(usual) ? null : `The model has ${JSON.stringify(usual)}.`,
    ].filter(Boolean);
    if (about.length > 0) {
      const note = document.createElement("p");
      note.id = `${id}-about`;
      note.className = "about";
      note.textContent = about.join(" ");
      input.setAttribute("aria-describedby", note.id);
      row.append(note);
    }
    input.addEventListener("input", () => {
      const isUnreadable = input.value.trim() !== "" && read(input.value) === undefined;
      input.setCustomValidity(isUnreadable ? "expected JSON" : "");
      this.#check();
      this.#onChange();
    });
    this.#fields[name] = { input, read };
    return row;
  }

  #check() {
    for (const { input } of Object.values(this.#fields)) {
      input.setAttribute("aria-invalid", String(!input.validity.valid));
    }
  }
}

// Whether a default says nothing that a person would want to read.
function isNothing(value) {
  return value === undefined || value === null || ['""', "[]", "{}"].includes(JSON.stringify(value));
}

// The schema of a field without its references and without null.
function bare(property, schema) {
  const resolve = (one) => (one.$ref === undefined ? one : (schema.$defs?.[one.$ref.split("/").pop()] ?? {}));
  const kinds = (resolve(property).anyOf ?? [property]).map(resolve);
  const others = kinds.filter((kind) => kind.type !== "null");
  return others.length === 1 ? others[0] : {};
}

// The form control for a value of this kind, and how its text becomes the value; undefined for text that is none.
function control(kind, usual) {
  if (kind.enum !== undefined || kind.type === "boolean") {
    const values = kind.enum ?? [true, false];
    const select = document.createElement("select");
    select.append(new Option("as the model has it", ""));
    values.forEach((value) => select.append(new Option(String(value), JSON.stringify(value))));
    return { input: select, read: JSON.parse };
  }
  if (kind.type === "integer" || kind.type === "number") {
    const { minimum, maximum } = kind;
    const input = element("input", { type: "number", step: kind.type === "integer" ? "1" : "any" });
    if (minimum !== undefined) input.min = minimum;
    if (maximum !== undefined) input.max = maximum;
    input.placeholder = usual ?? "";
    return { input, read: Number };
  }
  if (kind.type === "string") {
    const input = element("input", { type: "text", autocomplete: "off" });
    if (kind.maxLength !== undefined) input.maxLength = kind.maxLength;
    if (kind.minLength !== undefined) input.minLength = kind.minLength;
    input.placeholder = usual ?? "";
    return { input, read: (text) => text };
  }
  if (kind.type === "array" && kind.items?.type === "string") {
    const input = element("textarea", { rows: 2, placeholder: "one a line" });
    const lines = (text) => text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
    return { input, read: lines };
  }
  return { input: element("textarea", { rows: 2, placeholder: "JSON" }), read: parsed };
}

function element(name, attributes) {
  return Object.assign(document.createElement(name), attributes);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
