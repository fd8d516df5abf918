// The message under the controls: what went wrong, or what is good to know.

export class Notice {
  #box;
  #title;
  #help;

  constructor({ box, title, help, close }) {
    this.#box = box;
    this.#title = title;
    this.#help = help;
    close.addEventListener("click", () => this.hide());
  }

  show({ title, help }, kind = "bad") {
    this.#box.dataset.kind = kind;
    this.#title.textContent = title;
    this.#help.textContent = help;
    this.#box.hidden = false;
  }

  hide() {
    this.#box.hidden = true;
  }
}
