// The live picture: for each channel the waveform, detected speech, its probability, and the results.
//
// Drawn only when something changed, and then only what is in view: a frame costs the same after an hour as at first.

import { brief, clock, fitted } from "./format.js";
import { firstAfter } from "./timeline.js";

const AXIS = 22; // CSS pixels, like every number of the layout here
const LABEL = 20;
const GAP = 10;
const STRIP = 22; // the results
const SPEECH = 36; // the curve of the probability
const MIN_SPAN_S = 3;
const MAX_SPAN_S = 6 * 3600;
const TICKS_S = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
const COALESCE_S = 0.2; // longest time by which the picture runs ahead of the audio, so that it moves evenly

export class Picture {
  span_s = 15;
  isFollowing = true;
  thresholds = null; // [speech begins, silence begins], of the detector
  selected = null; // an entry
  playing = null; // { entry, began_ms } during playback
  hovered = null;

  #canvas;
  #timeline;
  #context;
  #colours = {};
  #end_s = 0; // right edge, when not following
  #shown_s = 0; // right edge of the last frame
  #live = false;
  #seen = { s: 0, ms: 0 };
  #requested = false;
  #range = new Int16Array(2);
  #width = 0;
  #height = 0;

  // on: { select(entry), view() }
  constructor(canvas, timeline, on) {
    this.#canvas = canvas;
    this.#timeline = timeline;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.on = on;
    this.readColours();
    new ResizeObserver(() => this.#fit()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#hover(event));
    canvas.addEventListener("pointerleave", () => this.#setHovered(null));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    this.#fit();
  }

  // The colours are those of the style sheet: to be read again when the scheme changes.
  readColours() {
    const style = getComputedStyle(this.#canvas);
    for (const name of [
      "back", "lane", "line", "ink", "muted", "wave", "wave-speech", "speech", "band", "curve", "interim", "final",
      "final-ink", "failed", "focus",
    ]) {
      this.#canvas.style.color = `var(--picture-${name})`; // as a colour, so that light-dark() is resolved
      this.#colours[name] = style.color;
    }
    this.#canvas.style.removeProperty("color");
    this.#font = (size, weight = 400) => `${weight} ${size}px ${style.fontFamily}`;
    this.request();
  }

  #font;

  // While live, the right edge moves on between two messages.
  set live(live) {
    this.#live = live;
    this.request();
  }

  get height() {
    const n = this.#timeline.nChannels;
    return Math.round(n * (this.#laneHeight(n) + GAP) + AXIS);
  }

  #laneHeight(n) {
    return n === 1 ? 220 : n === 2 ? 150 : 112;
  }

  get begin_s() {
    return this.#shown_s - this.span_s;
  }

  // The view: where its right edge is.
  goTo(end_s) {
    const most = Math.max(this.span_s, this.#timeline.duration_s);
    this.#end_s = Math.max(Math.min(this.span_s, most), Math.min(end_s, most));
    this.isFollowing = end_s >= this.#timeline.duration_s - 0.01;
    this.request();
    this.on.view();
  }

  follow() {
    this.isFollowing = true;
    this.request();
    this.on.view();
  }

  zoom(factor, at = 1) {
    const fixed_s = this.begin_s + at * this.span_s;
    this.span_s = Math.max(MIN_SPAN_S, Math.min(MAX_SPAN_S, this.span_s * factor));
    if (!this.isFollowing) this.goTo(fixed_s + (1 - at) * this.span_s);
    this.request();
    this.on.view();
  }

  // Brings an entry into view, unless it is.
  show(entry) {
    if (entry.from_s < this.begin_s || entry.to_s > this.#shown_s) {
      this.goTo(Math.max(entry.to_s + 1, entry.from_s + this.span_s * 0.6));
    }
  }

  request() {
    if (this.#requested) return;
    this.#requested = true;
    requestAnimationFrame((now_ms) => {
      this.#requested = false;
      this.draw(now_ms);
      if ((this.#live && this.isFollowing && this.#now(now_ms) !== this.#shown_s) || this.playing) this.request();
    });
  }

  // The newest time there is to see, moving evenly although audio comes in pieces.
  #now(now_ms) {
    const s = this.#timeline.duration_s;
    if (s !== this.#seen.s) this.#seen = { s, ms: now_ms };
    const ahead_s = this.#live ? Math.min(COALESCE_S, (now_ms - this.#seen.ms) / 1000) : 0;
    return s + ahead_s;
  }

  #fit() {
    const { clientWidth, clientHeight } = this.#canvas;
    const ratio = window.devicePixelRatio || 1;
    this.#width = clientWidth;
    this.#height = clientHeight;
    this.#canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    this.#canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.draw(performance.now());
  }

  draw(now_ms) {
    const context = this.#context;
    const colours = this.#colours;
    if (this.isFollowing) {
      // A smooth edge: it never runs back.
      const now_s = Math.max(this.span_s, this.#now(now_ms));
      const jitter = this.#shown_s - now_s;
      this.#shown_s = this.#live && jitter > 0 && jitter < 2 * COALESCE_S ? this.#shown_s : now_s;
    } else {
      this.#shown_s = this.#end_s;
    }
    context.fillStyle = colours.back;
    context.fillRect(0, 0, this.#width, this.#height);
    const n = this.#timeline.nChannels;
    const height = this.#laneHeight(n);
    this.#drawAxis(n * (height + GAP));
    for (let channel = 0; channel < n; channel++) {
      this.#drawLane(channel, channel * (height + GAP), height, now_ms);
    }
  }

  #x(time_s) {
    return ((time_s - this.begin_s) / this.span_s) * this.#width;
  }

  #drawAxis(bottom) {
    const context = this.#context;
    const tick_s = TICKS_S.find((one) => (one / this.span_s) * this.#width >= 70) ?? 7200;
    context.font = this.#font(11);
    context.textBaseline = "middle";
    context.textAlign = "center";
    for (let t = Math.ceil(this.begin_s / tick_s) * tick_s; t <= this.#shown_s; t += tick_s) {
      if (t < 0) continue;
      const x = Math.round(this.#x(t)) + 0.5;
      context.fillStyle = this.#colours.line;
      context.fillRect(x - 0.5, 0, 1, bottom);
      context.fillStyle = this.#colours.muted;
      if (x > 16 && x < this.#width - 16) context.fillText(clock(t, tick_s < 1 ? 1 : 0), x, bottom + AXIS / 2 + 1);
    }
  }

  #drawLane(channel, top, height, now_ms) {
    const context = this.#context;
    const colours = this.#colours;
    const many = this.#timeline.nChannels > 1;
    context.fillStyle = colours.lane;
    context.fillRect(0, top, this.#width, height);
    const strip = top + height - STRIP;
    const speech = strip - SPEECH - 6;
    const wave = { top: top + (many ? LABEL : 8), bottom: speech - 6 };
    for (const session of this.#timeline.sessions) {
      if (session.offset_s > this.#shown_s || session.end_s < this.begin_s || channel >= session.nChannels) continue;
      this.#drawBands(session, channel, top, height);
      this.#drawWave(session, channel, wave);
      if (session.probabilities[channel]) this.#drawSpeech(session, channel, speech);
      this.#drawStrip(session, channel, strip);
      const x = this.#x(session.offset_s);
      if (session.offset_s > 0 && x > 0) {
        context.fillStyle = colours.muted;
        for (let y = top; y < top + height; y += 6) context.fillRect(Math.round(x), y, 1, 3);
      }
    }
    context.textAlign = "left";
    context.textBaseline = "top";
    context.font = this.#font(11, 600);
    context.fillStyle = colours.muted;
    const side = this.#timeline.nChannels === 2 ? (channel ? " · right" : " · left") : "";
    if (many) context.fillText(`channel ${channel}${side}`, 8, top + 5);
    if (this.playing?.entry.channel === channel) {
      const x = this.#x(this.playing.entry.from_s + (now_ms - this.playing.began_ms) / 1000);
      context.fillStyle = colours.focus;
      context.fillRect(x - 1, top, 2, height);
    }
  }

  #inView(session, channel) {
    const entries = session.entries[channel];
    const end_s = this.#shown_s - session.offset_s;
    const found = [];
    for (let i = firstAfter(entries, this.begin_s - session.offset_s); i < entries.length; i++) {
      if (entries[i].start_s > end_s) break;
      found.push(entries[i]);
    }
    return found;
  }

  #drawBands(session, channel, top, height) {
    if (session.route !== "segmented") return;
    const context = this.#context;
    for (const entry of this.#inView(session, channel)) {
      const from = this.#x(entry.from_s);
      context.fillStyle = this.#colours.band;
      context.fillRect(from, top, Math.max(1, this.#x(entry.to_s) - from), height);
      context.fillStyle = this.#colours.speech;
      context.fillRect(from, top, 1, height);
    }
  }

  #drawWave(session, channel, { top, bottom }) {
    const context = this.#context;
    const pyramid = session.waves[channel];
    const middle = (top + bottom) / 2;
    const scale = (bottom - top) / 2 / 32768;
    const step_s = this.span_s / this.#width;
    const first = Math.max(0, Math.floor(this.#x(session.offset_s)));
    const last = Math.min(this.#width, Math.ceil(this.#x(session.end_s)));
    context.fillStyle = this.#colours.line;
    context.fillRect(first, Math.round(middle), last - first, 1);
    context.fillStyle = this.#colours.wave;
    const begin_s = this.begin_s - session.offset_s;
    for (let column = first; column < last; column++) {
      const from_s = begin_s + column * step_s;
      if (!pyramid.range(from_s, from_s + step_s, this.#range)) continue;
      const high = middle - this.#gain(this.#range[1]) * scale;
      const low = middle - this.#gain(this.#range[0]) * scale;
      context.fillRect(column, high - 0.5, 1, Math.max(1, low - high + 1)); // a path of them all would cost far more
    }
  }

  // Quiet speech should be seen: a gentle curve, not the truth of the level.
  #gain(sample) {
    return sample === 0 ? 0 : Math.sign(sample) * 32768 * Math.pow(Math.abs(sample) / 32768, 0.6);
  }

  #drawSpeech(session, channel, top) {
    const context = this.#context;
    const pyramid = session.probabilities[channel];
    const last_s = Math.min(this.#shown_s, session.offset_s + pyramid.duration_s);
    const first_s = Math.max(this.begin_s, session.offset_s);
    if (last_s <= first_s) return;
    const y = (probability) => top + SPEECH * (1 - probability);
    const [from, to] = [this.#x(first_s), this.#x(last_s)];
    const step = Math.max(1, ((pyramid.step_s / this.span_s) * this.#width) / 2);
    context.beginPath();
    context.moveTo(from, y(0));
    for (let x = from; x < to; x += step) {
      const at_s = this.begin_s + (x / this.#width) * this.span_s - session.offset_s;
      if (!pyramid.range(at_s, at_s + (step / this.#width) * this.span_s, this.#range)) continue;
      const high = this.#range[1] / 32767;
      context.lineTo(x, y(high));
      context.lineTo(Math.min(to, x + step), y(high));
    }
    context.lineTo(to, y(0));
    context.closePath();
    context.globalAlpha = 0.22;
    context.fillStyle = this.#colours.curve;
    context.fill();
    context.globalAlpha = 1;
    context.lineWidth = 1.5;
    context.strokeStyle = this.#colours.curve;
    context.stroke();
    if (!session.thresholds) return;
    context.lineWidth = 1;
    context.setLineDash([4, 4]);
    context.strokeStyle = this.#colours.muted;
    for (const threshold of session.thresholds) {
      context.beginPath();
      context.moveTo(from, Math.round(y(threshold)) + 0.5);
      context.lineTo(to, Math.round(y(threshold)) + 0.5);
      context.stroke();
    }
    context.setLineDash([]);
  }

  #drawStrip(session, channel, top) {
    const context = this.#context;
    const colours = this.#colours;
    context.textAlign = "left";
    context.textBaseline = "middle";
    for (const entry of this.#inView(session, channel)) {
      const from = this.#x(entry.from_s);
      const width = Math.max(2, this.#x(entry.to_s) - from - 1);
      const isFinal = entry.state === "final";
      context.fillStyle = { final: colours.final, failed: colours.failed }[entry.state] ?? colours.interim;
      const isMarked = entry === this.selected || entry === this.hovered;
      if (width < 10 && !isMarked) {
        context.fillRect(from, top + 2, width, STRIP - 4);
        continue;
      }
      context.beginPath();
      context.roundRect(from, top + 2, width, STRIP - 4, Math.min(4, width / 2));
      context.fill();
      if (isMarked) {
        context.lineWidth = 2;
        context.strokeStyle = colours.focus;
        context.stroke();
      }
      if (width < 34) continue;
      const text = entry.state === "failed" ? "error" : brief(entry.output) || (isFinal ? "" : "…");
      context.save();
      context.clip();
      context.font = this.#font(11, isFinal ? 500 : 400);
      context.fillStyle = isFinal || entry.state === "failed" ? colours["final-ink"] : colours.ink;
      const left = Math.max(from, 0) + 6;
      const shown = fitted(text, from + width - left - 4, (some) => context.measureText(some).width);
      context.fillText(shown, left, top + STRIP / 2 + 0.5);
      context.restore();
    }
  }

  // Mouse, touch and keys

  #entryAt(event) {
    const { left, top } = this.#canvas.getBoundingClientRect();
    const n = this.#timeline.nChannels;
    const channel = Math.floor((event.clientY - top) / (this.#laneHeight(n) + GAP));
    const time_s = this.begin_s + ((event.clientX - left) / this.#width) * this.span_s;
    return this.#timeline.entryAt(channel, time_s, (3 / this.#width) * this.span_s);
  }

  #setHovered(entry) {
    if (entry === this.hovered) return;
    this.hovered = entry;
    this.#canvas.classList.toggle("over-entry", entry !== null);
    this.#canvas.title = entry === null ? "" : `${clock(entry.from_s, 2)} – ${clock(entry.to_s, 2)}: click to hear it`;
    this.request();
  }

  #hover(event) {
    if (event.buttons === 0) this.#setHovered(this.#entryAt(event));
  }

  #press(event) {
    if (event.button !== 0) return;
    const entry = this.#entryAt(event);
    const from = { x: event.clientX, end_s: this.#shown_s };
    let moved = false;
    const move = (next) => {
      const dx = next.clientX - from.x;
      if (!moved && Math.abs(dx) < 5) return;
      moved = true;
      this.goTo(from.end_s - (dx / this.#width) * this.span_s);
    };
    const up = () => {
      this.#canvas.removeEventListener("pointermove", move);
      if (!moved && entry !== null) this.on.select(entry);
    };
    this.#canvas.setPointerCapture(event.pointerId);
    this.#canvas.addEventListener("pointermove", move);
    this.#canvas.addEventListener("pointerup", up, { once: true });
  }

  #wheel(event) {
    const sideways = event.shiftKey ? event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) {
      this.zoom(Math.exp(event.deltaY / 200), event.offsetX / this.#width);
    } else if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY)) {
      this.goTo(this.#shown_s + (sideways / this.#width) * this.span_s);
    } else {
      return; // the page scrolls
    }
    event.preventDefault();
  }

  #key(event) {
    const actions = {
      ArrowLeft: () => this.goTo(this.#shown_s - this.span_s / 4),
      ArrowRight: () => this.goTo(this.#shown_s + this.span_s / 4),
      Home: () => this.goTo(this.span_s),
      End: () => this.follow(),
      "+": () => this.zoom(1 / 1.5),
      "=": () => this.zoom(1 / 1.5),
      "-": () => this.zoom(1.5),
    };
    const action = actions[event.key];
    if (action === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    action();
    event.preventDefault();
  }
}
