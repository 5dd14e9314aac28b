/** Below this the room is quiet; a fan makes about half of it. */
const FLOOR = 0.012;
/** Speech at arm's length comes to about this; louder is shown as full. */
const FULL = 0.25;

/** How loud a local microphone is, measured in the page. */
export class SoundLevel {
  #context = new AudioContext();
  #analyser = this.#context.createAnalyser();
  #samples = new Float32Array(1024);
  /** @type {MediaStreamAudioSourceNode | null} */
  #source = null;
  /** @type {MediaStreamTrack | null} */
  #track = null;

  /** @param {MediaStreamTrack | null} track */
  listen(track) {
    if (track === this.#track) return;
    this.#source?.disconnect();
    this.#source = null;
    this.#track = track;
    if (!track) return;
    this.#analyser.fftSize = this.#samples.length;
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(this.#analyser);
  }

  /** @returns {number} root mean square of the last moment, 0 to 1 */
  read() {
    if (!this.#track?.enabled) return 0;
    if (this.#context.state === "suspended") this.#context.resume().catch(() => {}); // waits for the first click
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const sample of this.#samples) sum += sample * sample;
    return Math.sqrt(sum / this.#samples.length);
  }

  close() {
    this.listen(null);
    this.#context.close().catch(() => {});
  }
}

/**
 * Loudness as the ear judges it, for a meter.
 *
 * @param {number} level root mean square, 0 to 1
 * @returns {number} 0 to 1
 */
export function loudness(level) {
  if (level <= FLOOR) return 0;
  return Math.min(1, Math.log(level / FLOOR) / Math.log(FULL / FLOOR));
}
