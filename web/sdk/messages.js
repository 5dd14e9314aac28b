/**
 * The frames of the signaling protocol, as types. The schemas in `docs/signaling/` say the same; a test compares both.
 *
 * @module
 */

/** The WebSocket subprotocol that turns on everything beyond the base. */
export const SUBPROTOCOL = "twocan.v1";

/** @typedef {"mesh" | "hybrid" | "sfu" | "mcu"} Topology */
/** @typedef {"camera" | "microphone" | "screen" | "screen-audio" | "other"} Source */

/**
 * What a peer says it sends. `stream` is the id of the MediaStream that carries the track (the `msid` of its SDP).
 *
 * @typedef {object} Publication
 * @property {string} id
 * @property {"audio" | "video"} kind
 * @property {Source} source
 * @property {string} stream
 * @property {boolean} muted
 */

/**
 * @typedef {object} PeerInfo
 * @property {string} id
 * @property {string} [identity] as its token has it
 * @property {string} [name]
 * @property {Record<string, unknown>} [metadata]
 * @property {Publication[]} tracks
 * @property {number} [hand] its hand is raised: the lowest number of the room was raised first
 * @property {"base" | "twocan.v1" | "http"} protocol a `base` peer never takes a second offer
 */

/**
 * @typedef {object} IceServer
 * @property {string | string[]} urls
 * @property {string} [username]
 * @property {string} [credential]
 */

/**
 * @typedef {object} Limits
 * @property {number} message_bytes largest frame a client may send
 * @property {number} messages_per_second
 * @property {number} peers_per_room
 * @property {number} resume_grace_ms how long a lost connection can be resumed
 */

/**
 * `data` of `authenticated`. A base server sends `peer_id` alone.
 *
 * @typedef {object} Authenticated
 * @property {string} peer_id
 * @property {string} room
 * @property {Topology} topology
 * @property {PeerInfo[]} peers those who were there
 * @property {IceServer[]} ice_servers
 * @property {string[]} permissions
 * @property {boolean} [locked] nobody may join who may not moderate
 * @property {boolean} [lobby] who comes waits to be admitted
 * @property {WaitingPeer[]} [waiting] for who may moderate
 * @property {number} [chat_history] how many of the last messages to everybody the server keeps for those who come later; missing for none
 * @property {number} [token_expires_in_ms] then this client is removed, unless it shows another token
 * @property {string} [resume_token]
 * @property {Limits} limits
 */

/**
 * `data` of `resumed`: the server goes on after `received`, the `seq` of the last frame it had from this client.
 *
 * @typedef {object} Resumed
 * @property {string} peer_id
 * @property {number} received
 * @property {string} resume_token
 * @property {IceServer[]} ice_servers
 */

/**
 * @typedef {object} Joined
 * @property {string} peer_id
 * @property {string} [identity]
 * @property {string} [name]
 * @property {Record<string, unknown>} [metadata]
 * @property {Publication[]} [tracks]
 * @property {number} [hand] as in `PeerInfo`
 * @property {"base" | "twocan.v1" | "http"} [protocol]
 */

/**
 * @typedef {object} Left
 * @property {string} peer_id
 * @property {"left" | "connection_lost" | "removed"} [reason] of `connection_lost` it may come back under another id
 */

/**
 * @typedef {object} TrackChange
 * @property {"publish" | "unpublish" | "mute" | "unmute"} action
 * @property {Publication} track
 */

/**
 * The room changes shape: this client connects to `links`, keeps what it has, and says `settled`; told so itself, it lets
 * go of all others.
 *
 * @typedef {object} TopologyChange
 * @property {Topology} topology
 * @property {boolean} settled whether everybody has the new connections
 * @property {string[]} links whom to connect to
 * @property {PeerInfo[]} [peers] who is there, as long as it is not settled
 */

/**
 * This client has the connections of a shape, and gets everything by them.
 *
 * @typedef {object} Settled
 * @property {Topology} topology
 */

/**
 * What a server that forwards media sends on a section of its connection; `null` for nothing. `stream` is that of the
 * publication.
 *
 * @typedef {object} Forward
 * @property {string} mid
 * @property {string | null} peer_id
 * @property {string | null} stream
 */

