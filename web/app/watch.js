import { installAnnouncer } from "./announce.js";
import { h } from "./dom.js";
import { mark } from "./icons.js";
import { LivePlayer } from "./live-player.js";
import { applyTheme } from "./preferences.js";
import { roomAndToken } from "./rooms-in-paths.js";
import { t } from "./words.js";

/** `/watch/{room}`: what is broadcast in a room. With `?embed` nothing but the player; with `?muted` it begins silent. */
class WatchPage extends HTMLElement {
  connectedCallback() {
    const { room, token } = roomAndToken(location);
    const asked = new URLSearchParams(location.search);
    document.title = `${room} · Twocan`;
    const player = new LivePlayer({ url: new URL(`/whep/${encodeURIComponent(room)}`, location.href), token, name: room, muted: asked.has("muted") });
    document.documentElement.classList.toggle("embedded", asked.has("embed"));
    if (asked.has("embed")) {
      this.replaceChildren(h("main", {}, h("h1", { className: "unseen" }, room), player));
      return;
    }
    this.replaceChildren(
      h(
        "header",
        { className: "topbar" },
        h("a", { className: "brand", href: "/", title: t("To the start") }, mark(), h("span", { className: "unseen" }, "Twocan")),
        h("h1", {}, room),
        player.badge,
      ),
      h("main", {}, player),
    );
  }
}

applyTheme();
installAnnouncer();
customElements.define("watch-page", WatchPage);

// Another room or token in the same page: begin anew.
addEventListener("hashchange", () => location.reload());
