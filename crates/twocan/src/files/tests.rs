use std::io::Cursor;
use std::time::Instant;

use super::*;
use crate::PictureProperties;

const IVF: &[u8] = include_bytes!("../../../server/assets/clip.ivf");
const OGG: &[u8] = include_bytes!("../../../server/assets/clip.ogg");
const H264: &[u8] = include_bytes!("../../../server/assets/clip.h264");

#[test]
fn the_clips_are_read_with_their_times() {
    let video = read_all(IVF).unwrap();
    assert_eq!(video.len(), 40);
    assert!(video[0].key_frame);
    let steps: Vec<u64> = steps(&video);
    assert!(steps.iter().all(|step| *step == 4500), "20 a second");

    let sound = read_all(OGG).unwrap();
    assert!(sound.len() > 50, "{} packets", sound.len());
    assert!(self::steps(&sound).iter().all(|step| *step == 960));
    assert!(sound.iter().all(|frame| frame.duration == 960));

    let video = read_all(H264).unwrap();
    assert_eq!(video.len(), 40);
    assert!(video[0].key_frame);
    assert!(self::steps(&video).iter().all(|step| *step == 3000));
}

#[test]
fn what_was_written_is_read_again() {
    for clip in [IVF, OGG, H264] {
        let frames = read_all(clip).unwrap();
        let format = FrameReader::new(Cursor::new(clip), 30).unwrap().format();
        let mut writer = FrameWriter::new(Cursor::new(Vec::new()), format).unwrap();
        for frame in &frames {
            // A timestamp that wraps on its way.
            let timestamp = u32::MAX
                .wrapping_add(frame.timestamp as u32)
                .wrapping_sub(9_000);
            let written = writer.write(&arrived(format, timestamp, frame)).unwrap();
            assert_eq!(written, Written::Whole);
        }
        assert_eq!(writer.frames(), frames.len() as u64);
        let bytes = writer.finish().unwrap().into_inner();
        let again = read_all(&bytes).unwrap();
        assert_eq!(data(&again), data(&frames), "{format:?}");
        assert_eq!(steps(&again), steps(&frames), "{format:?}");
    }
}

#[test]
fn rewinding_yields_the_same_frames() {
    for clip in [IVF, OGG, H264] {
        let mut reader = FrameReader::new(Cursor::new(clip), 30).unwrap();
        let first = drain(&mut reader).unwrap();
        reader.rewind().unwrap();
        let second = drain(&mut reader).unwrap();
        assert_eq!(first, second);
        assert!(!first.is_empty());
    }
}

#[test]
fn video_begins_with_a_key_frame_and_goes_on_with_one_after_a_loss() {
    let frames = read_all(IVF).unwrap();
    let mut writer = FrameWriter::new(Cursor::new(Vec::new()), Format::Ivf).unwrap();
    let mut give = |index: usize, decodable| {
        let mut frame = arrived(Format::Ivf, index as u32 * 4500, &frames[index]);
        frame.decodable = decodable;
        writer.write(&frame).unwrap()
    };
    assert_eq!(give(1, true), Written::NeedsKeyFrame);
    assert_eq!(give(0, true), Written::Whole);
    assert_eq!(give(1, true), Written::Whole);
    assert_eq!(give(3, false), Written::NeedsKeyFrame);
    assert_eq!(give(4, true), Written::NeedsKeyFrame);
    assert_eq!(give(0, true), Written::Whole);
    assert_eq!(give(1, true), Written::Whole);
}

#[test]
fn lost_sound_is_marked_and_keeps_the_time() {
    let frames = read_all(OGG).unwrap();
    let mut writer = FrameWriter::new(Cursor::new(Vec::new()), Format::OggOpus).unwrap();
    for index in [0, 1, 5, 6] {
        let frame = arrived(Format::OggOpus, index as u32 * 960, &frames[index]);
        writer.write(&frame).unwrap();
    }
    let bytes = writer.finish().unwrap().into_inner();
    let again = read_all(&bytes).unwrap();
    assert_eq!(again.len(), 7);
    let lengths: Vec<usize> = again[2..5].iter().map(|frame| frame.data.len()).collect();
    assert_eq!(
        lengths,
        [1, 1, 1],
        "frames without bytes stand for lost ones"
    );
    assert_eq!(again[5].data, frames[5].data);
    assert_eq!(again[5].timestamp, 5 * 960);
}

