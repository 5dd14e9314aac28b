/**
 * Frames of a sender or a receiver as a pair of streams: those of `RTCRtpScriptTransformer` in a worker, and
 * those of `createEncodedStreams` beside the connection, which came before it and which pages still call.
 */

import { frames, newFrame } from './encoded-frames.js';
import { invalidState } from './errors.js';

/** Frames that wait to be read; who reads none of them is not waited for. */
export const FRAMES_MAX = 64;

/** A readable end that keeps at most `FRAMES_MAX` frames: `put` says whether there was room. */
export function newReadable() {
  const own = { controller: null };
  const readable = new ReadableStream({
    start(controller) {
      own.controller = controller;
    },
  }, new CountQueuingStrategy({ highWaterMark: FRAMES_MAX }));
  const put = (frame) => {
    if (own.controller.desiredSize <= 0) return false;
    own.controller.enqueue(frame);
    return true;
  };
  const close = () => {
    try {
      own.controller.close();
    } catch {
      // Its reader has left.
    }
  };
  return { readable, put, close };
}

/**
 * The streams of a sender or a receiver whose connection was made with `encodedInsertableStreams`; `owner`
 * says how frames go on. What is written is taken: a frame can be written once.
 */
export function newEncodedStreams(owner) {
  const { readable, put, close } = newReadable();
  const token = {};
  const writable = new WritableStream({
    write(frame) {
      if (!frames.has(frame)) throw new TypeError('not an encoded frame');
      const own = frames.of(frame);
      if (own.data.byteLength === 0 && own.origin === null) {
        throw new DOMException('the frame was written already', 'OperationError');
      }
      // A copy, or a frame of another stream: none is moved between streams.
      if (own.origin?.token !== token) return;
      const { context } = own.origin;
      own.origin = null;
      owner.forward(context, structuredClone(own.data, { transfer: [own.data] }));
    },
  });
  return {
    streams: { readable, writable },
    offer: (frame, context) => put(newFrame({ ...frame, data: new Uint8Array(frame.data).buffer }, { token, context })),
    close,
  };
}

/** `createEncodedStreams` of a sender or a receiver; once each. */
export function createEncodedStreams(own, owner) {
  if (own.connection.isClosed || own.transceiver.isStopped) throw invalidState('the transceiver is stopped');
  if (!own.connection.configuration.encodedInsertableStreams) {
    throw invalidState('the connection was made without encodedInsertableStreams');
  }
  if (own.encoded !== null || own.transform !== null) throw invalidState('the frames go another way already');
  own.encoded = newEncodedStreams(owner);
  return own.encoded.streams;
}
