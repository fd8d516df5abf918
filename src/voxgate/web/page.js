// The page: puts the parts together.

import { Controls } from "./controls.js";
import { clock } from "./format.js";
import { Listening } from "./listening.js";
import { Notice } from "./notice.js";
import { Numbers } from "./numbers.js";
import { ModelOptions } from "./options.js";
import { Picture } from "./picture.js";
import { Presence } from "./presence.js";
import { explain } from "./problems.js";
import { Player } from "./recording.js";
import { Results } from "./results.js";
import { Sources } from "./sources.js";
import { connectionOf, stateOf } from "./status.js";
import { Takeaway } from "./takeaway.js";
import { followTheme } from "./theme.js";
import { Timeline } from "./timeline.js";

const ROUTES = {
  segmented: "Speech is cut into utterances; the model answers each, and while it goes on.",
  simple: "The model gets all audio, in pieces as it arrives.",
  stateful: "The model gets all audio in order and keeps its state between pieces.",
};

const GONE = new Set(["gone", "unreachable", 1001]);
const TOKEN = new Set(["token", "wrong-token"]);
const NARROW = matchMedia("(max-width: 900px)");

const at = (id) => document.getElementById(id);

const timeline = new Timeline();
const player = new Player();
const notice = new Notice({ box: at("notice"), title: at("notice-title"), help: at("notice-help"), close: at("notice-close") });
const numbers = new Numbers(at);
const takeaway = new Takeaway(at, timeline);
const picture = new Picture(at("picture"), timeline, { select: hear, view: showView });
const results = new Results({ list: at("results"), older: at("older"), said: at("said") }, hear);
const controls = new Controls(at("vad-controls"), at("vad-reset"), showControls);
const modelOptions = new ModelOptions(at("model-options"), showControls);
const presence = new Presence(at, {
  described: showServer,
  changed: () => {
    showStart();
    showState();
    numbers.show(listening, presence.info);
  },
  submitted: () => notice.hide(),
  mayAsk: () => !isAsking,
});
const listening = new Listening(timeline, presence.token, {
  phase: showPhase,
  event: receive,
  problem: (kind, detail) => {
    if (GONE.has(kind)) presence.state = "away"; // until it answers again
    if (TOKEN.has(kind)) presence.showAccess();
    notice.show(explain(kind, detail));
  },
  recovered: () => notice.show({ title: "The server is back.", help: "Listening goes on; everything from before still stands." }, "good"),
});

let isAsking = false; // a person is asked for the microphone, or a file is being decoded
let isLiveSource = false;
let thresholds = null; // of the running Start: where speech begins and where silence does

const sources = new Sources(at, notice, {
  chosen: showState,
  mayDrop: () => listening.phase === "idle",
  dropped: () => {
    if (presence.info !== null) void start();
  },
});

// What is going on

function showPhase() {
  const { phase, source } = listening;
  const isRunning = phase !== "idle";
  picture.live = phase === "listening";
  at("start").classList.toggle("is-running", isRunning);
  at("start-label").textContent = !isRunning ? "Start" : phase === "finishing" ? "Finishing" : "Stop";
  showStart();
  sources.isOpen = !isRunning;
  if (source) isLiveSource = source.isLive;
  if (phase === "listening" || phase === "idle") fitPicture();
  if (phase === "listening") {
    listening.session.thresholds = thresholds;
    picture.follow();
  } else if (phase !== "finishing") player.stop();
  if (!isRunning) void presence.ask();
  showState();
  numbers.show(listening, presence.info);
  showView();
  showTools();
}

function showStart() {
  // Not disabled while a person is asked for the microphone: that would take the keyboard's focus away, and a second
  // Enter would not stop.
  at("start").setAttribute("aria-disabled", String(isAsking));
  at("start").disabled = listening.phase === "idle" && !isAsking && presence.info === null;
  at("sample").disabled = listening.phase !== "idle" || isAsking || presence.info === null;
}

