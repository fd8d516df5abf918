// A hook: live captions of the microphone, from a Voxgate server.
//
//   const { isOn, lines, interim, error, start, stop } = useCaptions("wss://voice.example.com/api/v1/segmented");
//
// lines: [{ from_s, to_s, text }], one for each utterance; interim: { settled, rest } of the one that is being spoken.

import { useCallback, useEffect, useRef, useState } from "react";

const NOTHING = { settled: "", rest: "" };

async function openMicrophone(onAudio) {
  const media = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: { ideal: 1 } } });
  const { sampleRate } = media.getAudioTracks()[0].getSettings();
  const context = new AudioContext(sampleRate ? { sampleRate } : {});
  await context.audioWorklet.addModule(new URL("capture.js", document.baseURI));
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  node.port.onmessage = ({ data }) => onAudio(data);
  context.createMediaStreamSource(media).connect(node);
  const close = () => {
    for (const track of media.getTracks()) track.stop();
    if (context.state !== "closed") void context.close();
  };
  return { sampleRate: context.sampleRate, close };
}

export function useCaptions(url, token = null) {
  const [isOn, setIsOn] = useState(false);
  const [lines, setLines] = useState([]);
  const [interim, setInterim] = useState(NOTHING);
  const [error, setError] = useState(null);
  const running = useRef(null); // { socket, microphone }

  const end = useCallback(() => {
    running.current?.microphone?.close();
    running.current = null;
    setIsOn(false);
    setInterim(NOTHING);
  }, []);

  const start = useCallback(async () => {
    if (running.current !== null) return;
    const own = (running.current = { socket: null, microphone: null });
    setError(null);
    setIsOn(true);
    try {
      own.microphone = await openMicrophone((samples) => {
        if (own.socket?.readyState === WebSocket.OPEN) own.socket.send(samples);
      });
    } catch (failure) {
      setError(failure.message);
      end();
      return;
    }
    const socket = (own.socket = new WebSocket(url));
    socket.onopen = () =>
      socket.send(
        JSON.stringify({
          request: "start",
          format: { channels: 1, sample_rate: own.microphone.sampleRate, bit_depth: 16, is_float: false },
          interim_results: true,
          stability: true,
          ...(token === null ? {} : { token }),
        }),
      );
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "error") setError(event.message);
      if (event.type !== "segment") return;
      const { text = "", stable_text: settled = "" } = event;
      if (event.is_final) {
        setInterim(NOTHING);
        if (text) setLines((before) => [...before, { from_s: event.start_time, to_s: event.end_time, text }]);
      } else {
        setInterim(text.startsWith(settled) ? { settled, rest: text.slice(settled.length) } : { settled: "", rest: text });
      }
    };
    socket.onclose = ({ code, reason }) => {
      if (code !== 1000) setError(reason || `the connection ended with code ${code}`);
      if (running.current === own) end();
    };
  }, [url, token, end]);

  // The results of what was said still come; then the server closes.
  const stop = useCallback(() => {
    const own = running.current;
    if (own === null) return;
    own.microphone?.close();
    if (own.socket?.readyState === WebSocket.OPEN) own.socket.send('{"request":"stop","disconnect":true}');
    else end();
  }, [end]);

  useEffect(() => () => running.current?.socket?.close(), []);
  return { isOn, lines, interim, error, start, stop };
}
