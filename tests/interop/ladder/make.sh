#!/bin/sh
# Makes the clips of this folder again: one scene at growing rates, two seconds of 640x360 at 30 pictures a second in
# VP8, with a key frame at every tenth picture in each, where one clip can be left for another. The noise grows with the
# rate, because a picture without it does not fill the higher ones; key frames are small, because a source in real time
# would make hardly any. Needs an ffmpeg with libvpx. A file is named by the kbit/s that it really has.
set -eu
cd "$(dirname "$0")"
rm -f ./*.ivf
while read -r rate noise; do
  ffmpeg -v error -y -f lavfi -i testsrc2=size=640x360:rate=30 -vf "noise=alls=$noise:allf=t:all_seed=7" -t 2 -pix_fmt yuv420p \
    -c:v libvpx -b:v "${rate}k" -minrate "${rate}k" -maxrate "${rate}k" -bufsize "${rate}k" -undershoot-pct 5 -max-intra-rate 150 \
    -g 10 -keyint_min 10 -qmin 2 -qmax 63 -deadline good -cpu-used 2 -auto-alt-ref 0 -lag-in-frames 0 new.ivf </dev/null
  # 32 bytes of header for the file, 12 for each of 60 frames, two seconds.
  bytes=$(($(wc -c < new.ivf) - 32 - 12 * 60))
  mv new.ivf "$((bytes * 8 / 2000)).ivf"
done <<RATES
80 4
135 4
180 5
240 6
310 7
400 8
540 10
730 13
950 18
1250 24
1600 32
1780 36
1950 40
2350 46
2800 54
3300 62
RATES