function showState() {
  const { phase, session, source } = listening;
  const { kind, hasFile } = sources;
  put(at("state"), stateOf({ phase, session, source, kind, hasFile, isAsking, presence: presence.state }), at("state"));
  put(at("connection"), connectionOf(phase, presence.state), at("dot"));
}

// Words, only when they are others: a screen reader reads out what is set.
function put(element, [state, text], marked) {
  if (element.textContent !== text) element.textContent = text;
  marked.dataset.state = state;
}

function receive(event, changed, session) {
  results.update(changed);
  numbers.receive(event, changed, session, isLiveSource);
  if (event?.type === "draining") notice.show(explain(1001));
  if (event?.type === "error" && changed.length === 0) notice.show({ title: "The server says:", help: event.message });
  showState();
  showTools();
  picture.request();
}

function showTools() {
  const some = timeline.entries().length > 0;
  at("empty").hidden = some;
  at("results").hidden = !some;
  takeaway.show(listening.phase === "idle");
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

// Plays an entry from a time of it on (seconds of the session), or stops it when it is the one being played.
function hear(entry, from_s = entry.start_s) {
  const isThis = picture.playing?.entry === entry && from_s === entry.start_s;
  player.stop();
  picture.selected = entry;
  results.select(entry);
  if (isThis) return;
  const { session } = entry;
  const samples = session.isUnheard ? null : session.recording.slice(entry.channel, from_s, entry.end_s ?? session.duration_s);
  if (samples === null) {
    notice.show(
      session.isUnheard
        ? { title: "This page has no audio of it.", help: "The browser could not decode the file." }
        : { title: "This audio is no longer kept.", help: "The page holds the last hour or so." },
    );
    return;
  }
  const playing = { entry, began_ms: performance.now() - (from_s - entry.start_s) * 1000 };
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

async function start() {
  notice.hide();
  const route = at("route").value;
  for (const [id, problem] of [
    ["options", modelOptions.problem],
    ["vad", route === "segmented" ? controls.problem : null],
  ]) {
    if (problem === null) continue;
    at("settings").open = at(id).open = true;
    notice.show({ title: "A value is out of its range.", help: problem });
    return;
  }
  isAsking = true;
  showPhase();
  let source = null;
  try {
    source = await sources.open();
  } finally {
    isAsking = false;
    showPhase();
  }
  if (source === null) return;
  numbers.reset();
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
  if (sources.isSample && source.plane) player.play(source.plane, source.sampleRate, () => {});
}

// The server

function showServer(info) {
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
  sources.describe(info);
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

// Where there is little room, what is not needed to begin is one line.
function fitPanels() {
  for (const panel of document.querySelectorAll("details.collapses")) panel.open = !NARROW.matches;
  document.documentElement.classList.add("is-fitted"); // before, the style sheet hides what is about to close
}

// Wiring

at("start").addEventListener("click", () => {
  if (isAsking) return;
  if (listening.phase === "idle") void start();
  else {
    if (listening.phase === "away") notice.hide(); // it says that the page goes on
    listening.stop();
  }
});
at("sample").addEventListener("click", async () => {
  if (await sources.chooseSample()) void start();
});
at("zoom-in").addEventListener("click", () => picture.zoom(1 / 1.5));
at("zoom-out").addEventListener("click", () => picture.zoom(1.5));
at("follow").addEventListener("click", () => picture.follow());
at("position").addEventListener("input", () => picture.goTo(Number(at("position").value)));
at("route").addEventListener("change", showControls);
at("clear").addEventListener("click", () => {
  player.stop();
  timeline.clear();
  results.clear();
  picture.selected = picture.hovered = null;
  picture.follow();
  fitPicture();
  showTools();
});
addEventListener("beforeunload", (event) => {
  if (listening.phase === "listening") event.preventDefault(); // the browser asks whether to leave
});
NARROW.addEventListener("change", fitPanels);

followTheme(at("theme"), at("theme-name"), () => picture.readColours());
fitPanels();
fitPicture();
showView();
showState();
void presence.ask();
setInterval(() => {
  numbers.show(listening, presence.info);
  if (listening.phase !== "idle") {
    picture.request(); // a microphone records also while the server is away
    showView();
  }
}, 250);