#[test]
fn a_key_frame_without_parameter_sets_gets_them() {
    let units: [&[u8]; 5] = [
        &[0x67, 1, 2],
        &[0x68, 3],
        &[0x65, 0x88, 4],
        &[0x41, 0x9a, 5],
        &[0x65, 0x88, 6],
    ];
    let stream: Vec<u8> = units
        .iter()
        .flat_map(|unit| [&[0, 0, 1], *unit].concat())
        .collect();
    let frames = read_all(&stream).unwrap();
    let keys: Vec<bool> = frames.iter().map(|frame| frame.key_frame).collect();
    assert_eq!(keys, [true, false, true]);
    let expected = [
        [0, 0, 0, 1].as_slice(),
        units[0],
        &[0, 0, 0, 1],
        units[1],
        &[0, 0, 0, 1],
        units[4],
    ];
    assert_eq!(frames[2].data, expected.concat());
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    check(b"", Fault::UnknownFormat, 0);
    check(b"RIFF....", Fault::UnknownFormat, 0);
    check(&IVF[..20], Fault::Truncated, 0);
    check(&with(IVF, 8, b"VP90"), Fault::NotVp8, 8);
    check(&with(IVF, 4, &[1]), Fault::BadIvfHeader, 0);
    check(&with(IVF, 16, &[0; 4]), Fault::BadTimeBase, 16);
    check(&with(IVF, 32, &[0xff; 4]), Fault::FrameTooLong, 32);
    check(&IVF[..IVF.len() - 1], Fault::Truncated, last_ivf_frame());
    check(&with(OGG, 28, b"Vorbis!!"), Fault::BadOggPage, 0);
    let zeros = [vec![0; 3 << 20], vec![1]].concat();
    check(&zeros, Fault::FrameTooLong, 0);
}

#[test]
fn an_ogg_packet_over_many_pages_is_refused_early() {
    use ogg::PacketWriteEndInfo::{EndPage, EndStream};
    let mut head = b"OpusHead\x01\x02".to_vec();
    head.resize(19, 0);
    let mut writer = ogg::PacketWriter::new(Vec::new());
    for (packet, end) in [
        (head, EndPage),
        (b"OpusTags".to_vec(), EndPage),
        (vec![0; 1 << 20], EndStream),
    ] {
        writer.write_packet(packet, 1, end, 0).unwrap();
    }
    match read_all(&writer.into_inner()) {
        Err(FileError::Malformed { fault, .. }) => assert_eq!(fault, Fault::FrameTooLong),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hostile_bytes_never_panic() {
    let mut random = twocan_proto::random::Random::new([7; 32]);
    for clip in [IVF, OGG, H264] {
        for round in 0..300 {
            let mut bytes = clip.to_vec();
            for _ in 0..=(round % 8) {
                let at = random.u32() as usize % bytes.len();
                bytes[at] = random.u32() as u8;
            }
            bytes.truncate(random.u32() as usize % (bytes.len() + 1));
            let _ = read_all(&bytes);
        }
    }
}

fn check(bytes: &[u8], fault: Fault, at: u64) {
    match read_all(bytes) {
        Err(FileError::Malformed {
            fault: found,
            at: place,
        }) => {
            assert_eq!((found, place), (fault, at));
        }
        other => panic!("expected {fault:?}, got {other:?}"),
    }
}

fn read_all(bytes: &[u8]) -> Result<Vec<FileFrame>, FileError> {
    drain(&mut FrameReader::new(Cursor::new(bytes), 30)?)
}

fn drain<R: Read + Seek>(reader: &mut FrameReader<R>) -> Result<Vec<FileFrame>, FileError> {
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push(frame);
    }
    Ok(frames)
}

fn steps(frames: &[FileFrame]) -> Vec<u64> {
    let pairs = frames.windows(2);
    pairs
        .map(|two| two[1].timestamp - two[0].timestamp)
        .collect()
}

fn data(frames: &[FileFrame]) -> Vec<&[u8]> {
    frames.iter().map(|frame| frame.data.as_slice()).collect()
}

fn with(bytes: &[u8], at: usize, other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + other.len()].copy_from_slice(other);
    bytes
}

fn last_ivf_frame() -> u64 {
    let mut at = 32;
    loop {
        let len = u32::from_le_bytes(IVF[at..at + 4].try_into().unwrap()) as usize;
        if at + 12 + len == IVF.len() {
            return at as u64;
        }
        at += 12 + len;
    }
}

fn arrived(format: Format, timestamp: u32, frame: &FileFrame) -> Frame {
    Frame {
        codec: format.codec().to_owned(),
        clock_rate: format.clock_rate(),
        channels: 1,
        rid: None,
        ssrc: 1,
        contributing: Vec::new(),
        video_timing: None,
        audio_level: None,
        sequence_number: 0,
        timestamp,
        key_frame: frame.key_frame,
        decodable: true,
        lost_before: 0,
        received_at: Instant::now(),
        captured_at: None,
        playout_delay: None,
        picture: PictureProperties::default(),
        data: frame.data.clone(),
    }
}
