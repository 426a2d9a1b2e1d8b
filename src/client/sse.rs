//! Reads Server-Sent Events from bytes, however they are cut (WHATWG HTML, section 9.2.6).

/// The longest event that is read, in bytes.
pub const SSE_EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseMessage {
    /// Its type; empty: `message`.
    pub event: String,
    /// Its data, lines joined by a line feed.
    pub data: String,
    /// The last id that the stream has named, by this event or an earlier one.
    pub id: String,
}

/// The reader of one stream. Bytes go in by [`SseParser::push`], events come out of [`SseParser::next_message`].
#[derive(Debug, Default)]
pub struct SseParser {
    /// What has come and is not yet a whole line.
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    begun: bool,
    event: String,
    data: String,
    id: String,
    ready: std::collections::VecDeque<SseMessage>,
}

/// An event is longer than [`SSE_EVENT_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event has at most {SSE_EVENT_BYTES_MAX} bytes")]
pub struct EventTooLong;

impl SseParser {
    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// [`EventTooLong`]; the stream cannot be read on.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), EventTooLong> {
        for &byte in bytes {
            let line_feed_of_return = self.after_return && byte == b'\n';
            self.after_return = byte == b'\r';
            match byte {
                b'\n' if line_feed_of_return => {}
                b'\n' | b'\r' => self.end_line(),
                _ if self.line.len() + self.data.len() >= SSE_EVENT_BYTES_MAX => return Err(EventTooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    /// The next whole event, if one has come. What a stream ends with before an empty line is no event.
    pub fn next_message(&mut self) -> Option<SseMessage> {
        self.ready.pop_front()
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        let line = if std::mem::replace(&mut self.begun, true) {
            line.as_str()
        } else {
            line.strip_prefix('\u{feff}').unwrap_or(&line)
        };
        if line.is_empty() {
            self.end_event();
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            // A comment (an empty field name), `retry`, and what later versions add.
            _ => {}
        }
    }

    fn end_event(&mut self) {
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        // Without data nothing is told, whatever else the event has.
        if data.pop().is_some() {
            self.ready.push_back(SseMessage { event, data, id: self.id.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{SSE_EVENT_BYTES_MAX, SseMessage, SseParser};

    fn read(pieces: &[&[u8]]) -> Vec<SseMessage> {
        let mut parser = SseParser::default();
        for piece in pieces {
            parser.push(piece).expect("it is short");
        }
        std::iter::from_fn(|| parser.next_message()).collect()
    }

    fn message(event: &str, data: &str, id: &str) -> SseMessage {
        SseMessage { event: event.to_owned(), data: data.to_owned(), id: id.to_owned() }
    }

    const STREAM: &str = "\u{feff}: welcome\n\nid: 1\nevent: a\ndata: x\ndata:  y\n\ndata:é\r\n\r\n:beat\r\rid\rdata\r\revent: lost\n\ndata: unfinished";

    fn expected() -> Vec<SseMessage> {
        vec![message("a", "x\n y", "1"), message("", "é", "1"), message("", "", "")]
    }

    #[test]
    fn fields_lines_and_ids_are_read_as_the_standard_says() {
        assert_eq!(read(&[STREAM.as_bytes()]), expected());
    }

    #[test]
    fn an_id_with_a_null_is_ignored() {
        assert_eq!(read(&[b"id: 1\ndata: x\n\nid: 2\0\ndata: y\n\n"]).pop(), Some(message("", "y", "1")));
    }

    #[test]
    fn an_event_without_end_is_refused_at_the_limit() {
        let mut parser = SseParser::default();
        let piece = vec![b'x'; SSE_EVENT_BYTES_MAX];
        parser.push(&piece).expect("the limit itself is allowed");
        assert!(parser.push(b"x").is_err());
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_events_are_the_same(mut cuts in prop::collection::vec(0..STREAM.len(), 0..12)) {
            cuts.sort_unstable();
            let (mut pieces, mut from) = (Vec::new(), 0);
            for cut in cuts {
                pieces.push(&STREAM.as_bytes()[from..cut]);
                from = cut;
            }
            pieces.push(&STREAM.as_bytes()[from..]);
            prop_assert_eq!(read(&pieces), expected());
        }
    }
}
