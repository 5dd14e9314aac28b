import "./app.js";
import { installAnnouncer } from "./announce.js";
import { applyTheme } from "./preferences.js";

applyTheme();
installAnnouncer();
