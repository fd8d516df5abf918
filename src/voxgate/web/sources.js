// What to listen to: a microphone, a sound file, or the sample that the server has.

import { SoundFile } from "./file.js";
import { Microphone, listMicrophones, whyNoMicrophone } from "./client/microphone.js";
import { explain } from "./problems.js";
import { RawFile, containerOf } from "./rawfile.js";
import { recordedKind } from "./client/recorder.js";
import { address } from "./server.js";

const INPUTS = '#source-kind input, input[name="pace"], #device, #processing, #compress, #file';
const SAMPLE = "sample.flac"; // half a minute of a person who reads

export class Sources {
  #at;
  #notice;
  #on;
  #info = null;
  #file = null;
  #isSample = false;

  // at: the element with an id. on: { chosen(), mayDrop(), dropped() }
  constructor(at, notice, on) {
    this.#at = at;
    this.#notice = notice;
    this.#on = on;
    at("source-kind").addEventListener("change", () => {
      this.#showKind();
      on.chosen();
    });
    at("file").addEventListener("change", () => {
      const [file] = at("file").files;
      if (file) this.#choose(file);
    });
    navigator.mediaDevices?.addEventListener?.("devicechange", () => void this.#showMicrophones());
    this.#takeDrops();
    void this.#showMicrophones();
    this.#showKind();
  }

  get kind() {
    return document.querySelector('input[name="source"]:checked').value;
  }

  get hasFile() {
    return this.#file !== null;
  }

  // The server described itself.
  describe(info) {
    this.#info = info;
    this.#at("compress-label").hidden = recordedKind(info.containers ?? []) === null;
  }

  // Whether a person may choose.
  set isOpen(isOpen) {
    for (const input of document.querySelectorAll(INPUTS)) input.disabled = !isOpen;
  }

  // The chosen source, opened; null, and a notice, when it cannot be.
  open() {
    return this.kind === "file" ? this.#openFile() : this.#openMicrophone();
  }

  // Chooses the server's sample, at live pace. False, and a notice, when it cannot be fetched.
  async chooseSample() {
    try {
      const response = await fetch(address(`web/${SAMPLE}`));
      if (!response.ok) throw new Error(response.statusText);
      this.#take(new File([await response.blob()], SAMPLE));
      document.querySelector('input[name="pace"][value="live"]').checked = true;
      this.#isSample = true;
      return true;
    } catch {
      this.#notice.show(explain("gone"));
      return false;
    }
  }

  // Whether the chosen file is the sample, which the page plays aloud.
  get isSample() {
    return this.#isSample && this.kind === "file";
  }

  #take(file) {
    document.querySelector('input[name="source"][value="file"]').checked = true;
    this.#showKind();
    this.#choose(file);
  }

  #choose(file) {
    this.#file = file;
    this.#isSample = false;
    this.#at("file-name").textContent = file.name;
    this.#on.chosen();
  }

  #showKind() {
    this.#at("microphone-options").hidden = this.kind !== "microphone";
    this.#at("file-options").hidden = this.kind !== "file";
  }

  async #showMicrophones() {
    const device = this.#at("device");
    const chosen = device.value;
    const named = (await listMicrophones()).filter((one) => one.label && one.deviceId);
    device.replaceChildren(
      new Option("Default microphone", ""),
      ...named.filter((one) => one.deviceId !== "default").map((one) => new Option(one.label, one.deviceId)),
    );
    device.value = named.some((one) => one.deviceId === chosen) ? chosen : "";
  }

  async #openMicrophone() {
    const why = whyNoMicrophone();
    if (why !== null) {
      this.#notice.show(explain(why));
      return null;
    }
    try {
      const microphone = await Microphone.open({
        deviceId: this.#at("device").value,
        processing: this.#at("processing").checked,
        recorded: this.#at("compress").checked ? recordedKind(this.#info?.containers ?? []) : null,
      });
      void this.#showMicrophones(); // the browser reveals their names only now
      return microphone;
    } catch (error) {
      this.#notice.show(explain(error.name, error.message));
      return null;
    }
  }

  async #openFile() {
    if (this.#file === null) {
      this.#at("file").click();
      return null;
    }
    const live = document.querySelector('input[name="pace"]:checked').value === "live";
    try {
      const file = await SoundFile.open(this.#file, { live, maxChannels: this.#info?.limits?.channels ?? 8 });
      if (file.channels < file.fileChannels) {
        this.#notice.show({
          title: `The file has ${file.fileChannels} channels, and the server takes ${file.channels}.`,
          help: `The first ${file.channels} are sent.`,
        });
      }
      return file;
    } catch (error) {
      const raw = error.name === "EncodingError" ? await this.#rawFile() : null;
      if (raw !== null) return raw;
      this.#notice.show(explain(error.name === "EncodingError" ? "EncodingError" : "NotFoundFile", this.#file.name));
      return null;
    }
  }

  // The chosen file as it is, when the server decodes what it looks like; else null.
  async #rawFile() {
    const bytes = await this.#file.slice(0, 12).arrayBuffer();
    if (!(this.#info?.containers ?? []).includes(containerOf(bytes))) return null;
    this.#notice.show(
      {
        title: `The browser cannot decode ${this.#file.name}: the server does.`,
        help: "It is sent as it is, at full speed. The picture has no wave, and results cannot be heard.",
      },
      "good",
    );
    return new RawFile(this.#file);
  }

  // A file may be dropped anywhere; it is sent at once.
  #takeDrops() {
    const area = this.#at("drop");
    const hasFile = (event) => event.dataTransfer?.types.includes("Files");
    let n_over = 0;
    addEventListener("dragenter", (event) => {
      if (!hasFile(event)) return;
      n_over++;
      area.hidden = !this.#on.mayDrop();
    });
    addEventListener("dragleave", (event) => {
      if (hasFile(event) && --n_over <= 0) area.hidden = true;
    });
    addEventListener("dragover", (event) => {
      if (hasFile(event)) event.preventDefault();
    });
    addEventListener("drop", (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      n_over = 0;
      area.hidden = true;
      const [file] = event.dataTransfer.files;
      if (!this.#on.mayDrop() || !file) return;
      this.#take(file);
      this.#on.dropped();
    });
  }
}