/**
 * Which qualities of a picture that this client sends somebody has a use for.
 *
 * @typedef {object} Layers
 * @property {string | null} stream that of the publication
 * @property {boolean} active whether anything of it is of use
 * @property {string[]} rids the streams of a simulcast that are
 */

/**
 * @typedef {object} Speakers
 * @property {{peer_id: string, level: number}[]} speakers the loudest first
 */

/**
 * What this client wants of the tracks that a server forwards, by the stream of their publications.
 *
 * @typedef {object} Subscribe
 * @property {{stream: string, max_height?: number, priority?: number}[]} tracks
 */

/**
 * @typedef {object} MetadataChange
 * @property {string} [name]
 * @property {Record<string, unknown> | null} [metadata] null: none was ever given
 */

/**
 * Somebody who waits to be admitted.
 *
 * @typedef {object} WaitingPeer
 * @property {string} peer_id
 * @property {string} name
 * @property {string | null} identity
 */

/**
 * This client waits to be admitted.
 *
 * @typedef {object} Waiting
 * @property {string} peer_id
 * @property {string} room
 */

/**
 * Who waits, for those who may moderate.
 *
 * @typedef {object} Lobby
 * @property {WaitingPeer[]} waiting
 */

/**
 * @typedef {object} RoomState
 * @property {boolean} locked
 * @property {boolean} lobby
 * @property {number} [chat_history] as in `Authenticated`
 */

/**
 * What was said to everybody before this client came, once after `authenticated`; the oldest first.
 *
 * @typedef {object} ChatHistory
 * @property {KeptChat[]} messages
 */

/**
 * @typedef {object} KeptChat
 * @property {string} from who said it, who may have gone
 * @property {string} name of who said it, as it was then
 * @property {number} at milliseconds since 1970, by the server's clock
 * @property {Record<string, unknown>} data of `chat`, as it was said
 */

/**
 * Somebody who moderates muted a track of this client.
 *
 * @typedef {object} Muted
 * @property {string} track its id
 */

/**
 * @typedef {object} PermissionsChanged
 * @property {string[]} permissions
 */

/**
 * What changes of what a participant may do; what is left out stays.
 *
 * @typedef {object} PermissionChange
 * @property {boolean} [publish] all sources, or none
 * @property {Source[]} [publish_sources] exactly these
 * @property {boolean} [subscribe]
 * @property {boolean} [data]
 * @property {boolean} [moderate]
 * @property {boolean} [metadata]
 * @property {boolean} [record]
 */

/**
 * @typedef {object} Moderate
 * @property {"mute" | "unmute" | "remove" | "lower-hand" | "lower-hands" | "permissions" | "admit" | "deny" | "lock" | "unlock" | "lobby" | "no-lobby" | "close"} action
 * @property {string} [peer_id] whom it is about
 * @property {string} [track] to mute or unmute
 * @property {Source} [source] the same
 * @property {string} [reason]
 * @property {PermissionChange} [permissions]
 */

/**
 * A hand is raised or lowered: said by its owner, and by the server to all.
 *
 * @typedef {object} Hand
 * @property {boolean} raised
 * @property {string} [peer_id] whose, as the server says it
 * @property {number} [number] of one that is raised, as the server says it: the lowest of the room was raised first
 */

/** @typedef {"👍" | "👎" | "👏" | "❤️" | "🎉" | "😂" | "😮" | "😢" | "🤔"} Emoji */

/**
 * Shown for some seconds, and kept by nobody.
 *
 * @typedef {object} Reaction
 * @property {Emoji} emoji
 */

/**
 * @typedef {object} Token
 * @property {string} token
 */

/**
 * This client was removed.
 *
 * @typedef {object} Kicked
 * @property {string} reason
 */

/**
 * @typedef {object} ErrorData
 * @property {string} description
 * @property {unknown} [details]
 */

/**
 * A frame from the server.
 *
 * @typedef {object} ServerFrame
 * @property {string} event
 * @property {any} data
 * @property {string | null} from
 * @property {"all" | string[] | null} to
 * @property {string | number} [id] of the request that this answers
 * @property {number} [seq] counts what the server sent in this session, from 1
 */

/**
 * A frame to the server.
 *
 * @typedef {object} ClientFrame
 * @property {string} event
 * @property {any} [data]
 * @property {"all" | string[]} [to]
 * @property {string | number} [id]
 * @property {number} [seq] counts what this client sent in this session, from 1; `join` and `resume` have none
 */
