//! A map as a glTF 2.0 scene that any viewer opens: a box of its own size for each entry (FGMV-28 7.3.1 step 6).

use serde_json::{Map, Value, json};

use super::map::MapView;

/// The corners of a box of one metre around its middle.
const CORNERS: [[f32; 3]; 8] = [
    [-0.5, -0.5, -0.5],
    [0.5, -0.5, -0.5],
    [0.5, 0.5, -0.5],
    [-0.5, 0.5, -0.5],
    [-0.5, -0.5, 0.5],
    [0.5, -0.5, 0.5],
    [0.5, 0.5, 0.5],
    [-0.5, 0.5, 0.5],
];

/// Its twelve triangles, counter-clockwise from outside.
const TRIANGLES: [u16; 36] =
    [0, 2, 1, 0, 3, 2, 4, 5, 6, 4, 6, 7, 0, 1, 5, 0, 5, 4, 1, 2, 6, 1, 6, 5, 2, 3, 7, 2, 7, 6, 3, 0, 4, 3, 4, 7];

/// Half the square root of two: a quarter turn as a quaternion.
const QUARTER: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// The smallest extent that is drawn, in metres: a box without one would not be seen, and cannot be lit.
const EXTENT_MIN_M: f64 = 0.01;

/// The map as a glTF 2.0 document. Its root turns the map's frame, in which z is up, to that of glTF, in which y is.
#[must_use]
pub fn gltf(map: &MapView) -> Value {
    let mut nodes = vec![json!({
        "name": map.id,
        "rotation": [-QUARTER, 0.0, 0.0, QUARTER],
        "extras": { "anchor": map.anchor, "metaverse": map.metaverse, "title": map.title },
    })];
    if !map.entries.is_empty() {
        // A node without children has none: glTF forbids an empty list.
        if let Some(root) = nodes.first_mut().and_then(Value::as_object_mut) {
            root.insert("children".to_owned(), (1..=map.entries.len()).collect());
        }
    }
    nodes.extend(map.entries.iter().map(|entry| {
        let (at, turn) = (entry.pose.local, entry.pose.quaternion);
        let scale: Vec<f64> = entry.size.array().iter().map(|extent| extent.max(EXTENT_MIN_M)).collect();
        let mut extras = Map::new();
        extras.insert("class".to_owned(), json!(entry.class));
        extras.insert("title".to_owned(), json!(entry.title));
        extras.insert("at".to_owned(), json!(entry.at));
        extras.insert("version".to_owned(), json!(entry.version));
        if let Some(twin) = &entry.twin {
            extras.insert("twin".to_owned(), json!(twin));
        }
        if let Some(model) = &entry.model {
            extras.insert("model".to_owned(), json!(model));
        }
        json!({
            "name": entry.id, "mesh": 0, "translation": [at.x, at.y, at.z],
            "rotation": [turn.x, turn.y, turn.z, turn.w], "scale": scale, "extras": extras,
        })
    }));
    let mut document = json!({
        "asset": { "version": "2.0", "generator": "twinway" },
        "scene": 0,
        "scenes": [{ "name": map.id, "nodes": [0] }],
        "nodes": nodes,
    });
    if !map.entries.is_empty() {
        add_box(&mut document);
    }
    document
}

/// Adds the one mesh that all entries share.
fn add_box(document: &mut Value) {
    let Some(members) = document.as_object_mut() else { return };
    let mut bytes: Vec<u8> = CORNERS.iter().flatten().flat_map(|coordinate| coordinate.to_le_bytes()).collect();
    let corners = bytes.len();
    bytes.extend(TRIANGLES.iter().flat_map(|corner| corner.to_le_bytes()));
    let uri = format!("data:application/octet-stream;base64,{}", base64(&bytes));
    let parts = [
        (
            "meshes",
            json!([{ "name": "box", "primitives": [{ "attributes": { "POSITION": 0 }, "indices": 1, "mode": 4 }] }]),
        ),
        (
            "accessors",
            json!([
                { "bufferView": 0, "componentType": 5126, "count": CORNERS.len(), "type": "VEC3",
                  "min": [-0.5, -0.5, -0.5], "max": [0.5, 0.5, 0.5] },
                { "bufferView": 1, "componentType": 5123, "count": TRIANGLES.len(), "type": "SCALAR" },
            ]),
        ),
        (
            "bufferViews",
            json!([
                { "buffer": 0, "byteOffset": 0, "byteLength": corners, "target": 34962 },
                { "buffer": 0, "byteOffset": corners, "byteLength": bytes.len() - corners, "target": 34963 },
            ]),
        ),
        ("buffers", json!([{ "byteLength": bytes.len(), "uri": uri }])),
    ];
    members.extend(parts.into_iter().map(|(name, part)| (name.to_owned(), part)));
}

/// RFC 4648 base64, which data URIs have their bytes in.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) as usize & 63;
            let shown = if digit <= group.len() { DIGITS.get(value).copied().unwrap_or(b'=') } else { b'=' };
            text.push(char::from(shown));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, text) in pairs {
            assert_eq!(base64(plain.as_bytes()), text);
        }
    }
}
