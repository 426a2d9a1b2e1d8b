//! JSON documents that are carried, not interpreted.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::value::{RawValue, to_raw_value};

/// A JSON document, kept byte for byte as it came and shared without copying.
///
/// In JSON it stands as the document itself, in a binary format as text. Because it is carried raw, it
/// cannot stand in an internally tagged, untagged or flattened type.
#[derive(Clone)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = serde_json::Value))]
pub struct JsonDoc(Text);

#[derive(Clone)]
enum Text {
    Here(Arc<RawValue>),
    /// With white space around it, which is kept, and has no place within another document.
    Spaced(Arc<str>),
    Deferred(Arc<Deferred>),
}

/// A value that is written as JSON when somebody reads it first.
struct Deferred {
    value: Arc<dyn Writable>,
    text: OnceLock<Box<RawValue>>,
}

trait Writable: Send + Sync {
    fn write(&self) -> Box<RawValue>;
}

impl<T: Serialize + Send + Sync> Writable for T {
    fn write(&self) -> Box<RawValue> {
        to_raw_value(self).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

impl Deferred {
    fn raw(&self) -> &RawValue {
        self.text.get_or_init(|| self.value.write())
    }
}

impl JsonDoc {
    /// Checks that `text` is one JSON document and keeps it as it is.
    ///
    /// # Errors
    /// Says where the text stops being JSON.
    pub fn parse(text: impl Into<String>) -> Result<Self, serde_json::Error> {
        let text = text.into();
        if text.len() == text.trim_ascii().len() {
            return RawValue::from_string(text).map(Self::here);
        }
        let _: &RawValue = serde_json::from_str(&text)?;
        Ok(Self(Text::Spaced(text.into())))
    }

    fn here(text: Box<RawValue>) -> Self {
        Self(Text::Here(text.into()))
    }

    /// Without white space around it.
    fn raw(&self) -> Result<&RawValue, serde_json::Error> {
        match &self.0 {
            Text::Here(text) => Ok(text),
            Text::Spaced(text) => serde_json::from_str(text),
            Text::Deferred(deferred) => Ok(deferred.raw()),
        }
    }

    /// Writes `value` as a document.
    ///
    /// # Errors
    /// When `value` cannot be written as JSON (a map whose keys are not text, a failing `Serialize`).
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        to_raw_value(value).map(Self::here)
    }

    /// The same, written when somebody reads it first: for what is kept, and seldom read. A value that cannot be written
    /// as JSON is `null`.
    #[must_use]
    pub fn deferred<T: Serialize + Send + Sync + 'static>(value: Arc<T>) -> Self {
        Self(Text::Deferred(Arc::new(Deferred { value, text: OnceLock::new() })))
    }

    /// The document `null`.
    #[must_use]
    pub fn null() -> Self {
        Self::here(RawValue::NULL.to_owned())
    }

    /// The text, as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Here(text) => text.get(),
            Text::Spaced(text) => text,
            Text::Deferred(deferred) => deferred.raw().get(),
        }
    }

    /// Whether both share one text, which is more than that their texts are equal.
    #[must_use]
    pub fn shares_text_with(&self, other: &Self) -> bool {
        std::ptr::eq(self.as_str(), other.as_str())
    }

    /// Reads the document as `T`.
    ///
    /// # Errors
    /// When the document is not a `T`.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_str())
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

impl PartialEq for JsonDoc {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for JsonDoc {}

impl fmt::Debug for JsonDoc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for JsonDoc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.raw().map_err(S::Error::custom)?.serialize(serializer)
        } else {
            serializer.serialize_str(self.as_str())
        }
    }
}

impl<'de> Deserialize<'de> for JsonDoc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Box::<RawValue>::deserialize(deserializer).map(Self::here)
        } else {
            // What a journal or a link hands over may have been damaged: it is checked like any input.
            let text = String::deserialize(deserializer)?;
            Self::parse(text).map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::JsonDoc;

    #[test]
    fn a_document_keeps_its_bytes() {
        let text = "{ \"b\":1.0,  \"a\": [1e3, \"\\u00e9\"] }";
        let doc: JsonDoc = serde_json::from_str(text).expect("it is JSON");
        assert_eq!(doc.as_str(), text);
        assert_eq!(serde_json::to_string(&doc).expect("it writes"), text);
    }

    #[test]
    fn what_is_written_when_it_is_read_is_the_document_that_it_would_have_been_and_one_for_all() {
        let value = vec![("a", 1), ("b", 2)];
        let doc = JsonDoc::deferred(Arc::new(value.clone()));
        let (early, shared) = (doc.clone(), doc.clone());
        assert_eq!(early, JsonDoc::from_value(&value).expect("it is JSON"));
        assert_eq!(serde_json::to_string(&doc).expect("it writes"), r#"[["a",1],["b",2]]"#);
        assert!(doc.shares_text_with(&shared), "it is written once");
        let keyless = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert_eq!(JsonDoc::deferred(Arc::new(keyless)), JsonDoc::null());
    }

    #[test]
    fn white_space_around_a_document_is_kept_and_left_out_within_another() {
        let doc = JsonDoc::parse("\t[1]\n\n").expect("it is JSON");
        assert_eq!(doc.as_str(), "\t[1]\n\n");
        assert_eq!(serde_json::to_string(&[doc]).expect("it writes"), "[[1]]");
    }

    #[test]
    fn text_that_is_not_one_document_is_refused() {
        assert!(JsonDoc::parse("{} {}").is_err());
        assert!(JsonDoc::parse("{\"a\":").is_err());
        assert!(JsonDoc::parse(" {} {} ").is_err());
    }
}
