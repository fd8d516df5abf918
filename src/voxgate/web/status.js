// What is going on, in words: the state beside Start, and the connection in the head of the page.

// phase: of Listening; presence: ready | waiting | away | locked | unknown; kind: of the chosen source.
// [state, words] of the line beside Start.
export function stateOf({ phase, session, source, presence, kind, isAsking, hasFile }) {
  if (isAsking) return ["idle", kind === "microphone" ? "Allow the microphone, please …" : "Decoding the file …"];
  if (phase === "connecting") return ["idle", "Connecting …"];
  if (phase === "away") return ["away", "Looking for the server …"];
  if (phase === "finishing") return ["idle", "Waiting for the last results …"];
  if (phase === "listening") return heard(session, source);
  if (presence === "locked") return ["idle", "Enter the token first."];
  if (presence === "away") return ["away", "The server does not answer."];
  if (kind === "microphone") return ["idle", "Press Start and speak."];
  return ["idle", hasFile ? "Press Start to send the file." : "Choose a sound file."];
}

function heard(session, source) {
  if (session.route !== "segmented") return ["silence", "Listening"];
  const channels = Array.from({ length: session.nChannels }, (_, channel) => channel);
  const speaking = channels.filter((channel) => session.isSpeaking(channel));
  if (speaking.length === 0) return ["silence", source.kind === "microphone" ? "Listening: silence" : "Hears no speech"];
  return ["speech", session.nChannels > 1 ? `Hears speech on channel ${speaking.join(", ")}` : "Hears speech"];
}

// [state, words] of the connection.
export function connectionOf(phase, presence) {
  if (phase === "listening" || phase === "finishing") return ["open", "connected"];
  if (phase === "connecting") return ["waiting", "connecting …"];
  if (phase === "away" || presence === "away") return ["away", "the server does not answer"];
  return {
    ready: ["ready", "server ready"],
    waiting: ["waiting", "server not ready yet"],
    locked: ["waiting", "a token is needed"],
    unknown: ["unknown", "looking for the server …"],
  }[presence];
}
