// A hook: live captions of the microphone, from a Voxgate server.
//
//   const { isOn, lines, interim, error, start, stop } = useCaptions("wss://voice.example.com");
//
// lines: [{ from_s, to_s, text }], one for each utterance; interim: { settled, rest } of the one that is being spoken.

import { Microphone, stream } from "@voxgate/client";
import { useCallback, useEffect, useRef, useState } from "react";

const NOTHING = { settled: "", rest: "" };

export function useCaptions(url, token = null) {
  const [isOn, setIsOn] = useState(false);
  const [lines, setLines] = useState([]);
  const [interim, setInterim] = useState(NOTHING);
  const [error, setError] = useState(null);
  const running = useRef(null); // { captions }, null before the microphone is open

  const start = useCallback(async () => {
    if (running.current !== null) return;
    const own = (running.current = { captions: null });
    setError(null);
    setIsOn(true);
    try {
      const microphone = await Microphone.open();
      if (running.current !== own) return microphone.close(); // stopped meanwhile
      own.captions = stream(microphone, { url, token, interim_results: true, stability: true });
      for await (const event of own.captions) {
        if (event.type === "error") setError(event.message);
        if (event.type !== "segment") continue;
        const { text = "", stable_text: settled = "" } = event;
        if (event.is_final) {
          setInterim(NOTHING);
          if (text) setLines((before) => [...before, { from_s: event.start_time, to_s: event.end_time, text }]);
        } else {
          setInterim(text.startsWith(settled) ? { settled, rest: text.slice(settled.length) } : { settled: "", rest: text });
        }
      }
    } catch (failure) {
      setError(failure.message);
    } finally {
      if (running.current === own) {
        running.current = null;
        setIsOn(false);
        setInterim(NOTHING);
      }
    }
  }, [url, token]);

  // The results of what was said still come; then `start` ends.
  const stop = useCallback(() => {
    if (running.current?.captions) running.current.captions.stop();
    else {
      running.current = null;
      setIsOn(false);
    }
  }, []);

  useEffect(
    () => () => {
      running.current?.captions?.close();
      running.current = null;
    },
    [],
  );
  return { isOn, lines, interim, error, start, stop };
}
