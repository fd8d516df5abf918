// The results as a list that reads like a transcript: one row for each entry of the timeline.

import { brief, clock, duration, factsOf, splitStable, textOf, timedWords } from "./format.js";

const MAX_ROWS = 400; // that are on the page; the download has all

const WORDS = {
  speaking: "speaking …",
  waiting: "waiting for the model …",
  lost: "no answer: the connection ended before it came",
};

export class Results {
  #list;
  #older;
  #said;
  #rows = new Map(); // by entry
  #changed = new Set();
  #requested = false;
  #n_dropped = 0;
  #isAtEnd = true;

  // list: <ol>; older: says how many rows were left out; said: the live region for screen readers.
  constructor({ list, older, said }, onSelect) {
    this.#list = list;
    this.#older = older;
    this.#said = said;
    list.addEventListener("click", (event) => {
      const row = event.target.closest("li");
      if (row === null || getSelection()?.toString()) return;
      const word = event.target.closest(".word");
      if (word === null) onSelect(row.entry);
      else onSelect(row.entry, row.entry.start_s + Number(word.dataset.start));
    });
    list.addEventListener("scroll", () => {
      this.#isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    });
  }

  // These entries are new or have changed.
  update(entries) {
    for (const entry of entries) this.#changed.add(entry);
    if (this.#requested || entries.length === 0) return;
    this.#requested = true;
    requestAnimationFrame(() => {
      this.#requested = false;
      this.#render();
    });
  }

  clear() {
    this.#list.replaceChildren();
    this.#rows.clear();
    this.#changed.clear();
    this.#n_dropped = 0;
    this.#older.hidden = true;
    this.#isAtEnd = true;
  }

  select(entry) {
    for (const row of this.#list.querySelectorAll('[aria-current="true"]')) row.removeAttribute("aria-current");
    const row = this.#rows.get(entry);
    if (row === undefined) return;
    row.setAttribute("aria-current", "true");
    const [top, bottom] = [row.offsetTop - this.#list.offsetTop, row.offsetTop - this.#list.offsetTop + row.offsetHeight];
    if (top < this.#list.scrollTop || bottom > this.#list.scrollTop + this.#list.clientHeight) {
      this.#list.scrollTo({ top: top - 40 });
    }
  }

  setPlaying(entry) {
    for (const row of this.#list.querySelectorAll(".playing")) row.classList.remove("playing");
    this.#rows.get(entry)?.classList.add("playing");
  }

  #render() {
    const spoken = [];
    for (const entry of [...this.#changed].sort((a, b) => a.id - b.id)) {
      let row = this.#rows.get(entry);
      if (entry.state === "void") {
        row?.remove();
        this.#rows.delete(entry);
        continue;
      }
      if (row === undefined) {
        row = this.#list.appendChild(this.#create(entry));
        this.#rows.set(entry, row);
      }
      this.#fill(row, entry);
      if (entry.state === "final") spoken.push(brief(entry.output) || "no words");
      if (entry.state === "failed") spoken.push(`error: ${entry.error}`);
    }
    this.#changed.clear();
    while (this.#list.children.length > MAX_ROWS) {
      this.#rows.delete(this.#list.firstElementChild.entry);
      this.#list.firstElementChild.remove();
      this.#n_dropped++;
    }
    this.#older.hidden = this.#n_dropped === 0;
    this.#older.textContent = `${this.#n_dropped} earlier results are not shown; a download has all of them.`;
    // A burst of results would be read for minutes: the last of it is enough.
    if (spoken.length > 0) this.#said.textContent = spoken.at(-1);
    if (this.#isAtEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }

  #create(entry) {
    const row = document.createElement("li");
    row.entry = entry;
    const play = element("button", "play");
    play.type = "button";
    row.append(play, element("span", "when"), element("div", "what"), element("span", "took"));
    return row;
  }

  #fill(row, entry) {
    const [play, when, what, took] = row.children;
    row.dataset.state = entry.state;
    const isOpen = entry.state === "speaking";
    const times = isOpen ? `${clock(entry.from_s)} – …` : `${clock(entry.from_s)} – ${clock(entry.to_s)}`;
    when.textContent = times;
    play.setAttribute("aria-label", `Hear ${times}`);
    const parts = [];
    if (entry.session.nChannels > 1) {
      const badge = element("span", "channel", `ch ${entry.channel}`);
      badge.dataset.channel = entry.channel % 4;
      parts.push(badge);
    }
    if (entry.state === "failed") parts.push(element("span", "error", entry.error));
    const text = textOf(entry.output);
    const timed = entry.state === "final" && text ? timedWords(text, entry.output) : null;
    if (timed !== null) parts.push(heardWords(timed));
    else if (text !== undefined) parts.push(words(text, entry.isEager ? text : entry.stable));
    const facts = factsOf(entry.output);
    if (facts.length > 0) {
      const list = element("span", "facts");
      for (const [name, one] of facts) {
        const fact = element("span", "fact");
        fact.append(element("span", "name", `${name} `), one);
        list.append(fact);
      }
      parts.push(list);
    }
    const word = WORDS[entry.state];
    if (word !== undefined && (parts.length === 0 || entry.state === "lost" || entry.output === null)) {
      parts.push(element("span", "none", word));
    } else if (word !== undefined) {
      parts.push(element("span", "badge", entry.isEager ? "if nothing follows" : "so far"));
    } else if (parts.length === 0) {
      parts.push(element("span", "none", "an empty answer"));
    }
    what.replaceChildren(...parts);
    took.textContent = entry.answer_s === null ? "" : duration(entry.answer_s);
    took.title = entry.answer_s === null ? "" : "from the end of speech to the answer";
  }
}

// The text, and in it the words that have settled.
function words(text, stable) {
  if (!text) return element("span", "none", "(no words)");
  const [solid, rest] = splitStable(text, stable);
  const made = element("span", "text", rest);
  if (solid) made.prepend(element("span", "stable", solid));
  return made;
}

// Words that can be heard from their beginning on. By keyboard, the row has its button.
function heardWords(timed) {
  const made = element("span", "text");
  for (const [piece, start] of timed) {
    if (start === null) {
      made.append(piece);
      continue;
    }
    const word = element("button", "word", piece);
    word.type = "button";
    word.tabIndex = -1;
    word.title = `Hear from ${duration(start)} on`;
    word.dataset.start = start;
    made.append(word);
  }
  return made;
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
