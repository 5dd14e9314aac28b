/**
 * What Web IDL adds to a JavaScript class: conversions of arguments, and the shape of prototypes
 * (https://webidl.spec.whatwg.org/).
 */

/** The state of the objects of one interface; asking for that of anything else is a TypeError. */
export class Slots {
  #all = new WeakMap();
  /** @param {string} name of the interface */
  constructor(name) {
    this.name = name;
  }
  set(object, state) {
    this.#all.set(object, state);
    return state;
  }
  of(object) {
    const state = this.#all.get(object);
    if (state === undefined) throw new TypeError(`Illegal invocation: not an ${this.name}`);
    return state;
  }
  has(object) {
    return typeof object === 'object' && object !== null && this.#all.has(object);
  }
}

/** What an interface without a constructor of its own is made with. */
export const inside = Symbol('inside');

/** Refuses `new` of an interface that has no constructor. */
export function illegal(token) {
  if (token !== inside) throw new TypeError('Illegal constructor');
}

/** Makes members enumerable and names the interface, as Web IDL §3.7 has it. */
export function shape(Interface, name) {
  for (const target of [Interface.prototype, Interface]) {
    for (const key of Object.getOwnPropertyNames(target)) {
      if (target === Interface ? ['prototype', 'name', 'length'].includes(key) : key === 'constructor') continue;
      const property = Object.getOwnPropertyDescriptor(target, key);
      if (property?.configurable) Object.defineProperty(target, key, { ...property, enumerable: true });
    }
  }
  Object.defineProperty(Interface.prototype, Symbol.toStringTag, { value: name, configurable: true });
  return Interface;
}

const handlers = new WeakMap();

/** Gives an event target its `on…` attributes (HTML §8.1.8.1). */
export function handlerAttributes(Interface, slots, names) {
  for (const type of names) {
    Object.defineProperty(Interface.prototype, `on${type}`, {
      configurable: true,
      enumerable: true,
      get() {
        slots.of(this);
        return handlers.get(this)?.get(type)?.value ?? null;
      },
      set(value) {
        slots.of(this);
        setHandler(this, type, value);
      },
    });
    const { get, set } = Object.getOwnPropertyDescriptor(Interface.prototype, `on${type}`);
    Object.defineProperty(get, 'name', { value: `get on${type}` });
    Object.defineProperty(set, 'name', { value: `set on${type}` });
  }
}

function setHandler(target, type, value) {
  const own = typeof value === 'object' || typeof value === 'function' ? value : null;
  let all = handlers.get(target);
  if (all === undefined) handlers.set(target, (all = new Map()));
  const known = all.get(type);
  if (own === null) {
    if (known !== undefined) target.removeEventListener(type, known.listener);
    all.delete(type);
    return;
  }
  if (known !== undefined) {
    known.value = own;
    return;
  }
  const entry = {
    value: own,
    listener: (event) => {
      if (typeof entry.value !== 'function') return;
      const answer = entry.value.call(event.currentTarget, event);
      if (answer === false) event.preventDefault();
    },
  };
  all.set(type, entry);
  target.addEventListener(type, entry.listener);
}

/** Refuses a call with fewer arguments than the operation has required ones. */
export function required(count, given, name) {
  if (given < count) {
    throw new TypeError(`${name}: ${count} argument${count > 1 ? 's' : ''} required, but only ${given} present`);
  }
}

/** A string of Unicode scalar values. */
export function usvString(value) {
  return String(value).replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd');
}

export function string(value) {
  if (typeof value === 'symbol') throw new TypeError('a symbol is no string');
  return String(value);
}

export const boolean = (value) => Boolean(value);

/** A double that is a number. */
export function double(value) {
  const number = Number(value);
  if (!Number.isFinite(number)) throw new TypeError('not a finite number');
  return number;
}

function integer(bits, enforced) {
  const size = 2 ** bits;
  return (value) => {
    const number = Number(value);
    if (enforced) {
      if (!Number.isFinite(number)) throw new TypeError('not a finite number');
      const whole = Math.trunc(number);
      if (whole < 0 || whole >= size) throw new TypeError(`${number} is outside of 0 to ${size - 1}`);
      return whole + 0;
    }
    if (!Number.isFinite(number)) return 0;
    return ((Math.trunc(number) % size) + size) % size;
  };
}

export const octet = integer(8, false);
export const octetEnforced = integer(8, true);
export const unsignedShort = integer(16, false);
export const unsignedShortEnforced = integer(16, true);
export const unsignedLong = integer(32, false);
export const unsignedLongEnforced = integer(32, true);
/** An `unsigned long long` in the range that numbers show exactly. */
export const unsignedLongLongEnforced = integer(53, true);

export const nullable = (convert) => (value) => (value === null || value === undefined ? null : convert(value));

/** One of a list of strings; anything else is a TypeError. */
export function enumeration(name, values) {
  const known = new Set(values);
  return (value) => {
    const text = string(value);
    if (!known.has(text)) throw new TypeError(`'${text}' is not a valid ${name}`);
    return text;
  };
}

export function sequence(convert) {
  return (value) => {
    if (typeof value !== 'object' && typeof value !== 'function') throw new TypeError('not a sequence');
    if (value === null || typeof value[Symbol.iterator] !== 'function') throw new TypeError('not a sequence');
    return Array.from(value, (item) => convert(item));
  };
}

export function interfaceOf(Interface, name) {
  return (value) => {
    if (!(value instanceof Interface)) throw new TypeError(`not a ${name}`);
    return value;
  };
}

/**
 * A dictionary. Members are read in alphabetical order; `need` marks required ones, `or` has the
 * default.
 */
export function dictionary(name, members) {
  const order = Object.keys(members).sort();
  return (value) => {
    if (value !== undefined && value !== null && typeof value !== 'object' && typeof value !== 'function') {
      throw new TypeError(`not a ${name}`);
    }
    const converted = {};
    for (const key of order) {
      const member = members[key];
      const given = value === undefined || value === null ? undefined : value[key];
      if (given !== undefined) converted[key] = member.as(given);
      else if (member.need) throw new TypeError(`${name}: '${key}' is required`);
      else if ('or' in member) converted[key] = typeof member.or === 'function' ? member.or() : member.or;
    }
    return converted;
  };
}
