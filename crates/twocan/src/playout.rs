//! When to play sound and when to show pictures: jitter buffers for applications that decode.
//!
//! [`RtpReceiver::next_frame`](crate::RtpReceiver::next_frame) yields sound as it arrives. A device
//! needs it evenly: [`AudioPlayout`] says for each piece what to do, and adapts its delay to the
//! network. It holds no codec; shortening, lengthening and concealing are the application's, or its
//! codec's.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//!
//! use twocan::playout::{AudioPacket, AudioPlayout, Decision, Operation, PlayoutConfig};
//! use twocan::{Delivery, RtpReceiver};
//!
//! /// What a codec offers; samples of 48 kHz, one channel.
//! trait Decoder {
//!     fn samples(&self, payload: &[u8]) -> u32;
//!     fn decode(&mut self, payload: &[u8]) -> Vec<i16>;
//!     fn conceal(&mut self, samples: u32) -> Vec<i16>;
//!     /// Takes out or puts in a period of the voice, or leaves the sound as it is.
//!     fn stretch(&mut self, sound: Vec<i16>, operation: Operation) -> Vec<i16>;
//! }
//!
//! /// Packets as they arrive: frames would wait for those that are lost.
//! async fn receive(receiver: &RtpReceiver, playout: &mut AudioPlayout<Arc<[u8]>>, codec: &impl Decoder) {
//!     receiver.set_delivery(Delivery::Packets);
//!     while let Some(packet) = receiver.next_packet().await {
//!         let packet = AudioPacket {
//!             timestamp: packet.timestamp,
//!             duration: codec.samples(&packet.payload),
//!             payload: packet.payload,
//!         };
//!         // One that came too late or twice is counted, and no reason to stop.
//!         let _ = playout.insert(Instant::now(), packet);
//!     }
//! }
//!
//! /// Called when the device is about to run out of sound.
//! fn fill(device: &mut Vec<i16>, playout: &mut AudioPlayout<Arc<[u8]>>, codec: &mut impl Decoder) {
//!     while device.len() < 480 {
//!         let queued = Duration::from_micros(device.len() as u64 * 1000 / 48);
//!         let sound = match playout.next(Instant::now(), queued) {
//!             Decision::Wait => vec![0; 480],
//!             Decision::Conceal { duration, .. } => codec.conceal(duration),
//!             Decision::Decode { packet, operation } => {
//!                 let sound = codec.decode(&packet.payload);
//!                 let before = sound.len() as i32;
//!                 let sound = codec.stretch(sound, operation);
//!                 playout.stretched(sound.len() as i32 - before);
//!                 sound
//!             }
//!         };
//!         device.extend(sound);
//!     }
//! }
//!
//! let playout = AudioPlayout::<Arc<[u8]>>::new(PlayoutConfig::new(48_000));
//! assert_eq!(playout.target_delay(), Duration::from_millis(40));
//! ```
//!
//! Of pictures, [`VideoPlayout`] says when each is due, within the delays that the sender states:
//!
//! ```
//! use twocan::RtpReceiver;
//! use twocan::playout::{PlayoutConfig, VideoPlayout};
//!
//! async fn show(receiver: &RtpReceiver, mut display: impl FnMut(Vec<u8>)) {
//!     let mut playout = VideoPlayout::new(PlayoutConfig::new(90_000));
//!     while let Some(frame) = receiver.next_frame().await {
//!         playout.set_playout_delay(frame.playout_delay.and_then(|own| own.bounds()));
//!         let due = playout.schedule(frame.received_at, frame.timestamp);
//!         tokio::time::sleep_until(due.into()).await;
//!         display(frame.data);
//!         receiver.report_playout(playout.stats());
//!     }
//! }
//! ```
//!
//! [`RtpReceiver::report_playout`](crate::RtpReceiver::report_playout) lets
//! [`get_stats`](crate::PeerConnection::get_stats) show what it counts.

pub use twocan_proto::rtp::playout::{
    AudioPacket, AudioPlayout, Decision, Discarded, Operation, PlayoutConfig, PlayoutStats,
    VideoPlayout,
};
