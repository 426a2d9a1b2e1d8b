//! JSON documents that are carried, not interpreted.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::value::RawValue;

/// A JSON document, kept byte for byte as it came and shared without copying.
///
/// In JSON it stands as the document itself, in a binary format as text. Because it is carried raw, it
/// cannot stand in an internally tagged, untagged or flattened type.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = serde_json::Value))]
pub struct JsonDoc(Arc<str>);

impl JsonDoc {
    /// Checks that `text` is one JSON document and keeps it as it is.
    ///
    /// # Errors
    /// Says where the text stops being JSON.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, serde_json::Error> {
        let text = text.into();
        let _: &RawValue = serde_json::from_str(&text)?;
        Ok(Self(text))
    }

    /// Writes `value` as a document.
    ///
    /// # Errors
    /// When `value` cannot be written as JSON (a map whose keys are not text, a failing `Serialize`).
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(|text| Self(text.into()))
    }

    /// The document `null`.
    #[must_use]
    pub fn null() -> Self {
        Self(Arc::from("null"))
    }

    /// The text, as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both share one text, which is more than that their texts are equal.
    #[must_use]
    pub fn shares_text_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Reads the document as `T`.
    ///
    /// # Errors
    /// When the document is not a `T`.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

/// Applies a JSON merge patch (RFC 7396): members of `patch` that are null are removed, objects are merged, and everything
/// else replaces what is there.
pub fn merge_patch(target: &mut serde_json::Value, patch: serde_json::Value) {
    use serde_json::Value;
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(&name);
        } else {
            merge_patch(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

impl fmt::Debug for JsonDoc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for JsonDoc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
            raw.serialize(serializer)
        } else {
            serializer.serialize_str(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for JsonDoc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let raw = Box::<RawValue>::deserialize(deserializer)?;
            Ok(Self(Arc::from(Box::<str>::from(raw))))
        } else {
            // What a journal or a link hands over may have been damaged: it is checked like any input.
            let text = String::deserialize(deserializer)?;
            Self::parse(text).map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::JsonDoc;

    #[test]
    fn a_document_keeps_its_bytes() {
        let text = "{ \"b\":1.0,  \"a\": [1e3, \"\\u00e9\"] }";
        let doc: JsonDoc = serde_json::from_str(text).expect("it is JSON");
        assert_eq!(doc.as_str(), text);
        assert_eq!(serde_json::to_string(&doc).expect("it writes"), text);
    }

    #[test]
    fn text_that_is_not_one_document_is_refused() {
        assert!(JsonDoc::parse("{} {}").is_err());
        assert!(JsonDoc::parse("{\"a\":").is_err());
    }
}
