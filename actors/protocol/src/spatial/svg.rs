//! A map as a picture for people: a plan, seen from above, north up (FGMV-28 7.3.1 step 6).

use std::fmt::Write as _;

use super::{map::MapView, pose::Point};

/// How wide the plan is drawn, in pixels; it is as high as the map asks for, and no higher than this.
const SIDE_PX: f64 = 960.0;
/// What is left free around it, in pixels.
const MARGIN_PX: f64 = 48.0;
/// The smallest extent that is drawn, in pixels: what is smaller would not be seen.
const EXTENT_MIN_PX: f64 = 4.0;
/// How many entries have their names written: more would cover each other.
const NAMES_MAX: usize = 400;

/// A plan's way from metres to pixels.
struct Plan {
    west: f64,
    north: f64,
    scale: f64,
}

impl Plan {
    fn at(&self, place: Point) -> (f64, f64) {
        (MARGIN_PX + (place.x - self.west) * self.scale, MARGIN_PX + (self.north - place.y) * self.scale)
    }
}

/// The map as an SVG document: a shape for each entry, turned as it is, with its name; and the regions that the reader
/// knows of.
#[must_use]
pub fn svg(map: &MapView) -> String {
    let footprints: Vec<[Point; 4]> = map
        .entries
        .iter()
        .map(|entry| {
            let (x, y) = (entry.size.x / 2.0, entry.size.y / 2.0);
            let corners =
                [Point::new(-x, -y, 0.0), Point::new(x, -y, 0.0), Point::new(x, y, 0.0), Point::new(-x, y, 0.0)];
            corners.map(|corner| entry.pose.quaternion.turn(corner).plus(entry.pose.local))
        })
        .collect();
    let regions = map.regions.iter().flat_map(|region| [region.bounds.min, region.bounds.max]);
    let all = || footprints.iter().flatten().copied().chain(regions.clone());
    let (west, east) = span(all().map(|place| place.x));
    let (south, north) = span(all().map(|place| place.y));
    let scale = (SIDE_PX - 2.0 * MARGIN_PX) / (east - west).max(north - south);
    let plan = Plan { west, north, scale };
    let (width, height) = ((east - west) * scale + 2.0 * MARGIN_PX, (north - south) * scale + 2.0 * MARGIN_PX);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height:.1}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        escaped(if map.title.is_empty() { map.id.as_str() } else { &map.title })
    );
    for region in &map.regions {
        let (x, y) = plan.at(Point::new(region.bounds.min.x, region.bounds.max.y, 0.0));
        let (x2, y2) = plan.at(Point::new(region.bounds.max.x, region.bounds.min.y, 0.0));
        // Writing into memory cannot fail.
        let _ = writeln!(
            text,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#fde8e8\" stroke=\"#c33\" \
             stroke-dasharray=\"6 3\"/>\n<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#c33\">{}</text>",
            x2 - x,
            y2 - y,
            x + 4.0,
            y + 14.0,
            escaped(region.id.as_str())
        );
    }
    for (number, (entry, footprint)) in map.entries.iter().zip(&footprints).enumerate() {
        let (x, y) = plan.at(entry.pose.local);
        let corners: Vec<String> = footprint
            .iter()
            .map(|corner| {
                let (x, y) = plan.at(*corner);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let _ = writeln!(
            text,
            "<g><title>{} ({}) at {:.2}, {:.2}, {:.2}</title><polygon points=\"{}\" fill=\"#cfe2f8\" stroke=\"#246\"/>\
             <circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{:.1}\" fill=\"#246\"/></g>",
            escaped(entry.id.as_str()),
            escaped(&entry.class),
            entry.pose.local.x,
            entry.pose.local.y,
            entry.pose.local.z,
            corners.join(" "),
            EXTENT_MIN_PX / 2.0
        );
        if number < NAMES_MAX {
            let name = if entry.title.is_empty() { entry.id.as_str() } else { &entry.title };
            let _ = writeln!(text, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 5.0, y - 5.0, escaped(name));
        }
    }
    bar(&mut text, scale, height);
    text.push_str("</svg>\n");
    text
}

/// The lowest and the highest of some coordinates, at least a metre apart.
fn span(coordinates: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        coordinates.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| (low.min(at), high.max(at)));
    if low > high {
        return (-0.5, 0.5);
    }
    let missing = (1.0 - (high - low)).max(0.0) / 2.0;
    (low - missing, high + missing)
}

/// A bar of a round number of metres.
fn bar(text: &mut String, scale: f64, height: f64) {
    let metres = 10_f64.powf((120.0 / scale).log10().floor());
    let (y, end) = (height - 16.0, MARGIN_PX + metres * scale);
    // Writing into memory cannot fail.
    let _ = writeln!(
        text,
        "<path d=\"M{MARGIN_PX:.1} {y:.1}H{end:.1}\" stroke=\"#000\" stroke-width=\"2\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\">{metres} m</text>",
        end + 6.0,
        y + 4.0
    );
}

/// Text as XML has it. What XML has no character for is left out.
fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\t' | '\n' | '\r' => written.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {}
            letter => written.push(letter),
        }
    }
    written
}
