// The page: puts the parts together and says in words what is going on.

import { Controls } from "./controls.js";
import { ModelOptions } from "./options.js";
import { SoundFile } from "./file.js";
import { clock, duration } from "./format.js";
import { Listening } from "./listening.js";
import { Microphone, listMicrophones, whyNoMicrophone } from "./microphone.js";
import { Picture } from "./picture.js";
import { explain } from "./problems.js";
import { RawFile, containerOf } from "./rawfile.js";
import { recordedKind } from "./recorder.js";
import { Player } from "./recording.js";
import { Results } from "./results.js";
import { Token, askInfo } from "./server.js";
import { download, hasText, toJson, toSrt, toText, toVtt } from "./subtitles.js";
import { followTheme } from "./theme.js";
import { Timeline } from "./timeline.js";

const ASK_MS = 5000; // how often the server is asked about itself while the page is seen

const ROUTES = {
  segmented: "Speech is cut into utterances; the model answers each, and while it goes on.",
  simple: "The model gets all audio, in pieces as it arrives.",
  stateful: "The model gets all audio in order and keeps its state between pieces.",
};

const GONE = new Set(["gone", "gone-at-the-end", 1001]);

const at = (id) => document.getElementById(id);

const timeline = new Timeline();
const token = new Token();
const player = new Player();
const picture = new Picture(at("picture"), timeline, { select: hear, view: showView });
const results = new Results({ list: at("results"), older: at("older"), said: at("said") }, hear);
const controls = new Controls(at("vad-controls"), at("vad-reset"), showControls);
const modelOptions = new ModelOptions(at("model-options"), showControls);
const listening = new Listening(timeline, token, {
  phase: showPhase,
  event: receive,
  problem: (kind, detail) => {
    if (GONE.has(kind)) presence = "away"; // until it answers again
    notify(explain(kind, detail));
  },
  recovered: () => notify({ title: "The server is back.", help: "Listening goes on; everything from before still stands." }, "good"),
});

let info = null; // what the server last said about itself
let presence = "unknown"; // ready | waiting | away | locked | unknown
let isAsking = false; // a person is asked for the microphone, or a file is being decoded
let chosenFile = null;
let lags = { lag_s: null, factor: null };
let isLiveSource = false;
let thresholds = null; // of the running Start: where speech begins and where silence does

// What is going on

function notify({ title, help }, kind = "bad") {
  at("notice").dataset.kind = kind;
  at("notice-title").textContent = title;
  at("notice-help").textContent = help;
  at("notice").hidden = false;
}

function hideNotice() {
  at("notice").hidden = true;
}

function showPhase() {
  const { phase, source } = listening;
  const isRunning = phase !== "idle";
  picture.live = phase === "listening";
  at("start").classList.toggle("is-running", isRunning);
  at("start-label").textContent = !isRunning ? "Start" : phase === "finishing" ? "Finishing" : "Stop";
  showStart();
  for (const input of document.querySelectorAll('#source-kind input, input[name="pace"], #device, #processing, #compress, #file')) {
    input.disabled = isRunning;
  }
  if (source) isLiveSource = source.isLive;
  if (phase === "listening" || phase === "idle") fitPicture();
  if (phase === "listening") {
    listening.session.thresholds = thresholds;
    picture.follow();
  }
  if (!isRunning) void ask();
  showState();
  showConnection();
  showNumbers();
  showView();
  showTools();
}

function showStart() {
  // Not disabled while a person is asked for the microphone: that would take the keyboard's focus away, and a second
  // Enter would not stop.
  at("start").setAttribute("aria-disabled", String(isAsking));
  at("start").disabled = listening.phase === "idle" && !isAsking && info === null;
}

function showState() {
  const { phase, session, source } = listening;
  const state = at("state");
  let [kind, text] = ["idle", ""];
  if (isAsking) text = chosenKind() === "file" ? "Decoding the file …" : "Allow the microphone, please …";
  else if (phase === "connecting") text = "Connecting …";
  else if (phase === "away") [kind, text] = ["away", "Looking for the server …"];
  else if (phase === "finishing") text = "Waiting for the last results …";
  else if (phase === "listening") {
    const speaking = Array.from({ length: session.nChannels }, (_, channel) => session.isSpeaking(channel));
    if (session.route !== "segmented") [kind, text] = ["silence", "Listening"];
    else if (speaking.some(Boolean)) {
      const which = speaking.flatMap((yes, channel) => (yes ? [channel] : []));
      [kind, text] = ["speech", session.nChannels > 1 ? `Hears speech on channel ${which.join(", ")}` : "Hears speech"];
    } else [kind, text] = ["silence", source.kind === "microphone" ? "Listening: silence" : "Hears no speech"];
  } else if (presence === "locked") text = "Enter the token under Access first.";
  else if (presence === "away") [kind, text] = ["away", "The server does not answer."];
  else if (chosenKind() === "microphone") text = "Press Start and speak.";
  else text = chosenFile ? "Press Start to send the file." : "Choose a sound file.";
  if (state.textContent !== text) state.textContent = text;
  state.dataset.state = kind;
}

