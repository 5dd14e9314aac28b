/** Paths on a 24 by 24 grid, drawn with a line. @type {Record<string, string>} */
const PATHS = {
  microphone: "M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5V21M8.5 21h7",
  "microphone-off": "M9 9v2a3 3 0 0 0 4.6 2.5M15 11V6a3 3 0 0 0-5.8-1M5.5 11a6.5 6.5 0 0 0 10.4 5.2M18.5 11a6.5 6.5 0 0 1-.6 2.7M12 17.5V21M8.5 21h7M4 3.5l16 17",
  camera: "M4.5 6.5h9a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2zM15.5 10.5l6-3v9l-6-3",
  "camera-off": "M8.5 6.5h5a2 2 0 0 1 2 2v4M15.5 14.5v1a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 1.2-1.8M15.5 10.5l6-3v9l-3.5-1.8M4 3.5l16 17",
  screen: "M4 4.5h16a1.5 1.5 0 0 1 1.5 1.5v9.5A1.5 1.5 0 0 1 20 17H4a1.5 1.5 0 0 1-1.5-1.5V6A1.5 1.5 0 0 1 4 4.5zM8.5 20.5h7M12 17v3.5M12 13.5V8M9.5 10.3L12 7.8l2.5 2.5",
  chat: "M5 4.5h14a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-7.5L7 20.5v-4H5a2 2 0 0 1-2-2v-8a2 2 0 0 1 2-2zM8 9h8M8 12.3h5",
  attach: "M19.5 11.5l-7.6 7.6a4.6 4.6 0 0 1-6.5-6.5l8-8a3.1 3.1 0 0 1 4.4 4.4l-7.9 7.9a1.6 1.6 0 0 1-2.2-2.2l7.2-7.2",
  send: "M4 12h15M13 6l6.5 6L13 18",
  copy: "M9 8.5h9A1.5 1.5 0 0 1 19.5 10v9a1.5 1.5 0 0 1-1.5 1.5H9A1.5 1.5 0 0 1 7.5 19v-9A1.5 1.5 0 0 1 9 8.5zM4.5 15.5V5A1.5 1.5 0 0 1 6 3.5h9.5",
  lock: "M7 10.5V8a5 5 0 0 1 10 0v2.5M6 10.5h12a1.5 1.5 0 0 1 1.5 1.5v7a1.5 1.5 0 0 1-1.5 1.5H6A1.5 1.5 0 0 1 4.5 19v-7A1.5 1.5 0 0 1 6 10.5zM12 14.5v2.5",
  link: "M10 14a4 4 0 0 0 5.8.2l3-3a4 4 0 0 0-5.7-5.7l-1.5 1.5M14 10a4 4 0 0 0-5.8-.2l-3 3a4 4 0 0 0 5.7 5.7l1.5-1.5",
  hand: "M8 13.5V6.4a1.4 1.4 0 0 1 2.8 0V11M10.8 10.8V4.4a1.4 1.4 0 0 1 2.8 0v6.4M13.6 11V5.6a1.4 1.4 0 0 1 2.8 0V12M16.4 12V8.4a1.4 1.4 0 0 1 2.8 0v6.2a7 7 0 0 1-7 7c-3 0-4.6-1.3-6-3.6l-2.6-4.4a1.4 1.4 0 0 1 2.3-1.6L8 14",
  react: "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17zM8.3 14a4.2 4.2 0 0 0 7.4 0M9 9.5v.6M15 9.5v.6",
  back: "M14.5 5.5L8 12l6.5 6.5",
  next: "M9.5 5.5L16 12l-6.5 6.5",
  check: "M4.5 12.5l5 5 10-11",
  leave: "M3.5 14.8c5-4.7 12-4.7 17 0l-1.7 2.5-3.6-1.2v-2.6a11 11 0 0 0-6.4 0v2.6l-3.6 1.2z",
  more: "M6.5 12a1 1 0 1 1-2 0 1 1 0 0 1 2 0zM13 12a1 1 0 1 1-2 0 1 1 0 0 1 2 0zM19.5 12a1 1 0 1 1-2 0 1 1 0 0 1 2 0z",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.8v4.4M9 14.8v4.4",
  statistics: "M4.5 19.5v-6M9.5 19.5v-11M14.5 19.5v-8M19.5 19.5V5",
  help: "M9.3 9.3a2.7 2.7 0 1 1 4.2 2.3c-.9.6-1.5 1.2-1.5 2.4M12 17.3v.01M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18z",
  close: "M6 6l12 12M18 6L6 18",
  people: "M9 11a3.3 3.3 0 1 0 0-6.6A3.3 3.3 0 0 0 9 11zM2.8 19.5a6.2 6.2 0 0 1 12.4 0M16 5a3 3 0 0 1 0 5.6M17.5 14a6 6 0 0 1 3.7 5.5",
  again: "M4.5 12a7.5 7.5 0 0 1 13-5l2 2M19.5 4.5V9H15M19.5 12a7.5 7.5 0 0 1-13 5l-2-2M4.5 19.5V15H9",
  download: "M12 4v11M7.5 11l4.5 4.5 4.5-4.5M4.5 19.5h15",
  warning: "M12 4l9 15.5H3zM12 10v4.5M12 17v.01",
  file: "M6.5 3.5h7l5 5v11a1 1 0 0 1-1 1h-11a1 1 0 0 1-1-1v-15a1 1 0 0 1 1-1zM13.5 3.5v5h5",
  speaker: "M4 9.5h3.5L12 5.5v13l-4.5-4H4zM15.5 9a4.5 4.5 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11",
  "speaker-off": "M4 9.5h3.5L12 5.5v13l-4.5-4H4zM16 9.8l4.5 4.5M20.5 9.8L16 14.3",
  play: "M8 5.5v13l10.5-6.5z",
  stop: "M5.5 5.5h13v13h-13z",
  "full-screen": "M4.5 9V5.5A1 1 0 0 1 5.5 4.5H9M15 4.5h3.5a1 1 0 0 1 1 1V9M19.5 15v3.5a1 1 0 0 1-1 1H15M9 19.5H5.5a1 1 0 0 1-1-1V15",
  "picture-in-picture": "M4 5.5h16a1 1 0 0 1 1 1v11a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1v-11a1 1 0 0 1 1-1zM12.5 12h5.5v4h-5.5z",
  report: "M6.5 3.5h7l5 5v11a1 1 0 0 1-1 1h-11a1 1 0 0 1-1-1v-15a1 1 0 0 1 1-1zM9 12h6M9 15.5h6",
  layout: "M4.5 4.5h6.5v15H4.5zM14 4.5h5.5v6H14zM14 13.5h5.5v6H14z",
  pin: "M9 4h6l-1 6 3 3v1.5H7V13l3-3zM12 14.5V20",
  out: "M14 4.5h4a1.5 1.5 0 0 1 1.5 1.5v12a1.5 1.5 0 0 1-1.5 1.5h-4M4.5 12h10M11 8l4 4-4 4",
};

const SVG = "http://www.w3.org/2000/svg";

/**
 * A drawing for those who see; what it means is said by the label of the control around it.
 *
 * @param {keyof typeof PATHS & string} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name] ?? "");
  svg.append(path);
  return svg;
}

/** The mark: two cans and the string between them. */
export function mark() {
  const image = document.createElement("img");
  image.src = "/favicon.svg";
  image.alt = "";
  image.className = "mark";
  return image;
}
