// Light, dark, or as the system has it: the button goes round, and the choice is kept.

const CHOICES = ["auto", "light", "dark"];
const WORDS = { auto: "as the system", light: "light", dark: "dark" };
const STORED = "voxgate.theme";

// onChange is called whenever the colours are others.
export function followTheme(button, name, onChange) {
  const show = (choice) => {
    document.documentElement.dataset.theme = choice;
    name.textContent = `Theme: ${choice}`;
    button.title = `Colours: ${WORDS[choice]}`;
    onChange();
  };
  let stored = null;
  try {
    stored = localStorage.getItem(STORED);
  } catch {
    // Storage may be forbidden.
  }
  show(CHOICES.includes(stored) ? stored : "auto");
  button.addEventListener("click", () => {
    const next = CHOICES[(CHOICES.indexOf(document.documentElement.dataset.theme) + 1) % CHOICES.length];
    try {
      localStorage.setItem(STORED, next);
    } catch {
      // As above: it holds until the page is left.
    }
    show(next);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onChange);
}