function showConnection() {
  const { phase } = listening;
  const [state, text] =
    phase === "listening" || phase === "finishing" ? ["open", "connected"]
    : phase === "connecting" ? ["waiting", "connecting …"]
    : phase === "away" || presence === "away" ? ["away", "the server does not answer"]
    : {
        ready: ["ready", "server ready"],
        waiting: ["waiting", "server not ready yet"],
        locked: ["waiting", "a token is needed"],
        unknown: ["unknown", "looking for the server …"],
      }[presence];
  at("dot").dataset.state = state;
  if (at("connection").textContent !== text) at("connection").textContent = text;
}

function receive(event, changed, session) {
  results.update(changed);
  if (event?.type === "progress") lags = { lag_s: event.lag_s, factor: event.real_time_factor };
  if (event?.type === "finished") lags.lag_s = event.received_s - event.processed_s;
  if (event?.type === "started") at("session").textContent = `Session ${event.session_id}`;
  if (event?.type === "draining") notify(explain(1001));
  if (event?.type === "error" && changed.length === 0) {
    notify({ title: "The server says:", help: event.message });
  }
  for (const entry of changed) {
    if (entry.state !== "final" || entry.answer_s === null) continue;
    at("answer").textContent = duration(entry.answer_s);
    at("total").textContent = isLiveSource ? duration(session.since_s(entry.end_s, performance.now())) : "–";
  }
  showState();
  showTools();
  picture.request();
}

function showNumbers() {
  const { phase, session } = listening;
  if (session !== null) at("sent").textContent = clock(session.duration_s, 0);
  const isOpen = phase === "listening" || phase === "finishing"; // otherwise nothing lags behind
  const lag_s = lags.lag_s === null || !isOpen ? null : lags.lag_s + listening.unsent_s;
  at("lag").textContent = lag_s === null ? "–" : duration(lag_s);
  at("factor").textContent = lags.factor === null ? "–" : lags.factor.toFixed(3);
  at("streams").textContent = info?.streams ? `${info.streams.open} / ${info.streams.max}` : "–";
}

function showTools() {
  const entries = timeline.entries();
  const some = entries.length > 0;
  at("empty").hidden = some;
  at("results").hidden = !some;
  at("copy").disabled = !some;
  at("json").disabled = timeline.sessions.length === 0;
  at("clear").disabled = timeline.sessions.length === 0 || listening.phase !== "idle";
  at("srt").hidden = at("vtt").hidden = !hasText(entries);
}

// The picture

function fitPicture() {
  at("picture").style.height = `${picture.height}px`;
}

function showView() {
  const total_s = timeline.duration_s;
  at("follow").setAttribute("aria-pressed", String(picture.isFollowing));
  const { span_s } = picture;
  at("span").textContent = span_s < 90 ? `${Math.round(span_s)} s` : clock(span_s, 0);
  const slider = at("position");
  slider.hidden = total_s <= span_s;
  slider.min = span_s;
  slider.max = total_s;
  slider.value = picture.begin_s + span_s;
  slider.setAttribute("aria-valuetext", clock(Number(slider.value), 0));
}

// Plays an entry, or stops it when it is the one being played.
function hear(entry) {
  const isThis = picture.playing?.entry === entry;
  player.stop();
  picture.selected = entry;
  results.select(entry);
  if (isThis) return;
  const { session } = entry;
  const samples = session.isUnheard ? null : session.recording.slice(entry.channel, entry.start_s, entry.end_s ?? session.duration_s);
  if (samples === null) {
    notify(
      session.isUnheard
        ? { title: "This page has no audio of it.", help: "The browser could not decode the file." }
        : { title: "This audio is no longer kept.", help: "The page holds the last hour or so." },
    );
    return;
  }
  const playing = { entry, began_ms: performance.now() };
  picture.show(entry);
  picture.playing = playing;
  results.setPlaying(entry);
  picture.request();
  player.play(samples, session.recording.sampleRate, () => {
    if (picture.playing !== playing) return;
    picture.playing = null;
    results.setPlaying(null);
    picture.request();
  });
}

