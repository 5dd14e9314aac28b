import "./level-meter.js";
import { StatsReader } from "../sdk/stats.js";
import { WhipPublisher } from "../sdk/whip-publisher.js";
import { announce } from "./announce.js";
import { BroadcastSource, broadcastQualities } from "./broadcast-source.js";
import { canShareScreen } from "./controls.js";
import { around, h, setText } from "./dom.js";
import { TOKEN_SHOWN, foreignEncoders } from "./foreign-encoders.js";
import { formatRate } from "./format.js";
import { icon, mark } from "./icons.js";
import { LocalDevices } from "./local-devices.js";
import { showToggle } from "./lobby-view.js";
import { publishProblem } from "./problems.js";
import { describeAudio, describeVideo } from "./statistics-feed.js";
import { nameless, noneYet, turned } from "./device-words.js";
import { number, t } from "./words.js";

/** @typedef {import("./local-devices.js").Kind} Kind */

/** Between two readings. */
const READ_MS = 1_000;
/** More loss than this is seen and heard. */
const LOSS_MAX = 0.05;
/** @type {[number, string][]} */
const HEIGHTS = [
  [360, `360p, ${number(0.7, 1)} Mbit/s`],
  [720, `720p, ${number(2.5, 1)} Mbit/s`],
  [1080, `1080p, ${number(4.5, 1)} Mbit/s`],
];

/** Broadcasts to a room. */
export class PublishView extends HTMLElement {
  #room;
  #token;
  #devices = new LocalDevices();
  #source = new BroadcastSource(this.#devices);
  /** @type {WhipPublisher} */ #publisher;
  #stats = new StatsReader();
  #badge = h("span", { className: "live-badge", hidden: true }, t("Live"));
  #video = h("video", { autoplay: true, muted: true, playsInline: true, "aria-label": t("What you broadcast") });
  #hint = h("p", { className: "publish-hint" });
  #meter = /** @type {import("./level-meter.js").LevelMeter} */ (document.createElement("level-meter"));
  #mute = h("button", { type: "button", className: "round", onclick: () => this.#toggleMicrophone() });
  #go = h("button", { type: "button", className: "button primary large", id: "go", onclick: () => this.#toggle() });
  #problem = h("div", { className: "problem", role: "alert", hidden: true });
  #health = h("strong");
  #rows = h("dl", { className: "publish-rows" });
  #status = h("section", { className: "publish-health", hidden: true, "aria-label": t("Health of the broadcast") }, this.#health, this.#rows);
  #pictures;
  #sounds;
  #cameras = h("select", { id: "camera", onchange: () => this.#devices.choose("camera", this.#cameras.value) });
  #microphones = h("select", { id: "microphone", onchange: () => this.#devices.choose("microphone", this.#microphones.value) });
  #heights = h("select", { id: "height", onchange: () => this.#source.setHeight(Number(this.#heights.value)) }, ...HEIGHTS.map(([value, text]) => h("option", { value: String(value) }, text)));
  #tokenInput = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: false });
  #tokenForm = h("form", { className: "publish-token", hidden: true, onsubmit: (/** @type {Event} */ event) => this.#useToken(event) }, h("label", { for: "token" }, t("Token")), h("div", { className: "field" }, this.#tokenInput, h("button", { className: "button" }, t("Use it"))));
  #encoders = h("div", { className: "encoders" });
  /** @type {number | undefined} */
  #timer;
  #stop = new AbortController();

  /** @param {string} room @param {string} token */
  constructor(room, token) {
    super();
    this.#room = room;
    this.#token = token;
    this.#publisher = this.#newPublisher();
    this.#pictures = choices(t("Picture"), "picture", [["camera", t("Camera")], ...(canShareScreen ? [/** @type {[string, string]} */ (["screen", t("Screen or window")])] : []), ["none", t("None")]], (value) => this.#source.showPicture(/** @type {import("./broadcast-source.js").Picture} */ (value)));
    this.#sounds = choices(t("Sound"), "sound", [["microphone", t("Microphone")], ...(canShareScreen ? [/** @type {[string, string]} */ (["screen", t("Sound of the screen")])] : []), ["none", t("None")]], (value) => this.#source.playSound(/** @type {import("./broadcast-source.js").Sound} */ (value)));
  }

