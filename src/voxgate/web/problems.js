// What went wrong, in plain words, and what to do about it: { title, help }.

export const PROBLEMS = {
  insecure: () => ({
    title: "The browser keeps the microphone from this page, because it did not come over HTTPS.",
    help: `Open it over https://, or on the computer that runs the server as ${localAddress()}. A sound file works here too.`,
  }),
  unsupported: () => ({
    title: "This browser has no microphone for web pages.",
    help: "Use a current Firefox, Chrome, Edge or Safari. A sound file may work here too.",
  }),
  NotAllowedError: () => ({
    title: "The browser blocks the microphone for this page.",
    help: "Allow it in the permissions beside the address bar, and press Start again. A sound file works without.",
  }),
  NotFoundError: () => ({
    title: "There is no microphone.",
    help: "Plug one in, or switch it on in the system's sound settings, and press Start again. A sound file works without.",
  }),
  OverconstrainedError: () => ({
    title: "The chosen microphone is not there any more.",
    help: "Choose another one and press Start again.",
  }),
  NotReadableError: () => ({
    title: "The microphone could not be opened.",
    help: "Another program may be using it: close that one, and press Start again.",
  }),
  "device-gone": () => ({
    title: "The microphone is gone.",
    help: "It was unplugged or removed. The results so far remain; press Start to use another one.",
  }),
  EncodingError: (name) => ({
    title: `The browser cannot decode ${name}.`,
    help: "WAV, FLAC, MP3 and Ogg work everywhere. Was it a sound file?",
  }),
  NotFoundFile: (name) => ({ title: `${name} could not be read.`, help: "It may have been moved or deleted. Choose it again." }),
  token: () => ({
    title: "The server wants a token.",
    help: "Ask its operator for one, and enter it here.",
  }),
  "wrong-token": () => ({
    title: "The server does not accept this token.",
    help: "Check it for a missing or extra character. It may also have been withdrawn.",
  }),
  gone: () => ({
    title: "The server does not answer.",
    help: "What it said so far stands. This page tries again by itself and goes on when it is back.",
  }),
  unreachable: (reason) => ({ title: "There is no connection to the server.", help: `${reason}. Press Start to try again.` }),
  missing: (what) => ({ title: "The server ended the stream, and results are missing.", help: `${what}. Its log may say why.` }),
  busy: (reason) => ({
    title: "The server takes no more streams just now.",
    help: `It says: ${reason}. This page tries again by itself.`,
  }),
  refused: (reason) => ({
    title: "The server refused the stream.",
    help: reason || "It gave no reason that a browser can read. Its log has one.",
  }),
  1001: () => ({
    title: "The server is shutting down.",
    help: "What it said so far stands. This page goes on when it is back.",
  }),
  1008: (reason) => ({ title: "The server ended the connection.", help: reason || "It asks for a token, or waited too long." }),
  1009: () => ({
    title: "A message was larger than the server takes.",
    help: "Its limits.message_bytes is smaller than this page needs.",
  }),
  1011: () => ({
    title: "Something failed inside the server.",
    help: "Its log says what. Press Start to try again.",
  }),
  1013: () => ({
    title: "The server is overloaded and had to give this stream up.",
    help: "What it said so far stands. This page tries again by itself.",
  }),
  behind: () => ({
    title: "The network or the server is too slow for live audio.",
    help: "More audio waits to be sent than this page keeps. What is beyond that is silence.",
  }),
};

export function explain(kind, detail) {
  const known = PROBLEMS[kind];
  return known ? known(detail) : { title: "Something went wrong.", help: String(detail || kind) };
}

function localAddress() {
  const port = location.port ? `:${location.port}` : "";
  return `http://localhost${port}`;
}