// Start and Stop

const chosenKind = () => document.querySelector('input[name="source"]:checked').value;

async function start() {
  hideNotice();
  const route = at("route").value;
  for (const [id, problem] of [
    ["options", modelOptions.problem],
    ["vad", route === "segmented" ? controls.problem : null],
  ]) {
    if (problem === null) continue;
    at(id).open = true;
    notify({ title: "A value is out of its range.", help: problem });
    return;
  }
  isAsking = true;
  showPhase();
  let source = null;
  try {
    source = chosenKind() === "file" ? await openFile() : await openMicrophone();
  } finally {
    isAsking = false;
    showPhase();
  }
  if (source === null) return;
  lags = { lag_s: null, factor: null };
  const vad = controls.changed;
  const options = modelOptions.given;
  const { threshold, negative_threshold } = controls.values;
  thresholds = [threshold, negative_threshold];
  listening.start(source, route, {
    interim_results: at("interim").checked,
    ...(at("interim").checked ? { stability: true, eager: true } : {}),
    ...(Object.keys(vad).length > 0 ? { vad } : {}),
    ...(Object.keys(options).length > 0 ? { options } : {}),
  });
}

async function openMicrophone() {
  const why = whyNoMicrophone();
  if (why !== null) {
    notify(explain(why));
    return null;
  }
  try {
    const microphone = await Microphone.open({
      deviceId: at("device").value,
      processing: at("processing").checked,
      recorded: at("compress").checked ? recordedKind(info?.containers ?? []) : null,
    });
    void showMicrophones(); // the browser reveals their names only now
    return microphone;
  } catch (error) {
    notify(explain(error.name, error.message));
    return null;
  }
}

async function openFile() {
  if (chosenFile === null) {
    at("file").click();
    return null;
  }
  const live = document.querySelector('input[name="pace"]:checked').value === "live";
  try {
    const file = await SoundFile.open(chosenFile, { live, maxChannels: info?.limits?.channels ?? 8 });
    if (file.channels < file.fileChannels) {
      notify({
        title: `The file has ${file.fileChannels} channels, and the server takes ${file.channels}.`,
        help: `The first ${file.channels} are sent.`,
      });
    }
    return file;
  } catch (error) {
    const raw = error.name === "EncodingError" ? await rawFile() : null;
    if (raw !== null) return raw;
    notify(explain(error.name === "EncodingError" ? "EncodingError" : "NotFoundFile", chosenFile.name));
    return null;
  }
}

// The chosen file as it is, when the server decodes what it looks like; else null.
async function rawFile() {
  const bytes = await chosenFile.arrayBuffer();
  if (!(info?.containers ?? []).includes(containerOf(bytes))) return null;
  notify(
    {
      title: `The browser cannot decode ${chosenFile.name}: the server does.`,
      help: "It is sent as it is, at full speed. The picture has no wave, and results cannot be heard.",
    },
    "good",
  );
  return new RawFile(chosenFile.name, bytes);
}

function chooseFile(file) {
  chosenFile = file;
  at("file-name").textContent = file.name;
  showState();
}

function showKind() {
  at("microphone-options").hidden = chosenKind() !== "microphone";
  at("file-options").hidden = chosenKind() !== "file";
  showState();
}

async function showMicrophones() {
  const chosen = at("device").value;
  const named = (await listMicrophones()).filter((device) => device.label && device.deviceId);
  at("device").replaceChildren(
    new Option("Default microphone", ""),
    ...named.filter((device) => device.deviceId !== "default").map((device) => new Option(device.label, device.deviceId)),
  );
  at("device").value = named.some((device) => device.deviceId === chosen) ? chosen : "";
}

// The server

async function ask() {
  const { status, body } = await askInfo(token);
  if (status === 200) {
    info = body;
    presence = body.ready ? "ready" : "waiting";
    showServer();
    if (!at("access").hidden) at("token-state").textContent = token.value ? "The server accepts this token." : "";
  } else if (status === 401) {
    info = null;
    presence = "locked";
    at("access").hidden = false;
    at("token-state").textContent = token.value
      ? "The server does not accept this token: check it for a missing or extra character."
      : "The server requires a token. Ask its operator for one.";
  } else {
    presence = status === 0 ? "away" : "waiting";
  }
  showStart();
  showState();
  showConnection();
  showNumbers();
}

