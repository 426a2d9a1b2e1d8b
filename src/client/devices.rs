//! A digital twin system's side of fencing: its devices take no change of an older token (FGMV-28 7.1.3 steps 8 and 9;
//! FGMV-29 9.2 steps 17 and 18).

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use twinway_protocol::{
    ObjectUri, TwinId,
    lease::Token,
    message::{ApplyChange, ChangeApplied, DeviceFenced, FenceDevice, OutsideAnswer, PropertyValues},
    registry::TwinSystemDescription,
    time::Timestamp,
};

/// The devices of a digital twin system, and the highest token that each of them was sent.
///
/// A system that gives all its changes and fences to one of these carries a change out only under the newest token and
/// before its `notAfter`, and answers a fence when its handlers of earlier changes have returned: a call takes the whole
/// of it. A system whose handlers leave work behind answers a fence itself, when that work has ended.
///
/// The tokens are kept for as long as this lives. The enabler relies on no more: it never gives a token twice.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    objects: BTreeMap<TwinId, ObjectUri>,
    seen: BTreeMap<ObjectUri, Token>,
}

impl Devices {
    /// The devices behind the twins of this description.
    #[must_use]
    pub fn new(description: &TwinSystemDescription) -> Self {
        let twins = description.twins.iter();
        let objects = twins.filter_map(|twin| Some((twin.id.clone(), twin.physical_object.clone()?)));
        Self { objects: objects.collect(), seen: BTreeMap::new() }
    }

    /// Carries a change out by `act`, which gives the values that are different now or why it failed, unless a newer token
    /// has come or the change comes too late. A safe stop always is carried out.
    pub fn apply(
        &mut self,
        change: &ApplyChange,
        act: impl FnOnce(&ApplyChange) -> Result<PropertyValues, String>,
    ) -> OutsideAnswer {
        match self.admit(change).and_then(|()| act(change)) {
            Ok(values) => {
                let seen = self.objects.get(&change.twin).and_then(|object| self.seen.get(object)).copied();
                OutsideAnswer::ApplyChange(ChangeApplied { values: Box::new(values), seen })
            }
            Err(why) => OutsideAnswer::Failed(why),
        }
    }

    /// From now on the device takes no change of a lower token. A fence with a lower token changes nothing, and says so
    /// by the token that was seen.
    pub fn fence(&mut self, fence: &FenceDevice) -> OutsideAnswer {
        let before = self.seen.get(&fence.object).copied();
        self.seen.insert(fence.object.clone(), before.map_or(fence.token, |before| before.max(fence.token)));
        OutsideAnswer::FenceDevice(DeviceFenced { seen: before })
    }

    fn admit(&mut self, change: &ApplyChange) -> Result<(), String> {
        if change.stop {
            return Ok(());
        }
        if let (Some(token), Some(object)) = (change.token, self.objects.get(&change.twin)) {
            let seen = self.seen.entry(object.clone()).or_insert(token);
            if token < *seen {
                return Err(format!("a change of token {token} comes after one of {seen}"));
            }
            *seen = token;
        }
        match change.not_after {
            Some(not_after) if wall() > not_after => Err(format!("it comes too late: not after {not_after}")),
            _ => Ok(()),
        }
    }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// One lamp, which has two twins.
    fn devices() -> Devices {
        let object = ObjectUri::new("urn:lamp").expect("it is a name");
        let twins = ["a", "b"].map(|twin| (TwinId::new(twin).expect("it is a name"), object.clone()));
        Devices { objects: twins.into(), seen: BTreeMap::new() }
    }

    fn change(twin: &str, n: u64) -> ApplyChange {
        ApplyChange {
            twin: TwinId::new(twin).expect("it is a name"),
            metaverse: "world".parse().expect("it is a name"),
            user: "ada".parse().expect("it is a name"),
            values: Arc::default(),
            token: Some(Token { epoch: 1, n }),
            not_after: Some(Timestamp::MAX),
            stop: false,
            errand: None,
            system_entity: ApplyChange::nowhere(),
        }
    }

    fn apply(devices: &mut Devices, change: &ApplyChange) -> Result<Option<Token>, ()> {
        match devices.apply(change, |change| Ok((*change.values).clone())) {
            OutsideAnswer::ApplyChange(applied) => Ok(applied.seen),
            OutsideAnswer::Failed(_) => Err(()),
            other => panic!("{other:?}"),
        }
    }

    fn fence(devices: &mut Devices, n: u64) -> Option<Token> {
        let (object, twin) = ("urn:lamp".parse().expect("it is a name"), "a".parse().expect("it is a name"));
        match devices.fence(&FenceDevice { object, twin, token: Token { epoch: 1, n } }) {
            OutsideAnswer::FenceDevice(fenced) => fenced.seen,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_device_takes_no_change_of_a_lower_token_by_any_of_its_twins() {
        let mut devices = devices();
        let token = |n| Some(Token { epoch: 1, n });
        assert_eq!(apply(&mut devices, &change("a", 2)), Ok(token(2)));
        assert_eq!(apply(&mut devices, &change("b", 1)), Err(()));
        assert_eq!(fence(&mut devices, 4), token(2), "it tells what it had seen before");
        assert_eq!(apply(&mut devices, &change("a", 3)), Err(()));
        assert_eq!(apply(&mut devices, &change("b", 4)), Ok(token(4)));
        assert_eq!(fence(&mut devices, 3), token(4), "an older fence changes nothing");
    }

    #[test]
    fn a_change_that_comes_too_late_is_not_carried_out() {
        let late = ApplyChange { not_after: Some(Timestamp::from_unix_ms(1)), ..change("a", 1) };
        assert_eq!(apply(&mut devices(), &late), Err(()));
    }

    #[test]
    fn a_safe_stop_is_always_carried_out() {
        let mut devices = devices();
        fence(&mut devices, 9);
        let stop = ApplyChange { token: None, not_after: None, stop: true, ..change("a", 0) };
        assert!(apply(&mut devices, &stop).is_ok());
    }
}
