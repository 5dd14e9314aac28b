/**
 * Objects of ours in structured clones (HTML §2.7): encoded frames and certificates are serializable. Node clones objects of
 * JavaScript classes as plain ones, so `twocan/globals` puts something plain in their place on the way out, and
 * makes them again where they arrive: in `structuredClone`, and in messages between threads that have imported it.
 */

import { MessagePort, Worker } from 'node:worker_threads';
import { isCertificate, restoreCertificate, serializeCertificate } from './certificate.js';
import { RTCEncodedAudioFrame, RTCEncodedVideoFrame, frames, isDetached, newFrame } from './encoded-frames.js';

/** What stands in the place of a whole value that has objects of ours in it, and of one of these. */
const VALUE = 'twocan:value';
const FRAME = 'twocan:frame';
const CERTIFICATE = 'twocan:certificate';

const isFrame = (value) => value instanceof RTCEncodedVideoFrame || value instanceof RTCEncodedAudioFrame;
const isOurs = (value) => isFrame(value) || isCertificate(value);

function isPlain(value) {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The values that a container holds; none for what is no container. */
function inner(value) {
  if (Array.isArray(value) || isPlain(value)) return Object.values(value);
  if (value instanceof Map) return [...value].flat();
  return value instanceof Set ? [...value] : [];
}

const isObject = (value) => typeof value === 'object' && value !== null;

function hasOurs(value, seen = new Set()) {
  if (!isObject(value) || seen.has(value)) return false;
  if (isOurs(value)) return true;
  seen.add(value);
  return inner(value).some((each) => hasOurs(each, seen));
}

function uncloneable() {
  return new DOMException('the data of the frame was transferred', 'DataCloneError');
}

/** A copy of the containers in which `change` has replaced whatever it answers something else for. */
function rebuild(value, change, made = new Map()) {
  if (!isObject(value)) return value;
  if (made.has(value)) return made.get(value);
  const changed = change(value);
  if (changed !== value) {
    made.set(value, changed);
    return changed;
  }
  const go = (each) => rebuild(each, change, made);
  const keep = (copy) => {
    made.set(value, copy);
    return copy;
  };
  if (value instanceof Map) {
    const copy = keep(new Map());
    for (const [key, each] of value) copy.set(go(key), go(each));
    return copy;
  }
  if (value instanceof Set) {
    const copy = keep(new Set());
    for (const each of value) copy.add(go(each));
    return copy;
  }
  if (!Array.isArray(value) && !isPlain(value)) return value;
  const copy = keep(Array.isArray(value) ? new Array(value.length) : {});
  for (const key of Object.keys(value)) copy[key] = go(value[key]);
  return copy;
}

/** What Node can clone in the place of a value. */
export function encode(value) {
  if (!hasOurs(value)) return value;
  const plain = rebuild(value, (each) => {
    if (isCertificate(each)) return { [CERTIFICATE]: serializeCertificate(each) };
    if (!isFrame(each)) return each;
    const { kind, type, data, metadata } = frames.of(each);
    if (isDetached(data)) throw uncloneable();
    return { [FRAME]: { kind, type, data, metadata } };
  });
  return { [VALUE]: plain };
}

/** The value that another thread, or this one, has encoded. */
export function decode(value) {
  if (!isObject(value) || !isPlain(value) || !Object.hasOwn(value, VALUE)) return value;
  return rebuild(value[VALUE], (each) => {
    if (!isPlain(each)) return each;
    if (Object.hasOwn(each, CERTIFICATE)) return restoreCertificate(each[CERTIFICATE]);
    return Object.hasOwn(each, FRAME) ? newFrame(each[FRAME], null) : each;
  });
}

/** A function in the place of another one, with its name and length. */
function replace(holder, name, make) {
  const property = Object.getOwnPropertyDescriptor(holder, name);
  if (typeof property?.value !== 'function') return;
  const made = make(property.value);
  for (const key of ['name', 'length']) Object.defineProperty(made, key, { value: property.value[key], configurable: true });
  Object.defineProperty(holder, name, { ...property, value: made });
}

/** How Node hands a message to its listeners, of whatever style. */
const dispatch = Symbol.for('nodejs.internal.kHybridDispatch');

/** Lets objects of ours be cloned; once in each thread. */
export function install() {
  replace(globalThis, 'structuredClone', (clone) => function structuredClone(value, ...rest) {
    return arguments.length === 0 ? clone() : decode(clone(encode(value), ...rest));
  });
  for (const { prototype } of [Worker, MessagePort]) {
    replace(prototype, 'postMessage', (post) => function postMessage(message, ...rest) {
      return arguments.length === 0 ? post.call(this) : post.call(this, encode(message), ...rest);
    });
  }
  const deliver = MessagePort.prototype[dispatch];
  if (typeof deliver !== 'function') return;
  Object.defineProperty(MessagePort.prototype, dispatch, {
    configurable: true,
    writable: true,
    value(message, type, event) {
      return deliver.call(this, type === 'message' ? decode(message) : message, type, event);
    },
  });
}
