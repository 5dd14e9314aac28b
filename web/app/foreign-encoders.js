/**
 * What is typed into other programs so that they broadcast to a room.
 *
 * @typedef {{name: string, note: string, lines: {label: string, text: string}[]}} Encoder
 */
import { t } from "./words.js";

/** Stands for the token on the screen, which others may see. */
export const TOKEN_SHOWN = "TOKEN";

/**
 * @param {string} url of WHIP
 * @param {string} token empty where none is needed
 * @returns {Encoder[]}
 */
export function foreignEncoders(url, token) {
  const whip = shell(url);
  const ffmpegToken = token ? `-authorization ${shell(token)} ` : "";
  const gstToken = token ? ` auth-token=${shell(token)}` : "";
  return [
    {
      name: "OBS Studio",
      note: t("Settings, Stream: service “WHIP”. Output: H.264 without B-frames, a key frame every 1 or 2 s."),
      lines: [{ label: t("Server"), text: url }, ...(token ? [{ label: t("Bearer token"), text: token }] : [])],
    },
    {
      name: t("ffmpeg 8 or later"),
      note: t("In place of film.mp4 any source."),
      lines: [{ label: t("Command"), text: `ffmpeg -re -i film.mp4 -c:v libx264 -profile:v baseline -pix_fmt yuv420p -bf 0 -g 60 -c:a libopus -ar 48000 -ac 2 -f whip ${ffmpegToken}${whip}` }],
    },
    {
      name: "GStreamer",
      note: t("Releases that make RSA certificates do not connect: the server knows ECDSA."),
      lines: [
        {
          label: t("Command"),
          text: `gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,width=1280,height=720,framerate=30/1 ! vp8enc deadline=1 keyframe-max-dist=60 ! rtpvp8pay pt=96 ! whipsink whip-endpoint=${whip}${gstToken}`,
        },
      ],
    },
  ];
}

/** One word of a shell. @param {string} text */
function shell(text) {
  return /^[\w./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
