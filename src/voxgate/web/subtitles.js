// What is handed out: plain text, JSON, and subtitles when the results carry text.

import { brief, clock, textOf } from "./format.js";

const answered = (entries) => entries.filter((entry) => entry.state === "final");

export function hasText(entries) {
  return answered(entries).some((entry) => textOf(entry.output));
}

export function toText(entries) {
  const many = entries.some((entry) => entry.channel > 0);
  return entries
    .filter((entry) => entry.state === "final" || entry.state === "failed")
    .map((entry) => {
      const times = `${clock(entry.from_s, 2)} – ${clock(entry.to_s, 2)}`;
      const what = entry.state === "failed" ? `error: ${entry.error}` : brief(entry.output);
      return `${times}${many ? `  channel ${entry.channel}` : ""}  ${what}\n`;
    })
    .join("");
}

// Everything that came, by session, with the times of the whole page in offset_s.
export function toJson(timeline) {
  const sessions = timeline.sessions.map((session) => ({
    session_id: session.id,
    began: session.began.toISOString(),
    offset_s: round(session.offset_s),
    duration_s: round(session.duration_s),
    route: session.route,
    model: session.model,
    source: session.source,
    channels: session.nChannels,
    sample_rate: session.recording.sampleRate,
    events: session.events,
  }));
  return JSON.stringify({ voxgate: 1, sessions }, null, 1) + "\n";
}

export function toSrt(entries) {
  return cues(entries)
    .map((cue, index) => `${index + 1}\n${stamp(cue.from_s, ",")} --> ${stamp(cue.to_s, ",")}\n${cue.text}\n`)
    .join("\n");
}

export function toVtt(entries) {
  const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const blocks = cues(entries).map(
    (cue) => `${stamp(cue.from_s, ".")} --> ${stamp(cue.to_s, ".")}\n${cue.voice}${escape(cue.text)}\n`,
  );
  return ["WEBVTT\n", ...blocks].join("\n");
}

function cues(entries) {
  const many = entries.some((entry) => entry.channel > 0);
  return answered(entries)
    .map((entry) => ({
      from_s: entry.from_s,
      to_s: entry.to_s,
      text: (textOf(entry.output) ?? "").replace(/\s+/g, " "), // a line of its own would end the cue
      voice: many ? `<v channel ${entry.channel}>` : "",
    }))
    .filter((cue) => cue.text !== "");
}

// hh:mm:ss,mmm
function stamp(seconds, point) {
  const ms = Math.round(seconds * 1000);
  const pad = (number, digits = 2) => String(number).padStart(digits, "0");
  const [h, m, s] = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60, Math.floor(ms / 1000) % 60];
  return `${pad(h)}:${pad(m)}:${pad(s)}${point}${pad(ms % 1000, 3)}`;
}

const round = (seconds) => Math.round(seconds * 1000) / 1000;

export function download(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // some browsers fetch it later than they return
}
