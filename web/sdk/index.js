export { FileReceiver } from "./file-receiver.js";
export { FileSender } from "./file-sender.js";
export { canPickPlace, pickedSink, privateSink, sweepPrivateFiles } from "./file-sink.js";
export { FrameEncryption } from "./frame-encryption.js";
export { JoinError } from "./join-error.js";
export { Peer } from "./peer.js";
export { Room } from "./room.js";
export { RequestError } from "./signaling.js";
export { StatsReader } from "./stats.js";
