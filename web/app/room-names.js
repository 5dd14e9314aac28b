const FIRST = (
  "amber autumn blue bold brave bright calm clever coral cosy crisp eager early fair fond free fresh gentle glad golden " +
  "green happy honest humble jolly keen kind lively lucky merry mild misty mossy neat noble olive plucky proud quick " +
  "quiet ready rosy royal rustic shiny silent silver smart snowy soft spry steady still sunny swift tidy vivid warm wise"
).split(" ");
const SECOND = (
  "acorn alder badger beaver birch brook canary cedar clover comet creek dolphin falcon fern finch fjord fox gecko " +
  "grove harbor hazel heron island jasper kestrel lagoon lark lemur lily lotus lynx magpie maple marten meadow mesa " +
  "moose oasis orchid osprey otter owl panda pebble pelican pine plover puffin quail raven reef river robin seal " +
  "sparrow spruce stork swan thistle tiger toucan tulip valley walnut willow wren yak zebra"
).split(" ");

/** A name that one can say on the phone and that others do not come upon by chance: about 26 bits. */
export function randomRoomName() {
  const [a, b, c] = crypto.getRandomValues(new Uint32Array(3));
  return `${FIRST[a % FIRST.length]}-${SECOND[b % SECOND.length]}-${1000 + (c % 9000)}`;
}

/** Longest name of a room in characters; the server takes 128 bytes. */
export const ROOM_NAME_MAX = 42;

/**
 * What a person typed, as a name that can stand in an address: letters and digits of any script, dashes between.
 *
 * @param {string} typed
 */
export function roomNameOf(typed) {
  return typed
    .normalize("NFKC")
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}_]+/gu, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, ROOM_NAME_MAX);
}

/**
 * The room that an address names: `/blue-otter` or `/?room=blue-otter`.
 *
 * @param {{pathname: string, search: string}} location
 */
export function roomNameIn({ pathname, search }) {
  const asked = new URLSearchParams(search).get("room");
  const last = pathname.split("/").filter(Boolean).pop() ?? "";
  try {
    return roomNameOf(asked ?? decodeURIComponent(last.replace(/\.html$/, "")).replace(/^index$/, ""));
  } catch {
    return ""; // a broken percent escape
  }
}
