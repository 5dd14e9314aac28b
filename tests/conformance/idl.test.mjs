/**
 * The interfaces against the definitions that the W3C publishes (webref), by the rules of Web IDL §3.7: for
 * each interface, attribute and operation what a script sees of it.
 */

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { parse } from 'webidl2';
import { test } from './page.mjs';

const require = createRequire(import.meta.url);
const specs = [
  'webrtc', 'webrtc-priority', 'webrtc-svc', 'webrtc-stats', 'webrtc-encoded-transform', 'webrtc-identity', 'mst-content-hint', 'mediacapture-streams',
];

/** Node's own, where it has one. */
const isAbsent = (name) => name === 'Navigator';

const definitions = specs.flatMap((name) => parse(readFileSync(require.resolve(`@webref/idl/${name}.idl`), 'utf8')));
const isExposed = (own) => {
  const { rhs } = own.extAttrs.find(({ name }) => name === 'Exposed') ?? { rhs: { value: 'Window' } };
  return [rhs.value].flat().some((each) => (each.value ?? each) === 'Window' || each === '*');
};
const interfaces = definitions.filter(({ type, partial }) => type === 'interface' && !partial).filter(isExposed);
const own = new Set(interfaces.map(({ name }) => name));
const merged = (name) => definitions.filter((each) => each.type === 'interface' && each.name === name && isExposed(each)).flatMap(({ members }) => members);
const has = (each, name) => each.extAttrs.some((attribute) => attribute.name === name);
const requiredCount = (list) => Math.min(...list.map(({ arguments: own }) => own.filter(({ optional, variadic }) => !optional && !variadic).length));
const isPromise = ({ idlType }) => idlType?.generic === 'Promise';

async function refusesForeign(call, promises, what) {
  if (!promises) {
    assert.throws(call, TypeError, what);
    return;
  }
  await assert.rejects(call(), TypeError, what);
}

for (const { name, inheritance } of interfaces) {
  if (isAbsent(name)) continue;
  test(`${name}: the interface object and its prototype`, () => {
    const place = Object.getOwnPropertyDescriptor(globalThis, name);
    assert.ok(place, 'it is a global');
    assert.deepEqual([place.writable, place.enumerable, place.configurable], [true, false, true]);
    const { value: Interface } = place;
    assert.equal(typeof Interface, 'function');
    const parent = inheritance === null ? Function.prototype : globalThis[inheritance];
    assert.equal(Object.getPrototypeOf(Interface), parent);
    const prototype = Object.getOwnPropertyDescriptor(Interface, 'prototype');
    assert.deepEqual([prototype.writable, prototype.enumerable, prototype.configurable], [false, false, false]);
    assert.equal(Object.getPrototypeOf(Interface.prototype), inheritance === null ? Object.prototype : parent.prototype);
    const back = Object.getOwnPropertyDescriptor(Interface.prototype, 'constructor');
    assert.deepEqual([back.value, back.writable, back.enumerable, back.configurable], [Interface, true, false, true]);
    const constructors = merged(name).filter(({ type }) => type === 'constructor');
    const named = (key, value) => {
      const property = Object.getOwnPropertyDescriptor(Interface, key);
      assert.deepEqual(property, { value, writable: false, enumerable: false, configurable: true });
    };
    named('name', name);
    named('length', constructors.length === 0 ? 0 : requiredCount(constructors));
    const tag = Object.getOwnPropertyDescriptor(Interface.prototype, Symbol.toStringTag);
    assert.deepEqual(tag, { value: name, writable: false, enumerable: false, configurable: true });
    assert.throws(() => Interface(), TypeError);
    if (constructors.length === 0 || requiredCount(constructors) > 0) assert.throws(() => new Interface(), TypeError);
  });
  const members = merged(name);
  for (const member of members.filter(({ type }) => type === 'attribute')) {
    test(`${name}.${member.name}`, async () => {
      const { prototype } = globalThis[name];
      const { get, set, enumerable, configurable } = Object.getOwnPropertyDescriptor(prototype, member.name);
      assert.deepEqual([enumerable, configurable, get.name, get.length], [true, true, `get ${member.name}`, 0]);
      const handles = has(member, 'LegacyLenientThis');
      assert.equal(handles, false);
      await refusesForeign(() => get.call({}), isPromise(member), 'the getter');
      await refusesForeign(() => prototype[member.name], isPromise(member), 'the prototype');
      if (member.readonly) {
        assert.equal(set, undefined);
        return;
      }
      assert.deepEqual([set.name, set.length], [`set ${member.name}`, 1]);
      assert.throws(() => set.call({}, null), TypeError);
    });
  }
  const operations = members.filter(({ type, name: called }) => type === 'operation' && called);
  for (const called of new Set(operations.map((each) => each.name))) {
    test(`${name}.${called}()`, async () => {
      const all = operations.filter((each) => each.name === called);
      const isStatic = all[0].special === 'static';
      const holder = isStatic ? globalThis[name] : globalThis[name].prototype;
      const { value, writable, enumerable, configurable } = Object.getOwnPropertyDescriptor(holder, called);
      assert.deepEqual([writable, enumerable, configurable, value.name], [true, true, true, called]);
      assert.equal(value.length, requiredCount(all));
      assert.equal(Object.hasOwn(value, 'prototype'), false);
      if (isStatic) return;
      const given = Array.from({ length: value.length }, () => null);
      await refusesForeign(() => value.apply({}, given), isPromise(all[0]), 'another object');
      if (value.length > 0) await refusesForeign(() => value.apply(globalThis[name].prototype, []), isPromise(all[0]), 'no arguments');
    });
  }
}

test('nothing is exported that no definition has', async () => {
  const exported = Object.keys(await import('../../bindings/node/lib/index.js')).filter((name) => name !== 'nonstandard');
  assert.deepEqual(exported.filter((name) => !own.has(name)), []);
});
