/** Setting a description: what the stack has agreed on becomes visible (W3C webrtc-pc §4.4.1.5). */

import { inside } from './webidl.js';
import { exception } from './errors.js';
import { RTCTrackEvent, fire } from './events.js';
import { queueTask } from './tasks.js';
import { noteSent, splitIdentity } from './identity.js';
import { addRemote, removeRemote, remoteStream } from './media-stream.js';
import { setMuted } from './media-stream-track.js';
import { RTCSctpTransport } from './sctp-transport.js';
import { readFrames, receivers } from './rtp-receiver.js';
import { feed } from './synthetic-media.js';
import { senders, settleCodecs, watchKeyFrames } from './rtp-sender.js';
import { newTransceiver, setTransport, stopped } from './rtp-transceiver.js';

const sends = (direction) => direction === 'sendrecv' || direction === 'sendonly';
const receives = (direction) => direction === 'sendrecv' || direction === 'recvonly';

/** Sets a description: what it changes is seen in a task, and the promise is settled there. */
export function setDescription(connection, isLocal, { type, sdp }) {
  return new Promise((resolve, reject) => {
    let state;
    const { plain, assertion } = isLocal ? splitIdentity(sdp) : { plain: sdp, assertion: null };
    try {
      if (isLocal) connection.native.setLocalDescription(type, plain);
      else connection.native.setRemoteDescription(type, sdp);
      state = connection.native.state();
    } catch (error) {
      queueTask(() => {
        if (!connection.isClosed) reject(exception(error));
      });
      return;
    }
    connection.begin();
    connection.later(() => {
      noteSent(connection, isLocal, type, assertion);
      show(connection, isLocal, type, state);
      if (!connection.isClosed) resolve(undefined);
    });
  });
}

function show(connection, isLocal, type, state) {
  const changes = { muted: [], removed: [], added: [], tracks: [] };
  connection.description('currentLocal', state.currentLocal);
  connection.description('pendingLocal', state.pendingLocal);
  connection.description('currentRemote', state.currentRemote);
  connection.description('pendingRemote', state.pendingRemote);
  connection.canTrickle = state.canTrickle ?? null;
  const hasLocal = state.currentLocal !== null && state.currentLocal !== undefined;
  if (type === 'rollback' && !hasLocal && connection.signalingState === 'have-local-offer') connection.hideGathering();
  if (isLocal && type !== 'rollback') connection.unhideGathering();
  const before = connection.signalingState;
  connection.signalingState = state.signalingState;
  showTransceivers(connection, isLocal, type, state, changes);
  showTransports(connection, isLocal, type, state);
  if (state.signalingState === 'stable') {
    connection.lastOffer = '';
    connection.lastAnswer = '';
    connection.isNegotiationNeeded = false;
    connection.updateNegotiationNeeded();
  }
  if (before !== state.signalingState) fire(connection.object, 'signalingstatechange');
  if (connection.isClosed) return;
  for (const track of changes.muted) setMuted(track, true);
  for (const [stream, track] of changes.removed) removeRemote(stream, track);
  for (const [stream, track] of changes.added) addRemote(stream, track);
  for (const [id, stream] of connection.streams) if (stream.deref() === undefined) connection.streams.delete(id);
  feed(connection);
  for (const init of changes.tracks) connection.object.dispatchEvent(new RTCTrackEvent('track', init));
}

function showTransceivers(connection, isLocal, type, state, changes) {
  const isAnswer = type === 'answer' || type === 'pranswer';
  const known = new Map(connection.transceivers.map((own) => [own.id, own]));
  for (const stated of state.transceivers) {
    let own = known.get(stated.id);
    if (own === undefined) {
      const { id, kind, direction, remoteTrack } = stated;
      own = newTransceiver(connection, { id, kind, direction, trackId: remoteTrack ?? undefined });
      connection.transceivers.push(own);
    }
    known.delete(stated.id);
    own.mid = stated.mid ?? null;
    if (isAnswer) own.currentDirection = stated.currentDirection ?? null;
    own.hasSent ||= sends(own.currentDirection);
    if (own.hasSent) watchKeyFrames(senders.of(own.sender));
    if (isAnswer) settleCodecs(senders.of(own.sender));
    if (!isLocal && type !== 'rollback') showRemote(connection, own, stated, changes);
    else if (type === 'rollback') rollBack(connection, own, stated, changes);
    else if (isAnswer) {
      if (!receives(own.currentDirection) && receives(own.fired)) remove(own, changes);
      own.fired = own.currentDirection;
    }
  }
  if (!isLocal && type !== 'rollback') stopRejected(connection, state, changes);
  // What the stack no longer has was stopped, or came with an offer that was rolled back.
  for (const own of known.values()) {
    if (receives(own.fired)) remove(own, changes);
    stopped(own);
    own.mid = null;
    setTransport(own, null);
    connection.transceivers.splice(connection.transceivers.indexOf(own), 1);
  }
}

