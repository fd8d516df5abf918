// What a person takes along: the results as text, JSON and subtitles, and the audio as WAV.

import { download, hasText, toJson, toSrt, toText, toVtt } from "./subtitles.js";
import { toWav } from "./wav.js";

export class Takeaway {
  #at;
  #timeline;

  // at: the element with an id.
  constructor(at, timeline) {
    this.#at = at;
    this.#timeline = timeline;
    at("copy").addEventListener("click", () => void this.#copy());
    at("json").addEventListener("click", () => download("voxgate.json", "application/json", toJson(timeline)));
    at("srt").addEventListener("click", () => download("voxgate.srt", "application/x-subrip", toSrt(timeline.entries())));
    at("vtt").addEventListener("click", () => download("voxgate.vtt", "text/vtt", toVtt(timeline.entries())));
    at("wav").addEventListener("click", () => download("voxgate.wav", "audio/wav", toWav(this.#heard.recording)));
  }

  // isIdle: whether the page may be cleared.
  show(isIdle) {
    const entries = this.#timeline.entries();
    const [some, none] = [entries.length > 0, this.#timeline.sessions.length === 0];
    this.#at("copy").disabled = !some;
    this.#at("json").disabled = none;
    this.#at("wav").disabled = this.#heard === undefined;
    this.#at("clear").disabled = none || !isIdle;
    this.#at("srt").hidden = this.#at("vtt").hidden = !hasText(entries);
  }

  // The newest session whose audio is still kept.
  get #heard() {
    return this.#timeline.sessions.findLast((session) => session.recording.chunks.length > 0);
  }

  async #copy() {
    const [button, text] = [this.#at("copy"), toText(this.#timeline.entries())];
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Only pages that came over HTTPS, or from this computer, have a clipboard.
      download("voxgate.txt", "text/plain", text);
      button.textContent = "Saved as text";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }
}
