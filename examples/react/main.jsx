import { createRoot } from "react-dom/client";
import { useCaptions } from "./useCaptions.js";

const address = new URLSearchParams(location.search).get("server") ?? "ws://localhost:8080/api/v1/segmented";

function Captions() {
  const { isOn, lines, interim, error, start, stop } = useCaptions(address);
  return (
    <main>
      <button onClick={isOn ? stop : start}>{isOn ? "Stop" : "Start"}</button>
      {error && <p role="alert">{error}</p>}
      <ol>
        {lines.map(({ from_s, text }) => (
          <li key={from_s}>{text}</li>
        ))}
      </ol>
      <p aria-live="off">
        {interim.settled}
        <span style={{ opacity: 0.6 }}>{interim.rest}</span>
      </p>
    </main>
  );
}

createRoot(document.getElementById("root")).render(<Captions />);