/** A remote section that is rejected stops its transceiver at once, whatever is answered. */
function stopRejected(connection, state, changes) {
  const { sdp } = state.pendingRemote ?? state.currentRemote ?? { sdp: '' };
  for (const section of sdp.split(/^(?=m=)/m).slice(1)) {
    if (!/^m=\S+ 0 /.test(section) || /^a=bundle-only\r?$/m.test(section)) continue;
    const mid = /^a=mid:(\S+)/m.exec(section)?.[1];
    const own = connection.transceivers.find((each) => each.mid === mid);
    if (mid === undefined || own === undefined || own.isStopped) continue;
    if (receives(own.fired)) remove(own, changes);
    own.fired = null;
    stopped(own);
  }
}

function showRemote(connection, own, stated, changes) {
  const direction = stated.remoteDirection ?? 'inactive';
  if (receives(direction)) {
    associate(connection, own, stated.remoteStreams, changes);
    if (!receives(own.fired)) add(own, changes);
  } else if (receives(own.fired)) {
    remove(own, changes);
  }
  own.fired = direction;
  own.remoteDirection = stated.remoteDirection ?? null;
}

function rollBack(connection, own, stated, changes) {
  const target = own.currentDirection;
  const streams = receives(target) ? stated.remoteStreams : [];
  associate(connection, own, streams, changes);
  if (receives(own.fired) && !receives(target)) changes.muted.push(receivers.of(own.receiver).track);
  own.fired = target;
  if (own.mid === null) setTransport(own, null);
}

/** "Set the associated remote streams" (§5.3). */
function associate(connection, own, ids, changes) {
  const { track } = receivers.of(own.receiver);
  const wanted = [...new Set(ids.filter((id) => id !== '-'))].map((id) => {
    // The one that was made for this id before, where anybody still has it.
    const known = connection.streams.get(id)?.deref();
    if (known !== undefined) return known;
    const made = remoteStream(id);
    connection.streams.set(id, new WeakRef(made));
    return made;
  });
  for (const stream of own.remoteStreams) if (!wanted.includes(stream)) changes.removed.push([stream, track]);
  for (const stream of wanted) if (!own.remoteStreams.includes(stream)) changes.added.push([stream, track]);
  own.remoteStreams = wanted;
}

/** "Process the addition of a remote track". */
function add(own, changes) {
  const { track } = receivers.of(own.receiver);
  readFrames(own);
  changes.tracks.push({ receiver: own.receiver, track, streams: own.remoteStreams, transceiver: own.object });
}

/** "Process the removal of a remote track". */
function remove(own, changes) {
  const { track } = receivers.of(own.receiver);
  for (const stream of own.remoteStreams) changes.removed.push([stream, track]);
  own.remoteStreams = [];
  changes.muted.push(track);
}

function showTransports(connection, isLocal, type, state) {
  const isAgreed = type === 'answer' || type === 'pranswer';
  if (isLocal && type !== 'rollback') connection.dtls = connection.dtlsTransport;
  if (isAgreed) connection.dtls = connection.dtlsTransport;
  for (const own of connection.transceivers) {
    if (own.mid === null) setTransport(own, null);
    else if ((isLocal && type !== 'rollback') || isAgreed) setTransport(own, connection.dtlsTransport);
  }
  if (connection.sctp === null && connection.native.sctp() !== null) {
    connection.sctp = new RTCSctpTransport(inside, { native: connection.native, dtls: connection.dtlsTransport });
  }
}
