import { installAnnouncer } from "./announce.js";
import { applyTheme } from "./preferences.js";
import { PublishView } from "./publish-view.js";
import { roomAndToken } from "./rooms-in-paths.js";
import { h } from "./dom.js";
import { t } from "./words.js";

/** `/publish/{room}`: camera, microphone or screen, for all who watch the room. */
class PublishPage extends HTMLElement {
  connectedCallback() {
    const { room, token } = roomAndToken(location);
    document.title = `${t("Broadcast to {room}", { room })} · Twocan`;
    this.replaceChildren(h("main", {}, new PublishView(room, token)));
  }
}

applyTheme();
installAnnouncer();
customElements.define("publish-page", PublishPage);