function showServer() {
  at("about-server").textContent = `model ${info.model} · version ${info.version}`;
  const select = at("route");
  const chosen = select.value;
  const routes = Object.entries(info.routes);
  const order = Object.keys(ROUTES);
  routes.sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
  if (select.options.length !== routes.length) {
    select.replaceChildren(...routes.map(([route]) => new Option(route, route)));
  }
  for (const [route, { served }] of routes) {
    const option = [...select.options].find((one) => one.value === route);
    option.disabled = !served;
    option.textContent = served ? route : `${route} (not with this model)`;
  }
  const isServed = (route) => info.routes[route]?.served;
  select.value = isServed(chosen) ? chosen : (routes.find(([route]) => isServed(route))?.[0] ?? "");
  at("compress-label").hidden = recordedKind(info.containers ?? []) === null;
  controls.describe(info.vad.options);
  modelOptions.describe(info.options ?? null);
  showControls();
}

function showControls() {
  const route = at("route").value;
  at("route-about").textContent = ROUTES[route] ?? "";
  at("vad").hidden = route !== "segmented";
  at("options").hidden = modelOptions.isEmpty;
  at("interim").closest("label").hidden = route !== "segmented";
  const n = Object.keys(controls.changed).length;
  at("vad-changed").hidden = n === 0;
  at("vad-changed").textContent = `${n} changed`;
}

async function useToken() {
  token.set(at("token").value.trim(), at("keep-token").checked);
  at("token-state").textContent = "Asking the server …";
  hideNotice();
  await ask();
}

// Wiring

at("start").addEventListener("click", () => {
  if (isAsking) return;
  if (listening.phase === "idle") void start();
  else {
    if (listening.phase === "away") hideNotice(); // it says that the page goes on
    listening.stop();
  }
});
at("notice-close").addEventListener("click", hideNotice);
at("zoom-in").addEventListener("click", () => picture.zoom(1 / 1.5));
at("zoom-out").addEventListener("click", () => picture.zoom(1.5));
at("follow").addEventListener("click", () => picture.follow());
at("position").addEventListener("input", () => picture.goTo(Number(at("position").value)));
at("route").addEventListener("change", showControls);
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  void useToken();
});
at("source-kind").addEventListener("change", showKind);
at("file").addEventListener("change", () => {
  const [file] = at("file").files;
  if (file) chooseFile(file);
});
at("clear").addEventListener("click", () => {
  player.stop();
  timeline.clear();
  results.clear();
  picture.selected = picture.hovered = null;
  picture.follow();
  fitPicture();
  showTools();
});
at("copy").addEventListener("click", async () => {
  const text = toText(timeline.entries());
  try {
    await navigator.clipboard.writeText(text);
    at("copy").textContent = "Copied";
  } catch {
    // Only pages that came over HTTPS, or from this computer, have a clipboard.
    download("voxgate.txt", "text/plain", text);
    at("copy").textContent = "Saved as text";
  }
  setTimeout(() => (at("copy").textContent = "Copy"), 2000);
});
at("json").addEventListener("click", () => download("voxgate.json", "application/json", toJson(timeline)));
at("srt").addEventListener("click", () => download("voxgate.srt", "application/x-subrip", toSrt(timeline.entries())));
at("vtt").addEventListener("click", () => download("voxgate.vtt", "text/vtt", toVtt(timeline.entries())));

// A file may be dropped anywhere; it is sent at once.
let n_over = 0;
const hasFile = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => {
  if (!hasFile(event)) return;
  n_over++;
  at("drop").hidden = listening.phase !== "idle";
});
addEventListener("dragleave", (event) => {
  if (hasFile(event) && --n_over <= 0) at("drop").hidden = true;
});
addEventListener("dragover", (event) => {
  if (hasFile(event)) event.preventDefault();
});
addEventListener("drop", (event) => {
  if (!hasFile(event)) return;
  event.preventDefault();
  n_over = 0;
  at("drop").hidden = true;
  const [file] = event.dataTransfer.files;
  if (listening.phase !== "idle" || !file) return;
  document.querySelector('input[name="source"][value="file"]').checked = true;
  chooseFile(file);
  showKind();
  if (info !== null) void start();
});

addEventListener("beforeunload", (event) => {
  if (listening.phase === "listening") event.preventDefault(); // the browser asks whether to leave
});

followTheme(at("theme"), at("theme-name"), () => picture.readColours());
navigator.mediaDevices?.addEventListener?.("devicechange", () => void showMicrophones());
void showMicrophones();
showKind();
fitPicture();
showView();
void ask();
setInterval(() => {
  if (!document.hidden && !isAsking) void ask();
}, ASK_MS);
setInterval(() => {
  showNumbers();
  if (listening.phase === "listening") {
    picture.request();
    showView();
  }
}, 250);