  connectedCallback() {
    this.#heights.value = String(this.#source.height);
    const watch = new URL(`/watch/${encodeURIComponent(this.#room)}`, location.href).href;
    this.replaceChildren(
      h("header", { className: "publish-head" }, h("a", { className: "brand small", href: "/", title: t("To the start") }, mark(), h("span", {}, "Twocan")), this.#badge),
      h("h1", {}, ...around(t("Broadcast to {room}"), "{room}", this.#room)),
      h(
        "div",
        { className: "publish-columns" },
        h(
          "div",
          { className: "publish-main" },
          h("section", { className: "preview", "aria-label": t("Preview") }, this.#video, this.#hint, this.#meter, h("div", { className: "preview-controls" }, this.#mute)),
          this.#problem,
          this.#tokenForm,
          this.#go,
          this.#status,
        ),
        h(
          "div",
          { className: "publish-side" },
          h("div", { className: "card" }, this.#pictures, row("camera", t("Camera"), this.#cameras), this.#sounds, row("microphone", t("Microphone"), this.#microphones), row("height", t("Quality"), this.#heights)),
          h("p", { className: "publish-link" }, t("Whoever watches opens"), " ", h("a", { href: watch, target: "_blank", rel: "noopener" }, watch.replace(/^https?:\/\//, ""))),
        ),
      ),
      h("details", { className: "card publish-foreign" }, h("summary", {}, t("From another program: OBS, ffmpeg, GStreamer")), this.#encoders),
    );
    const { signal } = this.#stop;
    this.#source.on("change", () => this.#changed(), { signal });
    addEventListener("pagehide", () => this.#publisher.stop(), { signal });
    addEventListener("beforeunload", (event) => this.#publisher.isOn && event.preventDefault(), { signal });
    this.#timer = setInterval(() => this.#read(), READ_MS);
    this.#devices.start();
    this.#showEncoders();
    this.#refresh();
  }

  disconnectedCallback() {
    this.#stop.abort();
    clearInterval(this.#timer);
    this.#publisher.stop();
    this.#source.stop();
    this.#devices.stop();
  }

  #newPublisher() {
    const url = new URL(`/whip/${encodeURIComponent(this.#room)}`, location.href);
    const publisher = new WhipPublisher({ url, token: this.#token, encodings: () => broadcastQualities(this.#source.height) });
    publisher.on("change", () => publisher === this.#publisher && this.#moved());
    return publisher;
  }

  /** The state of the broadcast is another one. */
  #moved() {
    const { state } = this.#publisher;
    if (state === "connected") announce(t("You are live"));
    if (state === "interrupted") announce(t("The connection is interrupted. Reconnecting…"), { urgent: true });
    if (state === "refused" && this.#publisher.error?.status === 401) {
      this.#tokenForm.hidden = false;
      this.#tokenInput.focus();
    }
    this.#refresh();
  }

  /** What is broadcast is another one. */
  async #changed() {
    const { video, audio } = this.#source.tracks;
    if (this.#publisher.isOn && !video && !audio) this.#publisher.stop();
    try {
      await this.#publisher.send("video", video);
      await this.#publisher.send("audio", audio);
    } catch (error) {
      console.warn("not sent", error); // the connection ended meanwhile; the next one sends it
    }
    this.#refresh();
  }

  #toggle() {
    if (this.#publisher.isOn) {
      this.#publisher.stop();
      announce(t("The broadcast has ended"));
    } else {
      this.#stats = new StatsReader();
      this.#publisher.start();
    }
    this.#refresh();
  }

  async #toggleMicrophone() {
    const on = !this.#devices.isOn("microphone");
    await this.#devices.set("microphone", on);
    announce(turned("microphone", on));
  }

  /** @param {Event} event */
  #useToken(event) {
    event.preventDefault();
    this.#token = this.#tokenInput.value.trim();
    this.#tokenInput.value = "";
    this.#tokenForm.hidden = true;
    this.#publisher.stop();
    this.#publisher = this.#newPublisher();
    this.#showEncoders();
    this.#changed();
    this.#go.focus();
  }

  #refresh() {
    const { state, isOn, error } = this.#publisher;
    const { video, audio } = this.#source.tracks;
    const shown = /** @type {MediaStream | null} */ (this.#video.srcObject)?.getTracks()[0] ?? null;
    if (shown !== video) this.#video.srcObject = video ? new MediaStream([video]) : null;
    this.#video.hidden = !video;
    this.#video.classList.toggle("mirrored", this.#source.picture === "camera");
    this.#video.classList.toggle("whole", this.#source.picture === "screen");
    setText(this.#hint, video ? "" : this.#source.picture === "camera" ? (this.#devices.problems.camera?.title ?? t("Starting the camera…")) : t("No picture is sent"));
    this.#meter.listen(audio);
    this.#meter.hidden = !audio;
    this.#mute.hidden = this.#source.sound !== "microphone" || !audio;
    showToggle(this.#mute, "microphone", this.#devices.isOn("microphone"));
    this.#badge.hidden = state !== "connected";
    setText(this.#go, isOn ? t("Stop the broadcast") : t("Start the broadcast"));
    this.#go.classList.toggle("stop", isOn);
    this.#go.disabled = !isOn && !video && !audio;
    this.#heights.disabled = isOn;
    this.#pictures.pick(this.#source.picture);
    this.#sounds.pick(this.#source.sound);
    this.#sounds.allow("screen", this.#source.screenHasSound);
    fill(this.#cameras, this.#devices, "videoinput", "camera");
    fill(this.#microphones, this.#devices, "audioinput", "microphone");
    this.#showProblem(state === "refused" ? publishProblem(error) : this.#sourceProblem());
    this.#status.hidden = !isOn;
    if (state !== "connected") this.#showHealth("", error && state !== "interrupted" ? `${error.status === 409 || error.status === 404 ? publishProblem(error).title : t("The server cannot be reached")}. ${t("It is tried again.")}` : state === "interrupted" ? `${t("Connection interrupted")}. ${t("Reconnecting…")}` : t("Connecting…"), []);
  }

  #sourceProblem() {
    const { camera, microphone } = this.#devices.problems;
    const wanted = this.#source.picture === "camera" && camera ? camera : this.#source.sound === "microphone" ? microphone : null;
    return this.#source.screenProblem ?? (wanted && this.#devices.commonProblem) ?? wanted;
  }

  /** @param {import("./problems.js").Problem | null} problem */
  #showProblem(problem) {
    this.#problem.hidden = !problem;
    const title = problem?.title ?? "";
    if (this.#problem.dataset.title === title) return;
    this.#problem.dataset.title = title;
    this.#problem.replaceChildren(...(problem ? [icon("warning"), h("div", {}, h("strong", {}, problem.title), h("p", {}, problem.advice))] : []));
  }

  async #read() {
    const { connection, state } = this.#publisher;
    if (!connection || state !== "connected") return;
    const { tracks, transport } = await this.#stats.read(connection);
    if (this.#publisher.state !== "connected") return;
    const out = tracks.filter(({ direction }) => direction === "out");
    const videos = out.filter(({ kind, bitrate }) => kind === "video" && bitrate > 0).sort((a, b) => b.width - a.width);
    const losses = out.flatMap(({ loss, packets }) => (loss === null || packets === 0 ? [] : [loss]));
    const loss = losses.length > 0 ? Math.max(...losses) : 0;
    const limited = out.find((track) => track.limited)?.limited ?? "";
    /** @type {[string, string][]} */
    const rows = [[t("Sending"), formatRate(out.reduce((sum, { bitrate }) => sum + bitrate, 0))]];
    for (const video of videos) rows.push([t("Video"), describeVideo(video)]);
    for (const sound of out.filter(({ kind, bitrate }) => kind === "audio" && bitrate > 0)) rows.push([t("Audio"), describeAudio(sound)]);
    rows.push([t("Round trip"), transport.rttMs === null ? "–" : `${Math.round(transport.rttMs)} ms`]);
    if (transport.availableOutgoing) rows.push([t("The way carries"), formatRate(transport.availableOutgoing)]);
    if (loss > LOSS_MAX) this.#showHealth("bad", t("Weak: {percent} % of what is sent is lost", { percent: Math.round(loss * 100) }), rows);
    else if (limited === "cpu") this.#showHealth("weak", t("This computer is too slow for this quality"), rows);
    else if (limited === "bandwidth") this.#showHealth("weak", t("The connection is slower than this quality wants"), rows);
    else this.#showHealth("good", t("Good"), rows);
  }

  /**
   * @param {"" | "good" | "weak" | "bad"} health
   * @param {string} text
   * @param {[string, string][]} rows
   */
  #showHealth(health, text, rows) {
    const before = this.#health.textContent;
    this.#status.dataset.health = health;
    setText(this.#health, text);
    if (text !== before && (health === "bad" || health === "weak")) announce(text);
    this.#rows.replaceChildren(...rows.flatMap(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]));
  }

  #showEncoders() {
    const url = new URL(`/whip/${encodeURIComponent(this.#room)}`, location.href).href;
    const shown = foreignEncoders(url, this.#token ? TOKEN_SHOWN : "");
    const real = foreignEncoders(url, this.#token);
    this.#encoders.replaceChildren(
      ...(this.#token ? [h("p", { className: "soft" }, t("What is copied has your token in the place of {shown}.", { shown: TOKEN_SHOWN }))] : []),
      ...shown.map(({ name, note, lines }, index) =>
        h(
          "section",
          {},
          h("h2", {}, name),
          h("p", { className: "soft" }, note),
          ...lines.map(({ label, text }, line) => {
            const button = h("button", { type: "button", className: "button small", "aria-label": t("Copy {name}: {label}", { name, label }), onclick: () => copy(button, real[index].lines[line].text) }, t("Copy"));
            return h("div", { className: "copy-row" }, h("span", { className: "soft" }, label), h("code", { tabIndex: 0, role: "group", "aria-label": label }, text), button);
          }),
        ),
      ),
    );
  }
}

/** @param {HTMLButtonElement} button @param {string} text */
async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    setText(button, t("Copied"));
    announce(t("Copied"));
  } catch {
    announce(t("The browser does not let this page copy"), { urgent: true });
    setText(button, t("Not copied"));
  }
  setTimeout(() => setText(button, t("Copy")), 2_000);
}

/**
 * @param {string} id
 * @param {string} text
 * @param {HTMLElement} control
 */
function row(id, text, control) {
  return h("div", { className: "publish-row" }, h("label", { for: id }, text), control);
}

/**
 * A group of radio buttons, of which another one may be picked or barred later.
 *
 * @param {string} legend
 * @param {string} name
 * @param {[string, string][]} options
 * @param {(value: string) => void} chosen
 */
function choices(legend, name, options, chosen) {
  const radios = new Map(options.map(([value]) => [value, h("input", { type: "radio", name, value, onchange: () => chosen(value) })]));
  const group = h("fieldset", { className: "publish-choices" }, h("legend", {}, legend), ...options.map(([value, text]) => h("label", { className: "check" }, radios.get(value), text)));
  return Object.assign(group, {
    /** @param {string} value */
    pick(value) {
      const radio = radios.get(value);
      if (radio) radio.checked = true;
    },
    /** @param {string} value @param {boolean} may */
    allow(value, may) {
      const radio = radios.get(value);
      if (radio) radio.disabled = !may;
    },
  });
}

/**
 * @param {HTMLSelectElement} select
 * @param {LocalDevices} devices
 * @param {MediaDeviceKind} kind
 * @param {Kind} name
 */
function fill(select, devices, kind, name) {
  const found = devices.list.filter((device) => device.kind === kind && device.deviceId !== "");
  const signature = found.map(({ deviceId, label }) => `${deviceId}\n${label}`).join("\n\n");
  if (select.dataset.signature !== signature || select.options.length === 0) {
    select.dataset.signature = signature;
    select.replaceChildren(...(found.length > 0 ? found.map(({ deviceId, label }, index) => h("option", { value: deviceId }, label || nameless(name, index + 1))) : [h("option", { value: "" }, noneYet(name))]));
  }
  select.disabled = found.length === 0;
  const current = devices.tracks[name]?.getSettings().deviceId;
  if (current && [...select.options].some(({ value }) => value === current)) select.value = current;
}

customElements.define("publish-view", PublishView);
