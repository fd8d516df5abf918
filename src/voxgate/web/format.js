// How times and values read.

// 75.3 -> "1:15.3"; hours only when there are any.
export function clock(seconds, decimals = 1) {
  const scale = 10 ** decimals;
  const units = Math.round(Math.max(0, seconds) * scale);
  const whole = Math.floor(units / scale);
  const rest = decimals ? "." + String(units % scale).padStart(decimals, "0") : "";
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return (h ? `${h}:${two(m)}` : String(m)) + `:${two(s)}${rest}`;
}

// 0.0312 -> "31 ms", 2.5 -> "2.50 s"
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 0.0005) return "< 1 ms";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 10 ? `${seconds.toFixed(2)} s` : seconds < 120 ? `${seconds.toFixed(1)} s` : clock(seconds, 0);
}

const UNITS = { hz: "Hz", dbfs: "dBFS", db: "dB", s: "s", ms: "ms" };

// A key of a model's output, as words and a unit: "pitch_hz" -> ["pitch", "Hz"].
export function label(key) {
  const words = key.split("_");
  const unit = words.length > 1 ? UNITS[words.at(-1)] : undefined;
  if (unit) words.pop();
  return [words.join(" "), unit ?? ""];
}

export function value(one) {
  if (one === null) return "none";
  if (typeof one === "number") {
    if (Number.isInteger(one)) return String(one);
    const size = Math.abs(one);
    return one.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2).replace("-", "−");
  }
  if (typeof one === "boolean") return one ? "yes" : "no";
  if (typeof one === "string") return one;
  if (Array.isArray(one)) {
    if (one.length <= 4 && one.every((item) => item === null || typeof item !== "object")) return one.map(value).join(", ");
    return one.length === 1 ? "1 item" : `${one.length} items`;
  }
  return JSON.stringify(one);
}

const TEXT_KEYS = ["text", "transcript", "transcription", "sentence"];

// The words in a model's output; undefined when it has none (an empty string means no words).
export function textOf(output) {
  const key = TEXT_KEYS.find((name) => typeof output?.[name] === "string");
  return key === undefined ? undefined : output[key].trim();
}

// The beginning of a text that has settled, and the rest: stable words are joined by single spaces, whatever stands
// between them in the text. Nothing has settled where the text has changed.
export function splitStable(text, stable) {
  let at = 0;
  for (const character of stable ?? "") {
    if (/\s/.test(character)) continue;
    while (at < text.length && /\s/.test(text[at])) at++;
    if (!text.startsWith(character, at)) return ["", text];
    at += character.length;
  }
  return [text.slice(0, at), text.slice(at)];
}

// What a model said beside its words: [name, value with unit] each. Beside words, lists and objects (of the same words,
// mostly, with their times) are left to the JSON.
export function factsOf(output) {
  const hasText = textOf(output) !== undefined;
  return Object.entries(output ?? {})
    .filter(([key, one]) => !(TEXT_KEYS.includes(key) && typeof one === "string"))
    .filter(([, one]) => !(hasText && one !== null && typeof one === "object"))
    .map(([key, one]) => {
      const [name, unit] = label(key);
      return [name, value(one) + (unit && typeof one === "number" ? ` ${unit}` : "")];
    });
}

// A result in one line, for a small place or for being read out.
export function brief(output) {
  const text = textOf(output);
  if (text) return text;
  return factsOf(output).map((fact) => fact.join(" ")).join(", ");
}

// The beginning of a text that fits into some room, with an ellipsis where it was cut; measure: the width of a text.
export function fitted(text, room, measure) {
  if (measure(text) <= room) return text;
  let [low, high] = [0, text.length]; // so many characters fit, so many do not
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (measure(`${text.slice(0, middle).trimEnd()}…`) <= room) low = middle;
    else high = middle;
  }
  return `${text.slice(0, low).trimEnd()}…`;
}

// The text in pieces, [piece, start]: start is the time of a word (seconds of its segment), null between words. Null when
// the model gave no times, or words that are not in the text.
export function timedWords(text, output) {
  const words = output?.words;
  if (!Array.isArray(words) || words.length === 0) return null;
  const [pieces, lower] = [[], text.toLowerCase()];
  let at = 0;
  for (const one of words) {
    if (typeof one?.word !== "string" || typeof one.start !== "number" || one.word.trim() === "") return null;
    const word = one.word.trim();
    const found = lower.indexOf(word.toLowerCase(), at);
    if (found < 0) return null;
    if (found > at) pieces.push([text.slice(at, found), null]);
    pieces.push([text.slice(found, found + word.length), one.start]);
    at = found + word.length;
  }
  if (at < text.length) pieces.push([text.slice(at), null]);
  return pieces;
}
