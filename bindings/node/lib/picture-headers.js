/**
 * What the headers of encoded pictures say of how coarse they are: `qpSum` of webrtc-stats needs no decoder.
 * Of VP8 the index y_ac_qi (RFC 6386 §9.6), of VP9 base_q_idx (VP9 bitstream specification §7.2).
 */

/** The quantizer of a picture; `undefined` for codecs whose headers do not say it in one place. */
export function quantizer(codec, data) {
  try {
    if (codec.toUpperCase() === 'VP8') return ofVp8(data);
    if (codec.toUpperCase() === 'VP9') return ofVp9(data);
  } catch {
    // Too short to be a picture.
  }
  return undefined;
}

/** The decoder of bits of VP8 (RFC 6386 §7.3), for those that are as likely as not. */
class EvenBits {
  constructor(data, start) {
    Object.assign(this, { data, at: start + 2, range: 255, value: (data[start] << 8) | data[start + 1], shifted: 0 });
    if (data.length < start + 2) throw new RangeError('no data');
  }
  bit() {
    const split = 1 + (((this.range - 1) * 128) >> 8);
    const isSet = this.value >= split << 8;
    if (isSet) {
      this.range -= split;
      this.value -= split << 8;
    } else {
      this.range = split;
    }
    while (this.range < 128) {
      this.value <<= 1;
      this.range <<= 1;
      this.shifted += 1;
      if (this.shifted === 8) {
        this.shifted = 0;
        this.value |= this.data[this.at] ?? 0;
        this.at += 1;
      }
    }
    return isSet ? 1 : 0;
  }
  bits(count) {
    let value = 0;
    for (let bit = 0; bit < count; bit += 1) value = value * 2 + this.bit();
    return value;
  }
}

function ofVp8(data) {
  const isKey = (data[0] & 1) === 0;
  const bits = new EvenBits(data, isKey ? 10 : 3);
  const optional = (count) => bits.bit() && bits.bits(count);
  if (isKey) bits.bits(2);
  // Segmentation (§9.3), then the filter (§9.6): what stands before the index.
  if (bits.bit()) {
    const [hasMap, hasData] = [bits.bit(), bits.bit()];
    if (hasData) {
      bits.bit();
      for (let index = 0; index < 4; index += 1) optional(8);
      for (let index = 0; index < 4; index += 1) optional(7);
    }
    if (hasMap) for (let index = 0; index < 3; index += 1) optional(8);
  }
  bits.bits(10);
  if (bits.bit() && bits.bit()) for (let index = 0; index < 8; index += 1) optional(7);
  bits.bits(2);
  return bits.bits(7);
}

/** Plain bits, the highest first. */
class PlainBits {
  constructor(data) {
    Object.assign(this, { data, at: 0 });
  }
  bits(count) {
    let value = 0;
    for (let bit = 0; bit < count; bit += 1) {
      if (this.at >= this.data.length * 8) throw new RangeError('no data');
      value = value * 2 + ((this.data[this.at >> 3] >> (7 - (this.at & 7))) & 1);
      this.at += 1;
    }
    return value;
  }
}

function ofVp9(data) {
  const own = new PlainBits(data);
  own.bits(2);
  const profile = own.bits(1) + 2 * own.bits(1);
  // Other profiles have other depths of colour, and pictures that show one from before have no header.
  if (profile !== 0 || own.bits(1)) return undefined;
  const isKey = own.bits(1) === 0;
  const [isShown, isResilient] = [own.bits(1), own.bits(1)];
  if (isKey) {
    own.bits(24);
    if (own.bits(3) !== 7) own.bits(1);
    readSize(own);
  } else {
    const isIntra = isShown ? 0 : own.bits(1);
    if (!isResilient) own.bits(2);
    if (isIntra) {
      own.bits(24 + 8);
      readSize(own);
    } else {
      own.bits(8 + 3 * 4);
      if (!(own.bits(1) || own.bits(1) || own.bits(1))) own.bits(32);
      if (own.bits(1)) own.bits(32);
      own.bits(1);
      if (!own.bits(1)) own.bits(2);
    }
  }
  if (!isResilient) own.bits(2);
  own.bits(2 + 6 + 3);
  if (own.bits(1) && own.bits(1)) for (let index = 0; index < 6; index += 1) if (own.bits(1)) own.bits(7);
  return own.bits(8);
}

function readSize(own) {
  own.bits(32);
  if (own.bits(1)) own.bits(32);
}
