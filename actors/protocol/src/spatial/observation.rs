//! Observations (FGMV-28 7.3.1 step 2.2): what a user's device recorded, where, and for what.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{
    frame::Frame,
    map::short,
    pose::{Pose, PoseDocument, unacceptable},
};
use crate::{MapId, Problem, ProblemKind, UserId, time::Timestamp};

/// The longest serial number, in bytes.
pub const OBSERVATION_TEXT_BYTES_MAX: usize = super::map::ENTRY_TEXT_BYTES_MAX;

/// An observation's id: the SHA-256 of its bytes, in lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct ObservationId(std::sync::Arc<str>);

impl ObservationId {
    /// Of bytes with this SHA-256.
    #[must_use]
    pub fn of_digest(digest: [u8; 32]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(64);
        for byte in digest {
            // Writing into memory cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text.into())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ObservationId {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if text.len() == 64 && text.bytes().all(digit) {
            return Ok(Self(text.into()));
        }
        Err(unacceptable("an observation's id has 64 lower-case hexadecimal digits"))
    }
}

impl<'de> Deserialize<'de> for ObservationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|problem: Problem| D::Error::custom(problem.detail))
    }
}

impl fmt::Display for ObservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! media_types {
    ($($(#[$doc:meta])* $Kind:ident = $name:literal, $begins:pat => $fits:expr;)*) => {
        /// The media types of observations that are taken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum MediaType {
            $($(#[$doc])* #[serde(rename = $name)] $Kind,)*
        }

        impl MediaType {
            /// All of them, as they are written.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];
            /// As it is written.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$Kind => $name,)* }
            }

            /// Reads a name, whatever its case and parameters.
            ///
            /// # Errors
            /// [`ProblemKind::MediaTypeUnsupported`].
            pub fn read(text: &str) -> Result<Self, Problem> {
                let name = text.split(';').next().unwrap_or_default().trim();
                $(if name.eq_ignore_ascii_case($name) { return Ok(Self::$Kind); })*
                let detail = format!("an observation is {}, not `{name}`", Self::NAMES.join(" or "));
                Err(Problem::new(ProblemKind::MediaTypeUnsupported, detail))
            }

            fn begins(self, bytes: &[u8]) -> bool {
                match (self, bytes) { $((Self::$Kind, $begins) => $fits,)* _ => false }
            }
        }
    };
}

media_types! {
    /// A JPEG picture.
    Jpeg = "image/jpeg", [0xff, 0xd8, 0xff, ..] => true;
    /// A PNG picture.
    Png = "image/png", [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => true;
    /// A WebP picture.
    Webp = "image/webp", [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => true;
    /// A binary glTF 2.0 model.
    Glb = "model/gltf-binary", [b'g', b'l', b'T', b'F', 2, 0, 0, 0, ..] => true;
    /// A glTF 2.0 model.
    Gltf = "model/gltf+json", [first, ..] => first.is_ascii_whitespace() || *first == b'{';
}

/// How many bytes the beginning of an observation has by which it is known.
pub const MAGIC_BYTES: usize = 12;

impl MediaType {
    /// Checks that bytes begin as those of this type do. Give the first [`MAGIC_BYTES`], or all if there are fewer.
    ///
    /// # Errors
    /// [`ProblemKind::MediaTypeUnsupported`]: it is something else, whatever it was said to be.
    pub fn check(self, beginning: &[u8]) -> Result<(), Problem> {
        if self.begins(beginning) {
            return Ok(());
        }
        let detail = format!("the bytes are not {}", self.name());
        Err(Problem::new(ProblemKind::MediaTypeUnsupported, detail))
    }
}

/// What a user's device recorded: where its bytes are, and what is said of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// The SHA-256 of its bytes, by which they are read.
    pub id: ObservationId,
    /// What they are.
    pub media_type: MediaType,
    /// How many they are.
    pub bytes: u64,
    /// The serial number of what was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
    /// Where the device was.
    pub pose: PoseDocument,
    /// When.
    pub at: Timestamp,
}

impl Observation {
    /// # Errors
    /// A serial number that is too long, or a pose that is none, with the place.
    pub fn check(serial_number: Option<&str>, pose: &PoseDocument) -> Result<(), Problem> {
        short("/serialNumber", serial_number.unwrap_or_default())?;
        // The map whose frame a local pose is in is known to the metaverse system only: any frame tells whether it is one.
        let frame = super::Frame::new(super::GeoPose {
            position: super::GeoPosition { lat: 0.0, lon: 0.0, h: 0.0 },
            quaternion: super::Quaternion::IDENTITY,
        });
        match pose.local {
            Some(_) => frame.read(pose).map(|_| ()),
            None => pose.geo().map(|_| ()),
        }
    }
}

/// An observation as the metaverse system for whose map it was recorded keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct KeptObservation {
    /// The SHA-256 of its bytes, by which they are read.
    pub id: ObservationId,
    /// The map.
    pub map: MapId,
    /// Who recorded it.
    pub user: UserId,
    /// What the bytes are.
    pub media_type: MediaType,
    /// How many they are.
    pub bytes: u64,
    /// The serial number of what was recorded.
    pub serial_number: Option<String>,
    /// Where the device was, in the map's frame.
    pub pose: Pose,
    /// When.
    pub at: Timestamp,
}

impl KeptObservation {
    /// What `user` recorded for `map`, read into the map's frame.
    ///
    /// # Errors
    /// A pose that is none, or is too far away, with the place.
    pub fn read(observation: Observation, map: MapId, user: UserId, frame: &Frame) -> Result<Self, Problem> {
        let Observation { id, media_type, bytes, serial_number, pose, at } = observation;
        Ok(Self { id, map, user, media_type, bytes, serial_number, pose: frame.read(&pose)?, at })
    }
}
