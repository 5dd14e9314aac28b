//! The Real-time Transport Protocol (RFC 3550 §5) and its header extensions (RFC 8285).
//!
//! ```text
//!  0                   1                   2                   3
//! |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//! |                           timestamp                           |
//! |           synchronization source (SSRC) identifier            |
//! |            contributing source (CSRC) identifiers ...         |
//! |  extension profile and length, extension elements ...         |
//! ```

mod dependency;
mod extension;
mod header;
mod layers_allocation;
mod values;

pub use dependency::{
    DecodeTargetIndication, DependencyDescriptor, DependencyError, DependencyStructure,
    DependencyTemplate, FRAME_DIFFERENCE_MAX, FrameDependencies, Resolution,
};
pub use extension::{ExtensionKind, ExtensionMap, ExtensionValues};
pub use header::{CSRCS_MAX, Extensions, Header, HeaderFields, RtpError};
pub use layers_allocation::{
    AllocationError, LAYERS_MAX, LayerResolution, SpatialLayer, VideoLayersAllocation,
};
pub use values::{
    AbsCaptureTime, AudioLevel, ColorSpace, HdrMetadata, PlayoutDelay, VideoContentType,
    VideoOrientation, VideoTiming, abs_send_time,
};
