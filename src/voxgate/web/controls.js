// What a person may set for the next session: the route, interim results, and the detector's values with their ranges
// as the server tells them.

const NAMES = {
  threshold: "Speech threshold",
  negative_threshold: "Silence threshold",
  prefix_padding_ms: "Padding before speech",
  suffix_padding_ms: "Padding after speech",
  silence_duration_ms: "Silence that ends speech",
  min_speech_ms: "Shortest speech",
  max_segment_s: "Longest segment",
};

export class Controls {
  #box;
  #reset;
  #options = {};
  #inputs = {};
  #onChange;

  // box: where the rows go; reset: the button that takes everything back.
  constructor(box, reset, onChange) {
    this.#box = box;
    this.#reset = reset;
    this.#onChange = onChange;
    reset.addEventListener("click", () => this.reset());
  }

  // options: info.vad.options. What was changed by hand stays.
  describe(options) {
    if (JSON.stringify(options) === JSON.stringify(this.#options)) return;
    const kept = this.changed;
    this.#options = options;
    this.#inputs = {};
    this.#box.replaceChildren(...Object.entries(options).map(([name, option]) => this.#row(name, option)));
    for (const [name, one] of Object.entries(kept)) this.#set(name, one);
    this.#check();
  }

  reset() {
    for (const [name, option] of Object.entries(this.#options)) this.#set(name, option.default);
    this.#check();
    this.#onChange();
  }

  // Only what differs from the server's own settings: the `vad` field of start.
  get changed() {
    const changed = {};
    for (const [name, { number }] of Object.entries(this.#inputs)) {
      const value = number.valueAsNumber;
      if (Number.isFinite(value) && value !== this.#options[name].default) changed[name] = value;
    }
    return changed;
  }

  // Every value as it will be.
  get values() {
    const values = {};
    for (const [name, option] of Object.entries(this.#options)) values[name] = option.default;
    return { ...values, ...this.changed };
  }

  // The first thing that is wrong, in words; null when nothing is.
  get problem() {
    for (const { number } of Object.values(this.#inputs)) {
      if (!number.validity.valid) return `${number.dataset.name}: ${number.validationMessage}`;
    }
    return null;
  }

  #row(name, { min, max, unit, type, about, default: usual }) {
    const row = document.createElement("div");
    row.className = "control";
    const id = `vad-${name}`;
    const label = document.createElement("label");
    label.htmlFor = id;
    label.textContent = NAMES[name] ?? name.replaceAll("_", " ");
    const step = type === "int" ? (max - min > 1000 ? 10 : 5) : unit === "s" ? 1 : 0.01;
    const slider = Object.assign(document.createElement("input"), { type: "range", min, max, step, value: usual });
    // The number beside it is the one for the keyboard, and for screen readers.
    slider.tabIndex = -1;
    slider.setAttribute("aria-hidden", "true");
    const number = Object.assign(document.createElement("input"), {
      type: "number", id, min, max, step: type === "int" ? 1 : "any", value: usual, required: true,
    });
    number.dataset.name = label.textContent;
    number.setAttribute("aria-describedby", `${id}-about`);
    const suffix = document.createElement("span");
    suffix.className = "unit";
    suffix.textContent = unit;
    const note = document.createElement("p");
    note.id = `${id}-about`;
    note.className = "about";
    note.textContent = `${about} ${min} to ${max}${unit ? ` ${unit}` : ""}; the server has ${usual}.`;
    slider.addEventListener("input", () => {
      number.value = slider.value;
      this.#changed(name);
    });
    number.addEventListener("input", () => {
      slider.value = number.value;
      this.#changed(name);
    });
    row.append(label, slider, number, suffix, note);
    this.#inputs[name] = { row, number, slider };
    return row;
  }

  #set(name, value) {
    const input = this.#inputs[name];
    if (input === undefined) return;
    input.number.value = value;
    input.slider.value = value;
  }

  #changed(name) {
    // One may not lie above another: the one that was not touched gives way.
    for (const [other, option] of Object.entries(this.#options)) {
      if (option.at_most === undefined) continue;
      const [low, high] = [this.#inputs[other].number, this.#inputs[option.at_most].number];
      if (low.valueAsNumber > high.valueAsNumber) {
        if (name === other) this.#set(option.at_most, low.valueAsNumber);
        else this.#set(other, high.valueAsNumber);
      }
    }
    this.#check();
    this.#onChange();
  }

  #check() {
    const changed = this.changed;
    for (const [name, { row, number }] of Object.entries(this.#inputs)) {
      row.classList.toggle("is-changed", name in changed);
      number.setAttribute("aria-invalid", String(!number.validity.valid));
    }
    this.#reset.disabled = Object.keys(changed).length === 0 && this.problem === null;
  }
}
